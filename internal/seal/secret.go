package seal

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
)

// keySize is the size of every key and salt, in bytes.
const keySize = 32

// secret is a key. It is behind a function since fmt prints what is inside a
// struct without asking its methods, and follows pointers when the verb is
// wrong: of a function it prints the address.
type secret struct{ get func() *[keySize]byte }

func newSecret() secret {
	var b [keySize]byte
	rand.Read(b[:]) // never fails
	return hide(b)
}

func hide(b [keySize]byte) secret { return secret{func() *[keySize]byte { return &b }} }

func secretOf(b []byte) (secret, error) {
	if len(b) != keySize {
		return secret{}, errors.New("not 32 bytes")
	}
	return hide([keySize]byte(b)), nil
}

func (s secret) bytes() []byte { return s.get()[:] }

// zero tells whether it is all zeros, which no key is.
func (s secret) zero() bool { return s.get == nil || *s.get() == [keySize]byte{} }

func (secret) String() string   { return "(secret)" }
func (secret) GoString() string { return "(secret)" }

// text is for the key file alone.
func (s secret) text() string { return base64.StdEncoding.EncodeToString(s.bytes()) }

// MarshalJSON keeps a secret out of what is encoded by mistake.
func (secret) MarshalJSON() ([]byte, error) { return json.Marshal("(secret)") }
