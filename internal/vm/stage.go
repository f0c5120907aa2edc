package vm

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A stager lays files out under root as they lie under /. It writes through
// os.Root: a link in an unpacked image must not lead out to this machine.
type stager struct {
	root  *os.Root
	names map[string]bool
	only  func(path string) bool // of files; nil: all
	files int
	bytes int64
}

const maxLinks = 40 // as the kernel's own limit for one path

// add copies one path, and what its symbolic links point at. It goes from
// name to name as the kernel does: "link/.." is not the link's own folder.
func (s *stager) add(path string) error {
	dir, rest, links := "/", strings.Split(path, "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			dir = filepath.Dir(dir)
			continue
		}
		here := filepath.Join(dir, part)
		if here == "/proc" || here == "/sys" || here == "/dev" {
			return nil // the guest has its own
		}
		fi, err := os.Lstat(here)
		if unseen(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.one(here, here, fi); err != nil {
			return err
		}
		if fi.Mode()&fs.ModeSymlink == 0 {
			dir = here
			continue
		}
		if links++; links > maxLinks {
			return nil // the program gets the kernel's error in the guest, too
		}
		target, err := os.Readlink(here)
		if err != nil {
			return err
		}
		if filepath.IsAbs(target) {
			dir = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return nil
}

// unseen tells that a file is gone since it was seen, or never was readable.
func unseen(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTDIR)
}

// one copies src to the path in the image; of a directory, only itself. What
// is neither file, directory nor link is left out: the guest has its own
// devices, and sockets have nobody behind them.
func (s *stager) one(path, src string, fi fs.FileInfo) error {
	name := strings.TrimPrefix(path, "/")
	if name == "" || s.names[path] {
		return nil
	}
	switch {
	case fi.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(src)
		if err != nil {
			return err
		}
		if err := s.root.Symlink(target, name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case fi.IsDir():
		if err := s.root.MkdirAll(name, 0o700); err != nil {
			return err
		}
		// The mode is set without what would stop us from filling it.
		if err := s.root.Chmod(name, fi.Mode()&(fs.ModePerm|fs.ModeSticky|fs.ModeSetgid)|0o700); err != nil {
			return err
		}
	case fi.Mode().IsRegular():
		if s.only != nil && !s.only(path) {
			return nil
		}
		n, err := s.file(name, src, fi)
		if unseen(err) {
			return nil
		}
		if err != nil {
			return err
		}
		s.files++
		s.bytes += n
	default:
		return nil
	}
	s.names[path] = true
	if os.Geteuid() == 0 {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			err := s.root.Lchown(name, int(st.Uid), int(st.Gid))
			if errors.Is(err, syscall.EINVAL) {
				return nil // of a user who is not in this user namespace
			}
			return err
		}
	}
	return nil
}

// file copies a file with its mode and its time. Nothing in the guest gains
// rights by a file, so set-user-id bits are left out.
func (s *stager) file(name, src string, fi fs.FileInfo) (int64, error) {
	in, err := os.Open(src)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := s.root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := out.ReadFrom(in) // copy_file_range where the file system has it
	if err == nil {
		err = out.Chmod(fi.Mode().Perm() | 0o400) // which mkfs needs
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = s.root.Chtimes(name, fi.ModTime(), fi.ModTime())
	}
	return n, err
}

// tree copies a whole unpacked image, but not what is mounted in it.
func (s *stager) tree(rootfs string) error {
	top, err := os.Stat(rootfs)
	if err != nil {
		return fmt.Errorf("unpacked image: %w", err)
	}
	return filepath.WalkDir(rootfs, func(path string, d fs.DirEntry, err error) error {
		if err != nil && errors.Is(err, fs.ErrPermission) {
			return nil // a folder that the user can't read
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(rootfs, path)
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if unseen(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if fi.IsDir() && device(fi) != device(top) {
			return filepath.SkipDir
		}
		return s.one(filepath.Join("/", rel), path, fi)
	})
}

func device(fi fs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Dev)
	}
	return 0
}

// job writes what init reads: see guest/init.c.
func (s *stager) job(p Program) error {
	nul := func(list []string) []byte {
		var b bytes.Buffer
		for _, v := range list {
			b.WriteString(v)
			b.WriteByte(0)
		}
		return b.Bytes()
	}
	for name, text := range map[string][]byte{
		"path": []byte(p.Path), "argv": nul(p.Args), "env": nul(p.Env), "cwd": []byte(p.Dir), "sites": p.Sites,
	} {
		if err := s.root.WriteFile(name, text, 0o644); err != nil {
			return err
		}
		s.bytes += int64(len(text))
	}
	if p.Stdin == "" {
		return nil
	}
	fi, err := os.Stat(p.Stdin)
	if err != nil {
		return err
	}
	n, err := s.file("stdin", p.Stdin, fi)
	s.bytes += n
	return err
}
