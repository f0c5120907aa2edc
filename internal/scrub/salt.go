package scrub

import (
	"bytes"
	"errors"
	"fmt"
)

// MinSalt is the least number of bytes in the key of a [Salt].
const MinSalt = 16

// ErrNoSalt means that there is no salt, or one that could be guessed. There
// is no scrubbing without one.
var ErrNoSalt = errors.New("scrub: need a salt of 16 bytes or more")

// Salt is the secret that tokens are made with, and the reference under which
// its keeper finds it again. It prints as its reference.
type Salt struct {
	Ref string // e.g. "local:default"; stands in bundles in place of the key
	key []byte
}

// NewSalt copies key.
func NewSalt(ref string, key []byte) (Salt, error) {
	if len(key) < MinSalt {
		return Salt{}, fmt.Errorf("%w, found %d", ErrNoSalt, len(key))
	}
	if len(bytes.Trim(key, string(key[:1]))) == 0 {
		return Salt{}, fmt.Errorf("%w, found one byte repeated", ErrNoSalt)
	}
	return Salt{Ref: ref, key: bytes.Clone(key)}, nil
}

func (s Salt) String() string { return s.Ref }

// GoString keeps the key out of %#v.
func (s Salt) GoString() string { return fmt.Sprintf("scrub.Salt{Ref:%q}", s.Ref) }

// Format keeps the key out of every verb.
func (s Salt) Format(f fmt.State, verb rune) {
	if verb == 'v' && f.Flag('#') {
		fmt.Fprint(f, s.GoString())
		return
	}
	fmt.Fprint(f, s.Ref)
}
