package bundle

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
)

// Open returns the content of a file. It is compared with the manifest as it
// is read: what doesn't match ends with a [DamagedError] instead of io.EOF,
// and the last piece of it is withheld. Who stops before the end has read
// unverified data. Encrypted files are decrypted, or there is a [LockedError].
// The name of the manifest gives the manifest.
func (r *Reader) Open(name string) (io.ReadCloser, error) {
	if name == ManifestName {
		return io.NopCloser(bytes.NewReader(r.raw)), nil
	}
	e := r.entries[name]
	if e == nil {
		return nil, &missingEntry{name: name, near: r.nearest(name)}
	}
	src, err := r.content(e)
	if err != nil {
		return nil, err
	}
	data, err := r.reveal(newChecked(src, e), e)
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{data, src}, nil
}

// reveal decrypts what is to be decrypted.
func (r *Reader) reveal(stored io.Reader, e *entry) (io.Reader, error) {
	if e.Encryption == "" || r.stored {
		return stored, nil
	}
	return r.unseal(e, stored)
}

// ReadFile returns the whole content of a file of at most max bytes.
func (r *Reader) ReadFile(name string, max int64) ([]byte, error) {
	if e := r.entries[name]; e != nil && e.Encryption == "" && e.Size > max {
		return nil, &LimitError{Path: name, What: "bytes", Limit: max, Found: e.Size}
	}
	f, err := r.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, max+1)) // an encrypted file's size is known at its end only
	if err == nil && int64(len(data)) > max {
		return nil, &LimitError{Path: name, What: "bytes", Limit: max, Found: int64(len(data))}
	}
	return data, err
}

// content finds the data of an entry, and holds its size against the manifest.
func (r *Reader) content(e *entry) (io.ReadCloser, error) {
	if e.missing {
		return nil, &DamagedError{Path: e.Path, Offset: -1, Need: "the file in the tar", Found: "none"}
	}
	at, found := e.at, e.found
	if e.headed {
		h, data, err := r.header(e)
		if err != nil {
			return nil, err
		}
		at, found = data, h.Size
	}
	if found != e.Size {
		return nil, &DamagedError{Path: e.Path, Offset: -1, Need: fmt.Sprintf("%d bytes", e.Size), Found: fmt.Sprint(found)}
	}
	src, err := r.body.section(at, e.Size)
	if err != nil {
		return nil, entryError(e.Path, 0, err)
	}
	return src, nil
}

// header reads the tar header that the entry index points at, and returns
// where the data starts. The entry has to fill its place exactly: so no data
// of the tar is hidden from who goes by the index.
func (r *Reader) header(e *entry) (h *tar.Header, data int64, err error) {
	bad := func(need, found string) error {
		return &DamagedError{Path: e.Path, Offset: -1, Need: need, Found: found}
	}
	sec := io.NewSectionReader(r.body.(atBody), e.at, e.next-e.at)
	h, err = tar.NewReader(sec).Next()
	if err != nil {
		if errors.Is(err, ErrDamaged) {
			return nil, 0, entryError(e.Path, 0, err)
		}
		return nil, 0, bad(fmt.Sprintf("a tar header at byte %d, unpacked", e.at), err.Error())
	}
	name, err := checkHeader(h, r.lim)
	if err != nil {
		return nil, 0, err
	}
	if e.Path != "" && name != e.Path {
		return nil, 0, bad("a tar header of that name", fmt.Sprintf("%.80q", name))
	}
	at, err := sec.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, 0, err
	}
	if end := at + padded(h.Size); end != sec.Size() {
		return nil, 0, bad(fmt.Sprintf("a tar entry of %d bytes", sec.Size()), fmt.Sprint(end))
	}
	return h, e.at + at, nil
}

// checked compares what it passes on with the manifest.
type checked struct {
	src  io.Reader
	e    *entry
	left int64
	hash hash.Hash // nil if there is no digest
	err  error
}

func newChecked(src io.Reader, e *entry) *checked {
	c := &checked{src: src, e: e, left: e.Size}
	if e.SHA256 != "" {
		c.hash = sha256.New()
	}
	return c
}

func (c *checked) Read(b []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.left == 0 { // an empty file; all others are settled below
		c.err = c.verdict()
		return 0, c.err
	}
	if len(b) == 0 {
		return 0, nil
	}
	n, err := c.src.Read(b[:min(int64(len(b)), c.left)])
	if c.hash != nil {
		c.hash.Write(b[:n])
	}
	c.left -= int64(n)
	switch {
	case c.left == 0:
		// Not with the next read: who knows the size may not ask for one.
		if c.err = c.verdict(); c.err != io.EOF {
			clear(b[:n])
			return 0, c.err
		}
	case err != nil:
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		c.err = entryError(c.e.Path, c.e.Size-c.left, err)
		return n, c.err
	}
	return n, nil
}

// verdict is io.EOF if all is well.
func (c *checked) verdict() error {
	if c.hash == nil {
		return io.EOF
	}
	if sum := hex.EncodeToString(c.hash.Sum(nil)); sum != c.e.SHA256 {
		return &DamagedError{Path: c.e.Path, Offset: -1, Need: "SHA-256 " + c.e.SHA256, Found: sum}
	}
	return io.EOF
}

// entryError says in which file an error of a layer below came up.
func entryError(name string, at int64, err error) error {
	e := &DamagedError{Path: name, Offset: at, Need: "the data of the file", Found: err.Error(), Err: err}
	var inner *DamagedError
	switch {
	case errors.As(err, &inner):
		e.Need, e.Found = inner.Need, inner.Found
	case errors.Is(err, ErrDamaged):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		e.Found = "its end"
	default:
		return fmt.Errorf("%s: %w", name, err) // the disk's fault, not the bundle's
	}
	return e
}

// nearest finds a file that the user may have meant: the same last element.
func (r *Reader) nearest(name string) string {
	base := name[strings.LastIndexByte(name, '/')+1:]
	for _, f := range r.files {
		if base != "" && (f.Path == base || strings.HasSuffix(f.Path, "/"+base)) {
			return f.Path
		}
	}
	return ""
}
