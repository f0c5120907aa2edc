package bundle

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
)

// Rewrite writes the bundle to path with another manifest; m is that of
// [Reader.Manifest], changed in what isn't about files: they are copied as they
// are, packed. Signatures of the old manifest are left out, by name in the
// result. path may be that of the bundle itself.
func (r *Reader) Rewrite(path string, m *Manifest) (dropped []string, err error) {
	src, ok := r.closer.(*os.File)
	if !ok || !r.indexed {
		return nil, fmt.Errorf("rewrite %s: need a bundle that tapedeck wrote, found a %s", ManifestName, r.form)
	}
	if !slices.EqualFunc(m.Files, r.manifest.Files, func(a, b File) bool { return a.Path == b.Path && a.Size == b.Size && a.SHA256 == b.SHA256 }) {
		return nil, errors.New("rewrite: need the same list of files, found another")
	}
	t, err := readSeekTable(src, r.size)
	if err != nil {
		return nil, err
	}
	index, err := readIndex(src, t, r.lim)
	if err != nil {
		return nil, err
	}
	// Signatures come behind the files of the manifest, in frames of their own.
	starts := index[:len(m.Files)+1]
	for _, name := range slices.Sorted(maps.Keys(r.entries)) {
		if isSignature(name) && !slices.ContainsFunc(m.Files, func(f File) bool { return f.Path == name }) {
			dropped = append(dropped, name)
		}
	}
	first, end := starts[0], starts[len(m.Files)]
	from, to := slices.Index(t.plain, first), slices.Index(t.plain, end)
	if from < 0 || to < from {
		return nil, errors.New("rewrite: need frames that start and end with the files, found others")
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	text, err := m.Encode()
	if err != nil {
		return nil, err
	}
	if n := int64(len(text)); n > r.lim.Manifest {
		return nil, &LimitError{Path: ManifestName, What: "bytes", Limit: r.lim.Manifest, Found: n}
	}
	head, err := header(ManifestName, int64(len(text)))
	if err != nil {
		return nil, err
	}
	entry := slices.Concat(head, text, padding(int64(len(text))))
	enc, err := newEncoder(1)
	if err != nil {
		return nil, err
	}
	return dropped, replace(path, func(tmp io.Writer) error {
		o := &output{w: tmp, enc: enc}
		for piece := range slices.Chunk(entry, frameSize) {
			if err := o.frame(piece); err != nil {
				return err
			}
		}
		o.frames = append(o.frames, t.frames[from:to]...)
		if _, err := io.Copy(tmp, io.NewSectionReader(src, t.packed[from], t.packed[to]-t.packed[from])); err != nil {
			return err
		}
		shift := int64(len(entry)) - first
		moved := make([]int64, len(m.Files))
		for i := range moved {
			moved[i] = starts[i] + shift
		}
		return o.finish(moved, end+shift)
	})
}
