package bundle

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// Commit writes the manifest and puts the bundle in its place, whole, instead
// of what was there. It fills in m.Version, m.Files, and m.BundleID if that is
// empty: the id is then made of what the bundle holds. A [Sealer] gives the id
// and one entry of m.Keys. m.CreatedAt must be
// set, since the same input shall give the same bundle.
func (w *Writer) Commit(m *Manifest) error {
	w.mu.Lock()
	defer w.leave()
	if err := w.ready(); err != nil {
		return err
	}
	err := w.commit(m)
	if err != nil {
		w.err = err
	}
	w.close()
	return err
}

func (w *Writer) commit(m *Manifest) error {
	w.flush()
	if err := w.press.settle(); err != nil {
		return err
	}
	text, err := w.finish(m)
	if err != nil {
		return err
	}
	head, err := header(ManifestName, int64(len(text)))
	if err != nil {
		return err
	}
	entry := append(append(head, text...), padding(int64(len(text)))...)

	return replace(w.path, func(tmp io.Writer) error {
		err := w.assemble(tmp, entry)
		if err == nil && w.aborted.Load() {
			err = ErrAborted
		}
		return err
	})
}

// finish completes the manifest and returns its text.
func (w *Writer) finish(m *Manifest) ([]byte, error) {
	m.Version = Version{Major: MajorVersion}
	m.Files = w.files
	if m.CreatedAt.IsZero() {
		return nil, &ManifestError{Field: "created_at", Need: "the time of the recording", Found: "none"}
	}
	if m.Recorders == nil {
		m.Recorders = []Recorder{}
	}
	if s := w.opt.Sealer; s != nil {
		if m.BundleID != "" && m.BundleID != s.BundleID() {
			return nil, &ManifestError{Field: "bundle_id", Need: "the id that files are sealed for, " + s.BundleID(), Found: fmt.Sprintf("%.80q", m.BundleID)}
		}
		m.BundleID = s.BundleID()
		if slices.ContainsFunc(m.Files, func(f File) bool { return f.Encryption == s.Key().ID }) {
			m.Keys = append(slices.Clone(m.Keys), s.Key())
		}
	}
	if m.BundleID == "" {
		text, err := m.Encode()
		if err != nil {
			return nil, err
		}
		m.BundleID = idOf(text)
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	text, err := m.Encode()
	if err == nil && int64(len(text)) > w.lim.Manifest {
		err = &LimitError{Path: ManifestName, What: "bytes", Limit: w.lim.Manifest, Found: int64(len(text))}
	}
	return text, err
}

// assemble writes the bundle: manifest, files, and what goes behind them.
func (w *Writer) assemble(tmp io.Writer, entry []byte) error {
	o := &output{w: tmp, enc: w.press.enc}
	for piece := entry; len(piece) > 0; piece = piece[min(len(piece), frameSize):] {
		if err := o.frame(piece[:min(len(piece), frameSize)]); err != nil {
			return err
		}
	}
	for _, s := range w.frames {
		if w.aborted.Load() {
			return ErrAborted
		}
		o.frames = append(o.frames, s.frame)
		if _, err := io.Copy(tmp, io.NewSectionReader(w.spool, s.at, int64(s.packed))); err != nil {
			return err
		}
	}
	starts := make([]int64, len(w.starts))
	for i, s := range w.starts {
		starts[i] = s + int64(len(entry))
	}
	return o.finish(starts, w.pos+int64(len(entry)))
}

// output writes frames and remembers them for the seek table.
type output struct {
	w      io.Writer
	enc    *zstd.Encoder
	frames []frame
}

func (o *output) frame(data []byte) error {
	packed := pack(o.enc, data)
	o.frames = append(o.frames, frame{packed: uint32(len(packed)), size: uint32(len(data)), sum: sumOf(packed)})
	_, err := o.w.Write(packed)
	return err
}

// finish writes the end mark of the tar, in a frame of its own so that more can
// be attached in front of it, the entry index, and the seek table.
func (o *output) finish(starts []int64, end int64) error {
	if err := o.frame(make([]byte, 2*block)); err != nil {
		return err
	}
	index := appendIndex(nil, starts, end)
	o.frames = append(o.frames, frame{packed: uint32(len(index)), sum: emptySum})
	_, err := o.w.Write(appendSeekTable(index, o.frames))
	return err
}

// replace puts a file in the place of path, or leaves things as they are.
func replace(path string, fill func(io.Writer) error) error {
	dir, base := filepath.Split(path)
	tmp, err := os.CreateTemp(orDot(dir), partial(base))
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(tmp, 1<<20)
	if err = fill(out); err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err != nil {
		return errors.Join(err, discard(tmp))
	}
	if err = tmp.Close(); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return syncDir(orDot(dir))
}

// idOf makes an id in the form of a UUID (version 8, "made otherwise") of a
// manifest that has none.
func idOf(manifest []byte) string {
	sum := sha256.Sum256(manifest)
	id := sum[:16]
	id[6] = id[6]&0x0F | 0x80
	id[8] = id[8]&0x3F | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// syncDir makes the new name survive a power failure. Not every file system
// can do that for a directory; what can't be had is no reason to fail.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	_ = d.Sync()
	return d.Close()
}
