package bundle

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// Extract writes files into the folder dir, which it makes if need be. A name
// may be a folder of the bundle, for all that is below it; no name stands for
// everything, the manifest included.
//
// Nothing is ever written outside dir, over a file that exists, or through a
// symbolic link. A file that doesn't match the manifest is removed again, and
// ends the extraction. What it makes is for its owner alone, like the bundle.
//
// Encrypted files are decrypted, and the manifest says of them what they are
// then. If one is locked, nothing is extracted.
func (r *Reader) Extract(ctx context.Context, dir string, names ...string) error {
	list, err := r.choose(names)
	if err != nil {
		return err
	}
	if err := r.checkLocks(list); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	plain := map[string]File{}
	err = r.each(ctx, list, func(e *entry, src io.Reader, err error) error {
		if err != nil {
			return err
		}
		data, err := r.reveal(src, e)
		if err != nil {
			return err
		}
		if data == src {
			return extractFile(root, e.Path, src)
		}
		hash := sha256.New()
		counted := &counter{r: io.TeeReader(data, hash)}
		if err := extractFile(root, e.Path, counted); err != nil {
			return err
		}
		f := e.File
		f.Size, f.SHA256, f.Encryption, f.PlainSize = counted.n, hex.EncodeToString(hash.Sum(nil)), "", nil
		plain[f.Path] = f
		return nil
	})
	if err != nil || len(names) > 0 && !slices.Contains(names, ManifestName) {
		return err
	}
	text := r.raw
	if len(plain) > 0 {
		if text, err = r.opened(plain); err != nil {
			return err
		}
	}
	return extractFile(root, ManifestName, bytes.NewReader(text))
}

// checkLocks finds out before anything is written whether a key is missing.
func (r *Reader) checkLocks(list []*entry) error {
	tried := map[string]bool{"": true}
	for _, e := range list {
		if r.stored || tried[e.Encryption] || e.missing {
			continue
		}
		tried[e.Encryption] = true
		f, err := r.Open(e.Path)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// choose finds the entries that names stand for.
func (r *Reader) choose(names []string) ([]*entry, error) {
	var list []*entry
	for _, name := range names {
		known := name == ManifestName
		if e := r.entries[name]; e != nil {
			list, known = append(list, e), true
		}
		below := strings.TrimSuffix(name, "/") + "/"
		for p, e := range r.entries {
			if strings.HasPrefix(p, below) {
				list, known = append(list, e), true
			}
		}
		if !known {
			return nil, &missingEntry{name: name, near: r.nearest(name)}
		}
	}
	if len(names) == 0 {
		for _, e := range r.entries {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, byPlace)
	return slices.Compact(list), nil
}

// byPlace is the order of the tar; what isn't there comes first.
func byPlace(a, b *entry) int {
	if a.missing != b.missing {
		if a.missing {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.Path, b.Path))
}

// each calls visit with every entry of the list, which is in the order of the
// tar, and its checked content or the reason why there is none. So a bundle
// that can't be read from the middle is unpacked once only.
func (r *Reader) each(ctx context.Context, list []*entry, visit func(*entry, io.Reader, error) error) error {
	b, ok := r.body.(streamBody)
	if !ok {
		for _, e := range list {
			src, err := r.content(e)
			if err != nil {
				err = visit(e, nil, err)
			} else {
				err = visit(e, newChecked(withContext(ctx, src), e), nil)
				_ = src.Close() // nothing to lose: it is only read
			}
			if err := cmp.Or(ctx.Err(), err); err != nil {
				return err
			}
		}
		return nil
	}
	s, err := b.open()
	if err != nil {
		return err
	}
	defer s.Close()
	src := withContext(ctx, s)
	for _, e := range list {
		if e.missing || e.found != e.Size {
			_, err = r.content(e) // says what is wrong
			err = visit(e, nil, err)
		} else if _, skip := io.CopyN(io.Discard, src, e.at-s.out); skip != nil {
			err = visit(e, nil, entryError(e.Path, 0, skip))
		} else {
			err = visit(e, newChecked(io.LimitReader(src, e.Size), e), nil)
		}
		if err := cmp.Or(ctx.Err(), err); err != nil {
			return err
		}
	}
	return nil
}

func extractFile(root *os.Root, name string, src io.Reader) error {
	if err := makeParents(root, path.Dir(name)); err != nil {
		return err
	}
	// O_EXCL fails on whatever is there already, a link to nowhere included.
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return &occupied{name: name, err: err}
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(f, src)
	err = errors.Join(err, f.Close())
	if err != nil {
		return errors.Join(err, root.Remove(name))
	}
	return nil
}

// occupied is a file that is there already.
type occupied struct {
	name string
	err  error
}

func (e *occupied) Error() string {
	return fmt.Sprintf("extract %s: need a new file, found an old one there", e.name)
}

func (e *occupied) Unwrap() error { return e.err }

func (e *occupied) Hint() string { return "extract into an empty folder" }

// makeParents makes the folder and those above it. os.Root keeps us inside
// the target; links within it are refused too, since who made them there may
// want something to be overwritten.
func makeParents(root *os.Root, dir string) error {
	if dir == "." {
		return nil
	}
	if err := makeParents(root, path.Dir(dir)); err != nil {
		return err
	}
	st, err := root.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return root.Mkdir(dir, 0o700)
	case err != nil:
		return err
	case !st.IsDir():
		return fmt.Errorf("extract to %s: need a folder, found %s", dir, kind(st.Mode()))
	}
	return nil
}

func kind(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m.IsRegular():
		return "a file"
	}
	return m.Type().String()
}

// withContext makes a reader that ends with ctx.
func withContext(ctx context.Context, r io.Reader) io.Reader { return &ctxReader{ctx, r} }

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(b)
}
