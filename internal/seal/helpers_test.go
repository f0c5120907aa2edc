package seal

import "math/rand/v2"

// noise doesn't compress, and is the same each time.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}
