package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Sealer encrypts the files of one bundle while a [Writer] adds them. The
// bundle's id is fixed before the first byte is encrypted, since the
// encryption binds each file to it.
type Sealer interface {
	// BundleID is the id of the one bundle that it seals.
	BundleID() string
	// Key is the entry of the manifest from which the files can be opened.
	Key() Key
	// Seal returns the encrypted form of plain, the content of the file path.
	Seal(path string, plain io.Reader) (io.Reader, error)
}

// Opener decrypts files for a [Reader]. It is used by several goroutines at
// once.
type Opener interface {
	// Open returns the content of the file f of the bundle that m is the
	// manifest of; stored is the file as the bundle has it. Without the key the
	// error is a [LockedError]; what can't be decrypted with it is a
	// [DamagedError], from Open or from reading.
	Open(m *Manifest, f File, stored io.Reader) (io.Reader, error)
}

// LockedError is an encrypted file for which no key is at hand.
type LockedError struct {
	Path  string   // the file in the bundle
	Need  []string // references of the keys, any of which would do
	Found string   // what there was instead
	Fix   string   // one step that would mend it; "" if there is none
	Err   error    // the cause, if a lower layer reported one
}

func (e *LockedError) Error() string {
	need := "the key of its bundle"
	if len(e.Need) > 0 {
		need = "the key " + strings.Join(e.Need, " or ")
	}
	return fmt.Sprintf("%s is encrypted: need %s, found %s", e.Path, need, e.Found)
}

func (e *LockedError) Unwrap() error { return e.Err }

// Hint says what to do about it.
func (e *LockedError) Hint() string { return e.Fix }

// key returns the entry of keys with this id; [Manifest.Check] saw to it that
// there is one.
func (m *Manifest) key(id string) Key {
	for _, k := range m.Keys {
		if k.ID == id {
			return k
		}
	}
	return Key{ID: id}
}

// Refs lists the references of the keys that the data key is wrapped with.
func (k Key) Refs() []string {
	list := make([]string, 0, 1+len(k.Copies))
	if k.KeyRef != "" {
		list = append(list, k.KeyRef)
	}
	for _, c := range k.Copies {
		list = append(list, c.KeyRef)
	}
	return list
}

// unseal turns the stored content of an entry into what was there before it
// was encrypted.
func (r *Reader) unseal(e *entry, stored io.Reader) (io.Reader, error) {
	if r.opener == nil {
		return nil, &LockedError{Path: e.Path, Need: r.manifest.key(e.Encryption).Refs(), Found: "none", Fix: "open it where the key is, or with --identity FILE if the key is an age recipient's"}
	}
	if e.PlainSize == nil {
		return nil, &DamagedError{Path: e.Path, Offset: -1, Need: "plain_size in the manifest, which bounds what an encrypted file unpacks to", Found: "none"}
	}
	plain, err := r.opener.Open(r.manifest, e.File, stored)
	if err != nil {
		return nil, err
	}
	return &unsealed{plain: plain, stored: stored, e: e}, nil
}

// unsealed holds decrypted content against what the manifest says of it.
type unsealed struct {
	plain  io.Reader
	stored io.Reader // read to its end too: only there its digest is compared
	e      *entry
	n      int64
	err    error
}

func (u *unsealed) Read(b []byte) (int, error) {
	if u.err != nil {
		return 0, u.err
	}
	n, err := u.plain.Read(b)
	u.n += int64(n)
	want := *u.e.PlainSize
	switch {
	case u.n > want || errors.Is(err, io.EOF) && u.n < want:
		u.err = &DamagedError{Path: u.e.Path, Offset: -1, Need: fmt.Sprintf("%d bytes, decrypted", want), Found: fmt.Sprint(u.n)}
	case errors.Is(err, io.EOF):
		u.err = u.drain()
	default:
		u.err = err
	}
	if u.err != nil && !errors.Is(u.err, io.EOF) {
		clear(b[:n])
		return 0, u.err
	}
	return n, u.err
}

// drain reads what is left of the stored bytes. There must be none: what a
// decryptor doesn't need, nobody authenticated.
func (u *unsealed) drain() error {
	n, err := io.Copy(io.Discard, u.stored)
	if err != nil {
		return err
	}
	if n > 0 {
		return &DamagedError{Path: u.e.Path, Offset: u.e.Size - n, Need: "the end of the encrypted data", Found: fmt.Sprintf("%d bytes more", n)}
	}
	return io.EOF
}

// opened is the manifest of a bundle some of whose files were extracted in
// clear: with their own sizes and digests, and without the keys.
func (r *Reader) opened(plain map[string]File) ([]byte, error) {
	m, err := ParseManifest(bytes.Clone(r.raw))
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for i, f := range m.Files {
		if p, ok := plain[f.Path]; ok {
			m.Files[i] = p
		}
		used[m.Files[i].Encryption] = true
	}
	var keys []Key
	for _, k := range m.Keys {
		if used[k.ID] {
			keys = append(keys, k)
		}
	}
	m.Keys = keys
	return m.Encode()
}
