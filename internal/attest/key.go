package attest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// PrivateKey signs. It prints as the id of its public key.
type PrivateKey struct {
	signer crypto.Signer
	public *PublicKey
}

// PublicKey verifies.
type PublicKey struct {
	key any // *ecdsa.PublicKey on P-256, or ed25519.PublicKey
	der []byte
}

// KeyError is a key file that can't be used. It holds nothing of the file.
type KeyError struct {
	File  string // "" if the text came from elsewhere
	Need  string
	Found string
	Fix   string
	Err   error
}

func (e *KeyError) Error() string {
	where := e.File
	if where == "" {
		where = "key"
	}
	return fmt.Sprintf("%s: need %s, found %s", where, e.Need, e.Found)
}

// Hint is the second line that the command line prints below the error.
func (e *KeyError) Hint() string { return e.Fix }

func (e *KeyError) Unwrap() error { return e.Err }

// NewKey makes an Ed25519 key.
func NewKey() (*PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return newPrivate(key)
}

func newPrivate(key any) (*PrivateKey, error) {
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("another kind of key")
	}
	pub, err := newPublic(s.Public())
	return &PrivateKey{s, pub}, err
}

func newPublic(key any) (*PublicKey, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return nil, fmt.Errorf("an ECDSA key on %s", k.Params().Name)
		}
	case ed25519.PublicKey:
	default:
		return nil, errors.New("another kind of key")
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	return &PublicKey{key, der}, err
}

// Public returns the key's public half.
func (k *PrivateKey) Public() *PublicKey { return k.public }

// String is the public key's id: a private key must never get into a log.
func (k *PrivateKey) String() string { return "private key of " + k.public.ID() }

// GoString is String.
func (k *PrivateKey) GoString() string { return k.String() }

// Format prints String, whatever the verb.
func (k *PrivateKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// ID is the SHA-256 of the key's SubjectPublicKeyInfo in DER, in lower-case hex:
// openssl pkey -pubin -in KEY -outform DER | sha256sum.
func (k *PublicKey) ID() string {
	sum := sha256.Sum256(k.der)
	return hex.EncodeToString(sum[:])
}

// String is the id.
func (k *PublicKey) String() string { return k.ID() }

// PEM returns the key as a "PUBLIC KEY" block.
func (k *PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.der})
}

func (k *PrivateKey) sign(msg []byte) ([]byte, error) {
	if _, ok := k.signer.Public().(ed25519.PublicKey); ok {
		return k.signer.Sign(rand.Reader, msg, crypto.Hash(0))
	}
	sum := sha256.Sum256(msg)
	return k.signer.Sign(rand.Reader, sum[:], crypto.SHA256)
}

func (k *PublicKey) verify(msg, sig []byte) bool {
	switch key := k.key.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(key, msg, sig)
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(msg)
		return ecdsa.VerifyASN1(key, sum[:], sig)
	}
	return false
}

const (
	maxKeyFile = 64 << 10
	kinds      = "an Ed25519 or ECDSA P-256 key"
)

// ReadPrivate reads a private key: one PEM block, PKCS#8 or SEC 1. The file
// must not be readable by others. The error is a [KeyError].
func ReadPrivate(file string) (*PrivateKey, error) {
	f, err := os.Open(file)
	if err != nil {
		fix := ""
		if errors.Is(err, fs.ErrNotExist) {
			fix = "tapedeck bundle keygen " + file + " makes one"
		}
		return nil, &KeyError{File: file, Need: "a private key", Found: reason(err), Fix: fix, Err: err}
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Mode().IsRegular() && st.Mode().Perm()&0o077 != 0 {
		return nil, &KeyError{File: file, Need: "a private key that nobody else can read (mode 0600)",
			Found: fmt.Sprintf("mode %04o", st.Mode().Perm()), Fix: "chmod 600 " + file + "; if others may have read it, make a new key"}
	}
	block, err := readBlock(file, f)
	if err != nil {
		return nil, err
	}
	var key any
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "PUBLIC KEY":
		return nil, &KeyError{File: file, Need: "a private key, to sign with", Found: "a public key"}
	case "ENCRYPTED PRIVATE KEY":
		return nil, &KeyError{File: file, Need: "a private key without a passphrase", Found: "an encrypted one",
			Fix: "openssl pkey -in " + file + " | tapedeck bundle sign --key /dev/stdin BUNDLE"}
	default:
		return nil, &KeyError{File: file, Need: "a PEM block PRIVATE KEY", Found: quote(block.Type)}
	}
	if err == nil {
		var k *PrivateKey
		if k, err = newPrivate(key); err == nil {
			return k, nil
		}
	}
	return nil, &KeyError{File: file, Need: kinds, Found: "something else", Fix: "openssl genpkey -algorithm ed25519"}
}

// ReadPublic reads a public key from a file.
func ReadPublic(file string) (*PublicKey, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, &KeyError{File: file, Need: "a public key", Found: reason(err), Err: err}
	}
	defer f.Close()
	return parsePublic(file, f)
}

// ParsePublic reads a public key: one PEM block, PUBLIC KEY. The error is a
// [KeyError].
func ParsePublic(text []byte) (*PublicKey, error) { return parsePublic("", bytes.NewReader(text)) }

func parsePublic(file string, r io.Reader) (*PublicKey, error) {
	block, err := readBlock(file, r)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(block.Type, "PRIVATE KEY") {
		// Whoever puts it there hands it to all who get the policy.
		return nil, &KeyError{File: file, Need: "a public key", Found: "a private key",
			Fix: "openssl pkey -in KEY -pubout gives the public one; replace the private one if others could read it here"}
	}
	if block.Type == "PUBLIC KEY" {
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err == nil {
			var k *PublicKey
			if k, err = newPublic(key); err == nil {
				return k, nil
			}
		}
	}
	return nil, &KeyError{File: file, Need: kinds + " in a PEM block PUBLIC KEY", Found: "something else"}
}

func readBlock(file string, r io.Reader) (*pem.Block, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	switch {
	case len(text) > maxKeyFile:
		return nil, &KeyError{File: file, Need: "a key", Found: fmt.Sprintf("more than %d bytes", maxKeyFile)}
	case block == nil:
		return nil, &KeyError{File: file, Need: "a key in PEM", Found: "no PEM block", Fix: "openssl pkey converts other formats"}
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, &KeyError{File: file, Need: "one key", Found: "something behind it"}
	}
	return block, nil
}

// reason is the innermost text of an error: the file's name is said already.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// WriteNew writes the private key to file (0600) and the public one to
// file.pub (0644), in PEM. It never overwrites.
func (k *PrivateKey) WriteNew(file string) error {
	der, err := x509.MarshalPKCS8PrivateKey(k.signer)
	if err != nil {
		return err
	}
	if err := writeNew(file+".pub", k.public.PEM(), 0o644); err != nil {
		return err
	}
	if err := writeNew(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return errors.Join(err, os.Remove(file+".pub"))
	}
	return nil
}

func writeNew(file string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return &KeyError{File: file, Need: "a new file", Found: "one that is there", Fix: "move it away first: a key that is lost signs nothing more", Err: err}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
