package seal

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
)

// keySize is the size of every key and salt, in bytes.
const keySize = 32

// secret is a key. It is behind a pointer since fmt prints what is inside a
// struct without asking its methods: of a pointer there it prints the address.
type secret struct{ b *[keySize]byte }

func newSecret() secret {
	s := secret{new([keySize]byte)}
	rand.Read(s.b[:]) // never fails
	return s
}

func secretOf(b []byte) (secret, error) {
	if len(b) != keySize {
		return secret{}, errors.New("not 32 bytes")
	}
	return secret{(*[keySize]byte)(append([]byte(nil), b...))}, nil
}

func (s secret) bytes() []byte { return s.b[:] }

// zero tells whether it is all zeros, which no key is.
func (s secret) zero() bool { return s.b == nil || *s.b == [keySize]byte{} }

func (secret) String() string   { return "(secret)" }
func (secret) GoString() string { return "(secret)" }

// text is for the key file alone.
func (s secret) text() string { return base64.StdEncoding.EncodeToString(s.b[:]) }

// MarshalJSON keeps a secret out of what is encoded by mistake.
func (secret) MarshalJSON() ([]byte, error) { return json.Marshal("(secret)") }
