package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/privacy"
	"github.com/tapedeck-dev/tapedeck/internal/record"
)

// notPacked is a recording that could not be written as a bundle, most often
// since the disk is full. A failure that came once in a thousand runs is not
// thrown away for that.
type notPacked struct {
	err    error // why
	dir    string
	out    string
	sealed bool  // it was to be encrypted, so nothing is kept
	kept   error // why dir could not be filled
}

func (e *notPacked) Error() string {
	switch {
	case e.sealed:
		return fmt.Sprintf("%v; the recording was discarded, since a key was named and it would have been kept in clear", e.err)
	case e.kept != nil:
		return fmt.Sprintf("%v; the recording was discarded, since it could not be kept either: %v", e.err, e.kept)
	}
	return fmt.Sprintf("%v; the recording is kept, in clear, in %s", e.err, e.dir)
}

func (e *notPacked) Unwrap() error { return e.err }

func (e *notPacked) Hint() string {
	if e.dir == "" {
		return "make room there, or name another place with --out, and record again"
	}
	return fmt.Sprintf("make room, then: tapedeck bundle build %s -o %s && rm -r %s", e.dir, e.out, e.dir)
}

// keep moves a recording that could not be packed into a folder of its own,
// from which "bundle build" makes the bundle.
func keep(ctx context.Context, why error, out string, job record.Job, rec *record.Recording, dev *recorder, g *guard) error {
	e := &notPacked{err: why, out: out}
	if g.sealer != nil {
		e.sealed = true
		return e
	}
	dir, err := os.MkdirTemp("", "tapedeck-kept-") // 0700; where the recording is, so that nothing needs copying
	if err != nil {
		e.kept = err
		return e
	}
	m := manifestOf(ctx, job, rec)
	privacy.ScrubManifest(g.clean, m)
	if err := fill(dir, m, rec, dev); err != nil {
		e.kept = err
		os.RemoveAll(dir)
		return e
	}
	e.dir = dir
	return e
}

func fill(dir string, m *bundle.Manifest, rec *record.Recording, dev *recorder) error {
	add := func(f record.File, put func(dst, src string) error) error {
		dst := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(dst), 0o700); err != nil {
			return err
		}
		if err := put(dst, f.Host); err != nil {
			os.Remove(dst)
			return err
		}
		fi, err := os.Stat(dst)
		if err != nil {
			return err
		}
		m.Files = append(m.Files, bundle.File{Path: f.Path, Size: fi.Size(), MediaType: f.Media, Class: bundle.Class(f.Class)})
		return nil
	}
	for _, f := range rec.Files {
		if err := add(f, move); err != nil {
			return err
		}
	}
	shared, err := dev.shared()
	if err != nil {
		return nil // the cache has it: the bundle is as with --thin
	}
	for _, f := range shared {
		_ = add(f, copyFile) // the same
	}
	m.Version = bundle.Version{Major: bundle.MajorVersion}
	text, err := m.Encode()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, bundle.ManifestName), text, 0o600)
}

// move renames a file, or copies it to another file system.
func move(dst, src string) error {
	if os.Rename(src, dst) != nil {
		return copyFile(dst, src)
	}
	return os.Chmod(dst, 0o600)
}

func copyFile(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
