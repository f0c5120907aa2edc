package seal

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// binding is what a data key is bound to. One that is moved to another bundle
// or tenant can't be unwrapped there, and a file that is moved can't be
// decrypted.
type binding struct {
	tenant, bundle, key string
}

// wrap is the additional data of a wrapped data key. Lines can't run into each
// other: no part has a control character in it.
func (b binding) wrap() []byte {
	return []byte("tapedeck key v1\n" + b.tenant + "\n" + b.bundle + "\n" + b.key)
}

// file is the additional data of a file's content.
func (b binding) file(path string) []byte {
	return []byte("tapedeck file v1\n" + b.tenant + "\n" + b.bundle + "\n" + b.key + "\n" + path)
}

func (b binding) check() error {
	for _, p := range []struct{ name, value string }{{"tenant", b.tenant}, {"bundle id", b.bundle}, {"key id", b.key}} {
		if p.value == "" || len(p.value) > 256 || strings.ContainsFunc(p.value, unicode.IsControl) {
			return fmt.Errorf("need a %s of 1 to 256 bytes of text, found %q", p.name, shown(p.value))
		}
	}
	return nil
}

// Bind puts a data key and the digest of what it is bound to together, for
// keys that can't take additional data: age, and cloud services behind one
// common interface.
func Bind(dataKey, aad []byte) []byte {
	sum := sha256.Sum256(aad)
	return append(append([]byte(nil), dataKey...), sum[:]...)
}

var errUnbound = errors.New("a data key of another bundle or tenant")

// Unbind is the reverse of [Bind]. It fails if the data key is bound to
// something else.
func Unbind(b, aad []byte) ([]byte, error) {
	sum := sha256.Sum256(aad)
	if len(b) != keySize+len(sum) || subtle.ConstantTimeCompare(b[keySize:], sum[:]) != 1 {
		return nil, errUnbound
	}
	return b[:keySize:keySize], nil
}
