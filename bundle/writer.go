package bundle

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// FileInfo is what a [Writer] can't see from a file's name and bytes.
type FileInfo struct {
	Media      string // media type; guessed from the name if ""
	Class      Class  // Internal if ""
	Encryption string // the ID of the key in the manifest that the bytes are encrypted with
	PlainSize  *int64 // if Encryption is set: the size before that, which readers need
}

// WriterOptions are what [Create] goes without.
type WriterOptions struct {
	// Sealer encrypts files as they are added. The bundle gets its id and its
	// entry in the manifest's keys.
	Sealer Sealer
	// Seal lists the classes that Sealer encrypts; Restricted alone if it is nil.
	Seal []Class
}

// Writer makes a bundle. Until [Writer.Commit] nothing is at its path, and
// after a failure or [Writer.Abort] nothing is left behind.
//
// The manifest stands first and holds the digest of everything below it, so it
// is written last: files are compressed into a spool file, and Commit copies
// the compressed frames behind the manifest. The spool needs as much room, in
// the directory of the bundle, as the bundle.
//
// A Writer is for one goroutine, except for Abort, which may come from any:
//
//	stop := context.AfterFunc(ctx, w.Abort)
type Writer struct {
	path    string
	opt     WriterOptions
	lim     Limits
	aborted atomic.Bool
	mu      sync.Mutex // held while something is written; see Abort

	spool  *os.File // nil after Commit or Abort
	press  *press
	group  []byte // small files and headers that make up the next frame
	frames []*spooled
	pos    int64   // in the tar, behind the manifest's entry
	starts []int64 // where the header of each file is, like pos
	files  []File
	dirs   map[string]bool // every folder that a file is in
	names  map[string]bool
	err    error // the first failure; the bundle can't be finished after it
}

// Create starts a bundle at path. The caller ends it with [Writer.Commit] or
// [Writer.Abort]; defer the latter, it does nothing after the former.
func Create(path string) (*Writer, error) { return WriterOptions{}.Create(path) }

// Create is the function of that name with options.
func (opt WriterOptions) Create(path string) (*Writer, error) {
	if opt.Seal == nil {
		opt.Seal = []Class{Restricted}
	}
	dir, base := filepath.Split(path)
	if base == "" {
		return nil, fmt.Errorf("create bundle: need the path of a file, found %q", path)
	}
	spool, err := os.CreateTemp(orDot(dir), partial(base))
	if err != nil {
		return nil, err
	}
	// Where the system allows it, the spool loses its name at once: even a
	// killed process leaves nothing behind.
	_ = os.Remove(spool.Name())
	p, err := newPress(spool)
	if err != nil {
		return nil, errors.Join(err, discard(spool))
	}
	return &Writer{
		path: path, opt: opt, lim: DefaultLimits(), spool: spool, press: p,
		names: map[string]bool{}, dirs: map[string]bool{},
	}, nil
}

// Add puts one file into the bundle. It reads r to its end. What a [Sealer]
// is to encrypt, it does on the way; a file that is encrypted already, by
// info, stays as it is.
func (w *Writer) Add(name string, r io.Reader, info FileInfo) error {
	w.mu.Lock()
	defer w.leave()
	if err := w.ready(); err != nil {
		return err
	}
	// A refused name does no harm to the rest, so it isn't kept as w.err.
	if err := w.checkNew(name); err != nil {
		return err
	}
	f := File{Path: name, MediaType: info.Media, Class: info.Class, Encryption: info.Encryption, PlainSize: info.PlainSize}
	if f.MediaType == "" {
		f.MediaType = MediaType(name)
	}
	if f.Class == "" {
		f.Class = Internal
	}
	if err := f.check(); err != nil {
		return err
	}
	if err := w.seal(&f, &r); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := w.add(f, r); err != nil {
		w.err = fmt.Errorf("%s: %w", name, err)
		return w.err
	}
	return nil
}

// seal puts encryption between a file and the bundle where it is asked for.
func (w *Writer) seal(f *File, r *io.Reader) error {
	if w.opt.Sealer == nil || f.Encryption != "" || !slices.Contains(w.opt.Seal, f.Class) {
		return nil
	}
	plain := &counter{r: *r}
	sealed, err := w.opt.Sealer.Seal(f.Path, plain)
	if err != nil {
		return err
	}
	*r, f.Encryption, f.PlainSize = sealed, w.opt.Sealer.Key().ID, &plain.n
	return nil
}

// AddFile puts a file of this machine into the bundle. It must be a regular
// file that nobody writes to meanwhile.
func (w *Writer) AddFile(name, hostPath string, info FileInfo) error {
	f, err := os.Open(hostPath)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s: need a regular file, found %s", hostPath, st.Mode().Type())
	}
	return w.Add(name, f, info)
}

// Files lists what has been added so far, with sizes and digests: whoever
// attests to a bundle's files does it in a last one.
func (w *Writer) Files() []File {
	w.mu.Lock()
	defer w.leave()
	return slices.Clone(w.files)
}

// Abort gives the bundle up. It may be called at any time, more than once, and
// from another goroutine; an Add that is under way ends with [ErrAborted] as
// soon as its reader returns.
func (w *Writer) Abort() {
	w.aborted.Store(true)
	w.sweep()
}

// leave ends what began with w.mu.Lock. If Abort came meanwhile it didn't get
// the lock, and left the cleaning to us.
func (w *Writer) leave() {
	w.mu.Unlock()
	w.sweep()
}

func (w *Writer) sweep() {
	if w.aborted.Load() && w.mu.TryLock() {
		w.close()
		w.mu.Unlock()
	}
}

// close releases everything. The caller holds the lock.
func (w *Writer) close() {
	if w.spool == nil {
		return
	}
	w.press.wg.Wait()
	_ = w.press.enc.Close()
	_ = discard(w.spool)
	w.spool, w.group, w.frames = nil, nil, nil
}

func (w *Writer) ready() error {
	switch {
	case w.aborted.Load():
		return ErrAborted
	case w.err != nil:
		return w.err
	case w.spool == nil:
		return errors.New("the bundle is finished already")
	}
	return nil
}

// checkNew keeps out what a reader would refuse.
func (w *Writer) checkNew(name string) error {
	if err := w.lim.checkName(name); err != nil {
		return err
	}
	if name == ManifestName {
		return &UnsafeError{Path: name, Reason: "is the manifest, which Commit writes"}
	}
	if w.names[name] || w.dirs[name] {
		return &UnsafeError{Path: name, Reason: "is in the bundle already"}
	}
	if len(w.files)+2 > w.lim.Entries {
		return &LimitError{What: "files", Limit: int64(w.lim.Entries), Found: int64(len(w.files) + 2)}
	}
	var parents []string
	for i, c := range name {
		if c == '/' {
			if w.names[name[:i]] {
				return &UnsafeError{Path: name, Reason: fmt.Sprintf("is below %q, which is a file", name[:i])}
			}
			parents = append(parents, name[:i])
		}
	}
	for _, p := range parents {
		w.dirs[p] = true
	}
	return nil
}

func discard(f *os.File) error {
	err := f.Close()
	if rm := os.Remove(f.Name()); rm != nil && !errors.Is(rm, os.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return err
}

// partial is the pattern of the names that unfinished files have.
func partial(base string) string { return strings.TrimSuffix(base, ".tar.zst") + ".*.tar.zst.partial" }

func orDot(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}
