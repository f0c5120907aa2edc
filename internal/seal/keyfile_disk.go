package seal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxKeyFile is far more than any key file takes, in bytes.
const maxKeyFile = 4 << 20

// load reads the key file. No file is an empty one.
func (k Keys) load() (*keyFile, error) {
	path, err := k.real()
	if err != nil {
		return nil, err
	}
	// A writer overwrites the file that it replaces, so nobody may be reading
	// that. Where no lock can be made nobody can write, either.
	if unlock, err := lock(path, unix.LOCK_SH); err == nil {
		defer unlock()
	}
	f, _, err := read(path)
	return f, err
}

// update changes the key file as a whole: others see it as it was or as it is.
func (k Keys) update(change func(*keyFile) error) error {
	path, err := k.real()
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := checkDir(dir); err != nil {
		return err
	}
	unlock, err := lock(path, unix.LOCK_EX)
	if err != nil {
		return fmt.Errorf("key file %s: %w", path, err)
	}
	defer unlock()
	f, old, err := read(path)
	if err != nil {
		return err
	}
	if err := change(f); err != nil {
		return err
	}
	text, err := f.encode()
	if err != nil {
		return err
	}
	return replace(path, text, old, f.shred)
}

// real follows links, so that the file itself is replaced and not the link.
func (k Keys) real() (string, error) {
	if k.Path == "" {
		return "", &FileError{Path: "(none)", Need: "the place of the key file", Found: "none", Fix: "set HOME, XDG_CONFIG_HOME or TAPEDECK_KEYS"}
	}
	path, err := filepath.EvalSymlinks(k.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return filepath.Abs(k.Path)
	}
	return path, err
}

// read also returns what file it read, or nil if there is none.
func read(path string) (*keyFile, os.FileInfo, error) {
	src, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return &keyFile{}, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer src.Close()
	st, err := src.Stat()
	if err != nil {
		return nil, nil, err
	}
	switch mode := st.Mode(); {
	case !mode.IsRegular():
		return nil, nil, &FileError{Path: path, Need: "a regular file", Found: mode.Type().String()}
	case mode.Perm()&0o077 != 0:
		return nil, nil, &FileError{Path: path, Need: "a file that its owner alone can read", Found: "mode " + mode.Perm().String(),
			Fix: "chmod 600 " + path + ", and rotate its keys if somebody else may have read it"}
	case st.Size() > maxKeyFile:
		return nil, nil, &FileError{Path: path, Need: "a key file", Found: fmt.Sprintf("%d bytes", st.Size())}
	}
	text, err := io.ReadAll(io.LimitReader(src, maxKeyFile))
	if err != nil {
		return nil, nil, err
	}
	f, err := parseKeyFile(text)
	if err != nil {
		return nil, nil, &FileError{Path: path, Need: "a key file", Found: err.Error(), Fix: "restore it from a backup; without it what its keys encrypted can't be read", Err: err}
	}
	return f, st, nil
}

// checkDir refuses a folder where others could put a key file of theirs.
func checkDir(dir string) error {
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if st.Mode().Perm()&0o022 != 0 {
		return &FileError{Path: dir, Need: "a folder that its owner alone can write to", Found: "mode " + st.Mode().Perm().String(), Fix: "chmod go-w " + dir}
	}
	return nil
}

// lock waits for the lock of a key file. It is a file of its own, since the
// key file is replaced.
func lock(path string, how int) (unlock func(), err error) {
	f, err := os.OpenFile(path+".lock", os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// replace puts text in the place of the key file, whole, and overwrites the
// file that was there: freed blocks would keep its keys. The caller holds the
// lock.
func replace(path string, text []byte, old os.FileInfo, all bool) error {
	tmp := path + ".new"
	// Left by a process that was killed; it has keys too.
	if err := overwrite(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeSynced(tmp, text); err != nil {
		return errors.Join(err, overwrite(tmp), os.Remove(tmp))
	}
	if old == nil {
		if err := os.Rename(tmp, path); err != nil {
			return errors.Join(err, os.Remove(tmp))
		}
		return syncDir(filepath.Dir(path))
	}
	handle, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	defer handle.Close()
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	// A hard link that somebody made to it is a backup, unless a key is to be
	// destroyed: then it must not be one.
	if st, err := handle.Stat(); err != nil || links(st) > 0 && !all {
		return err
	}
	return zero(handle)
}

// overwrite is zero for a file by name.
func overwrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	return errors.Join(zero(f), f.Close())
}

// zero overwrites a file in place. On a disk that writes elsewhere each time,
// such as a copy-on-write file system or flash, the old bytes can survive it.
func zero(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(make([]byte, min(st.Size(), maxKeyFile)), 0); err != nil {
		return err
	}
	return f.Sync()
}

func links(st os.FileInfo) uint64 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return uint64(sys.Nlink)
	}
	return 0
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) { // not every file system can
		return err
	}
	return nil
}
