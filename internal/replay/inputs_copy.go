package replay

import (
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

// Copy writes a bundle with the recorded inputs and nothing else, in clear: for
// a replay in a place where there are no keys.
func (t *Inputs) Copy(path string) error {
	w, err := bundle.WriterOptions{}.Create(path)
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, top := range []string{inputsDir, consoleDir} {
		err := filepath.WalkDir(filepath.Join(t.Dir, top), func(host string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil // a bundle may be without one of the two
			}
			name, err := filepath.Rel(t.Dir, host)
			if err != nil {
				return err
			}
			return w.AddFile(filepath.ToSlash(name), host, bundle.FileInfo{})
		})
		if err != nil {
			return err
		}
	}
	m := *t.Manifest
	m.Keys, m.Attestations, m.Files = nil, nil, nil
	m.Privacy.Report = ""
	m.Recorders = slices.DeleteFunc(slices.Clone(m.Recorders), func(r bundle.Recorder) bool { return r.Kind() != "inputs" })
	return w.Commit(&m)
}
