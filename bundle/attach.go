package bundle

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Attach adds a detached signature of the manifest to a bundle that a [Writer]
// made: a file attestations/*.dsse.json, which the manifest can't list since
// it signs the manifest. All else stays as it is, byte for byte; the bundle is
// replaced as a whole.
func Attach(path, name string, data []byte) error {
	if err := CheckPath(name); err != nil {
		return err
	}
	if !isSignature(name) {
		return fmt.Errorf("attach %s: need the name of a signature, attestations/*.dsse.json", name)
	}
	r, err := Open(path)
	if err != nil {
		return err
	}
	err = attach(r, path, name, data)
	return errors.Join(err, r.Close())
}

func attach(r *Reader, path, name string, data []byte) error {
	if r.entries[name] != nil {
		return fmt.Errorf("attach %s: the bundle has one already", name)
	}
	src, ok := r.closer.(*os.File)
	if !ok || !r.indexed {
		return fmt.Errorf("attach %s: need a bundle that tapedeck wrote, found a %s", name, r.form)
	}
	t, err := readSeekTable(src, r.size)
	if err != nil {
		return err
	}
	index, err := readIndex(src, t, r.lim)
	if err != nil {
		return err
	}
	// What comes behind the last file is written anew.
	keep := slices.Index(t.plain, r.end)
	if keep < 0 {
		return fmt.Errorf("attach %s: need a frame that ends with the last file, found none", name)
	}
	head, err := header(name, int64(len(data)))
	if err != nil {
		return err
	}
	entry := slices.Concat(head, data, padding(int64(len(data))))
	if len(entry) > maxFrame {
		return &LimitError{Path: name, What: "bytes of a signature", Limit: maxFrame, Found: int64(len(entry))}
	}
	enc, err := newEncoder(1)
	if err != nil {
		return err
	}
	return replace(path, func(tmp io.Writer) error {
		o := &output{w: tmp, enc: enc, frames: slices.Clone(t.frames[:keep])}
		if _, err := io.Copy(tmp, io.NewSectionReader(src, 0, t.packed[keep])); err != nil {
			return err
		}
		if err := o.frame(entry); err != nil {
			return err
		}
		return o.finish(index, r.end+int64(len(entry))) // the old end is where the new entry starts
	})
}

// Signatures names the detached signatures in the bundle. Whether they are any
// good is for others to say.
func (r *Reader) Signatures() []string {
	var names []string
	for name, e := range r.entries {
		if isSignature(name) && !e.missing {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
