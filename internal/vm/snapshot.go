package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
)

// PackedSnapshot returns the snapshot compressed, as bundles hold it. It is
// made once and kept beside the snapshot.
func (b *Base) PackedSnapshot() (string, error) {
	name := filepath.Join(b.Dir, SnapshotFile)
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	in, err := os.Open(b.Snapshot())
	if err != nil {
		return "", err
	}
	defer in.Close()
	tmp, err := os.CreateTemp(b.Dir, "pack-*.partial")
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	z, err := zstd.NewWriter(tmp, zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(z, in); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	// Every bundle from now on relies on this file: it must not be an empty
	// one after a power failure.
	if err := tmp.Sync(); err != nil {
		return "", err
	}
	return name, os.Rename(tmp.Name(), name)
}

// SnapshotError is a boot snapshot that must not be used.
type SnapshotError struct {
	Need, Found string
	Err         error
}

func (e *SnapshotError) Error() string {
	return fmt.Sprintf("the boot snapshot: need %s, found %s", e.Need, e.Found)
}

func (e *SnapshotError) Unwrap() error { return e.Err }

// UnpackBase returns the base of a recording from the cache, by its digest, or
// unpacks it there from packed. The machine's QEMU is the one found here. want
// comes from a bundle: it has to be what [ReadTape] lets through.
func UnpackBase(ctx context.Context, cache string, want Base, packed io.Reader, q QEMU) (*Base, error) {
	b := want
	b.Dir = baseDir(cache, want.Digest)
	b.QEMU.Path, b.QEMU.Sandbox, b.QEMU.Confine = q.Path, q.Sandbox, q.Confine
	b.touch()
	if d, err := Digest(b.Snapshot()); err == nil && d == want.Digest {
		return &b, checkQcow2(b.Snapshot())
	}
	if packed == nil {
		return nil, &exttool.Missing{Need: fmt.Sprintf("the boot snapshot %.12s…", want.Digest), Found: "neither in the bundle nor in the cache",
			Fix: "record without --thin, or copy " + filepath.Base(b.Dir) + " from the cache of the machine that recorded"}
	}
	unlock, err := lock(ctx, cache, func(string) {})
	if err != nil {
		return nil, err
	}
	defer unlock()
	tmp, err := os.MkdirTemp(cache, "base-*.partial")
	if err != nil {
		return nil, unusable(cache, err)
	}
	defer os.RemoveAll(tmp)
	if err := unpackSnapshot(filepath.Join(tmp, snapshotFile), want, packed); err != nil {
		return nil, err
	}
	// What is there is damaged, or another tapedeck has just put it there.
	if err := os.RemoveAll(b.Dir); err != nil {
		return nil, err
	}
	return &b, os.Rename(tmp, b.Dir)
}

func unpackSnapshot(name string, want Base, packed io.Reader) error {
	src := &source{r: packed}
	z, err := zstd.NewReader(src, zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return err
	}
	defer z.Close()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	// One byte more than it should have is enough to know that it is wrong.
	n, err := io.Copy(f, io.LimitReader(z, want.Size+1))
	var disk *os.PathError
	switch {
	case src.err != nil: // the bundle's own words are better than zstd's
		return src.err
	case errors.As(err, &disk):
		return err
	case err != nil:
		return &SnapshotError{"zstd data", err.Error(), err}
	case n != want.Size:
		found := fmt.Sprintf("%d bytes", n)
		if n > want.Size {
			found = "more"
		}
		return &SnapshotError{Need: fmt.Sprintf("%d bytes", want.Size), Found: found}
	}
	if err := f.Close(); err != nil {
		return err
	}
	got, err := Digest(name)
	if err != nil {
		return err
	}
	if got != want.Digest {
		return &SnapshotError{Need: "SHA-256 " + want.Digest, Found: got}
	}
	return checkQcow2(name)
}

// source remembers how reading went wrong.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

const maxWindow = 8 << 20 // of zstd; PackedSnapshot's is 4 MiB
