package bundle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Reader reads a bundle. It is safe for concurrent use.
type Reader struct {
	lim    Limits
	opener Opener // nil if there is none
	stored bool   // see OpenOptions
	form   Format
	size   int64
	body   body
	closer io.Closer // the file, if Open opened it

	raw      []byte
	manifest *Manifest
	files    []File
	entries  map[string]*entry
	unlisted []string // in the tar, not in the manifest; never handed out
	indexed  bool     // the bundle has an entry index
	end      int64    // where the last entry ends, if it has
}

// entry is one file in the tar.
type entry struct {
	File
	at      int64 // where its data starts in the tar; its header, if headed
	next    int64 // where the entry behind it starts, if headed
	headed  bool  // known from the entry index: look at the header first
	found   int64 // its size in the tar, if not headed
	missing bool  // in the manifest, not in the tar
}

// body is the unpacked tar: atBody or streamBody.
type body interface {
	// section returns n bytes from off.
	section(off, n int64) (io.ReadCloser, error)
}

type atBody struct{ io.ReaderAt }

func (b atBody) section(off, n int64) (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(b, off, n)), nil
}

// streamBody has no other way than from the start.
type streamBody struct{ open func() (*stream, error) }

func (b streamBody) section(off, n int64) (io.ReadCloser, error) {
	s, err := b.open()
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, s, off); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(s, n), s}, nil
}

// OpenOptions are what [Open] goes without.
type OpenOptions struct {
	Limits Limits
	// Opener decrypts encrypted files.
	Opener Opener
	// Stored hands encrypted files out as the bundle has them. [Reader.Verify]
	// decrypts all the same, if there is an Opener.
	Stored bool
}

// Open opens a bundle within the [DefaultLimits]. Without an [Opener] its
// encrypted files are locked: see [LockedError].
func Open(path string) (*Reader, error) { return OpenOptions{}.Open(path) }

// Open opens a bundle within these limits.
func (lim Limits) Open(path string) (*Reader, error) { return OpenOptions{Limits: lim}.Open(path) }

// Open is the function of that name with options.
func (opt OpenOptions) Open(path string) (*Reader, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %w", ErrNoBundle, err)
	case err != nil:
		return nil, err
	case st.IsDir():
		return nil, fmt.Errorf("%w: %s is a folder; tapedeck bundle build packs one", ErrNotBundle, path)
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%w: need a file that can be read anywhere, found %s", ErrNotBundle, st.Mode().Type())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := opt.NewReader(f, st.Size())
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r.closer = f
	return r, nil
}

// NewReader reads a bundle of the given size from src.
func NewReader(src io.ReaderAt, size int64) (*Reader, error) { return Limits{}.NewReader(src, size) }

// NewReader reads a bundle within these limits.
func (lim Limits) NewReader(src io.ReaderAt, size int64) (*Reader, error) {
	return OpenOptions{Limits: lim}.NewReader(src, size)
}

// NewReader is the function of that name with options.
func (opt OpenOptions) NewReader(src io.ReaderAt, size int64) (*Reader, error) {
	form, err := sniff(src, size)
	if err != nil {
		return nil, err
	}
	r := &Reader{lim: opt.Limits.orDefaults(), opener: opt.Opener, stored: opt.Stored, form: form, size: size}
	if err := r.open(src); err != nil {
		return nil, err
	}
	return r, nil
}

// Close releases the file that [Open] opened.
func (r *Reader) Close() error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

// Manifest returns the manifest. It must not be changed.
func (r *Reader) Manifest() *Manifest { return r.manifest }

// ManifestBytes returns the manifest as it is in the bundle: what a signature
// is about.
func (r *Reader) ManifestBytes() []byte { return slices.Clone(r.raw) }

// Files lists the files in the order of the manifest. Where it lists none, the
// files of the tar, by name and without digests.
func (r *Reader) Files() []File { return slices.Clone(r.files) }

// Format tells how the bundle is packed.
func (r *Reader) Format() Format { return r.form }

// Warnings says what a user should know who relies on the bundle.
func (r *Reader) Warnings() []string {
	var list []string
	if unknown := r.manifest.Unknown(); len(unknown) > 0 {
		list = append(list, "the manifest has fields unknown to this version: "+strings.Join(unknown, ", "))
	}
	if len(r.manifest.Files) == 0 && len(r.files) > 0 {
		list = append(list, "the manifest lists no files: there are no digests to verify them by")
	}
	if len(r.unlisted) > 0 {
		list = append(list, "ignored, since the manifest doesn't list them: "+strings.Join(r.unlisted, ", "))
	}
	return list
}

// Size is how large the bundle is, packed.
func (r *Reader) Size() int64 { return r.size }
