package vm

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// keepUnused is how long a boot snapshot stays in the cache without being used.
const keepUnused = 30 * 24 * time.Hour

// touch notes that the snapshot is used, by the time of its folder. Where the
// cache can't be written to, nothing is removed either.
func (b *Base) touch() {
	now := time.Now()
	_ = os.Chtimes(b.Dir, now, now)
}

// prune removes the boot snapshots that were last used before a time, what
// killed tapedecks left of others, and the links to what is gone. The cache
// must be locked: so nobody fills one of them. A machine that runs from one has
// its file open, and has touched it.
func prune(cache string, before time.Time) error {
	var errs []error
	dirs, err := filepath.Glob(filepath.Join(cache, "base-*"))
	errs = append(errs, err)
	for _, dir := range dirs {
		if fi, err := os.Lstat(dir); err == nil && fi.IsDir() && fi.ModTime().Before(before) {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	links, err := filepath.Glob(filepath.Join(cache, "made-from-*"))
	errs = append(errs, err)
	for _, link := range links {
		if _, err := os.Stat(link); errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, os.Remove(link))
		}
	}
	return errors.Join(errs...)
}

// CacheSize is how many bytes the files in the cache have, and how many boot
// snapshots there are.
func CacheSize(cache string) (bytes int64, snapshots int, err error) {
	err = filepath.WalkDir(cache, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // not yet, or just gone
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return nil
		}
		bytes += fi.Size()
		if d.Name() == snapshotFile {
			snapshots++
		}
		return nil
	})
	return bytes, snapshots, err
}
