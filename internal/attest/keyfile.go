package attest

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

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
			fix = "tapedeck bundle sign --new-key " + file + " makes one"
		}
		return nil, &KeyError{File: file, Need: "a private key", Found: reason(err), Fix: fix, Err: err}
	}
	defer f.Close()
	if err := checkPrivate(file, f); err != nil {
		return nil, err
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
	return nil, &KeyError{File: file, Need: kinds, Found: "something else", Fix: "tapedeck bundle sign --new-key FILE makes one"}
}

// checkPrivate tells whether an open file is its owner's alone. It asks the
// open file, not its name, under which another may stand by now.
func checkPrivate(file string, f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	switch {
	case st.IsDir():
		return &KeyError{File: file, Need: "a private key", Found: "a folder"}
	case !st.Mode().IsRegular(): // a pipe of whoever runs us
		return nil
	case st.Mode().Perm()&0o077 != 0:
		return &KeyError{File: file, Need: "a private key that nobody else can read (mode 0600)",
			Found: fmt.Sprintf("mode %04o", st.Mode().Perm()), Fix: "chmod 600 " + file + "; if others may have read it, make a new key"}
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && sys.Uid != 0 && int(sys.Uid) != os.Geteuid() {
		return &KeyError{File: file, Need: "a private key of this user, or of root", Found: fmt.Sprintf("one of user %d", sys.Uid),
			Fix: "sign as that user, or make a key of your own"}
	}
	return nil
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
	if block != nil && block.Type == "EC PARAMETERS" { // openssl ecparam puts them first
		block, rest = pem.Decode(rest)
	}
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
