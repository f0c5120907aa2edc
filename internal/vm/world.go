package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
)

// Program is what the guest runs, and as whom.
type Program struct {
	Path  string   // absolute
	Args  []string // Args[0] is the name that the program sees
	Env   []string
	Dir   string // working directory
	Stdin string // a file of the host; "" is /dev/null
	Sites []byte // places in the program's code where chaos may hold a thread: see internal/sites
}

// World is a disk image with a program and every file that it uses, at the
// paths where it expects them.
type World struct {
	Image string // ext4, read-only
	Files int
	Bytes int64 // of the files
	names map[string]bool
}

// Has tells whether the image holds the path.
func (w *World) Has(path string) bool { return w.names[path] }

// BuildWorld copies the files named by paths (absolute; a symbolic link is
// followed and kept, a directory is made but not descended) into an image in
// dir. With rootfs set, the files come from that unpacked image instead.
func BuildWorld(ctx context.Context, dir string, p Program, paths []string, rootfs string) (*World, error) {
	mkfs, err := exttool.Find("mkfs.ext4", "e2fsprogs")
	if err != nil {
		// Root's directories are often not in a user's PATH.
		if _, serr := os.Stat("/sbin/mkfs.ext4"); serr != nil {
			return nil, err
		}
		mkfs = "/sbin/mkfs.ext4"
	}
	stage := filepath.Join(dir, "stage")
	defer os.RemoveAll(stage)
	s := &stager{root: filepath.Join(stage, "root"), names: map[string]bool{}}
	if err := s.job(filepath.Join(stage, "job"), p); err != nil {
		return nil, err
	}
	if rootfs != "" {
		if err := s.tree(rootfs); err != nil {
			return nil, err
		}
	}
	for _, path := range append(paths, p.Dir) {
		if err := s.add(filepath.Clean(path), 0); err != nil {
			return nil, fmt.Errorf("copy %s: %w", path, err)
		}
	}
	w := &World{Image: filepath.Join(dir, "world.ext4"), Files: s.files, Bytes: s.bytes, names: s.names}
	// Room for the files, rounded to blocks, and for ext4's own tables.
	size := s.bytes + int64(len(s.names)+64)*(4096+512) + s.bytes/16 + 4<<20
	_, err = exttool.Output(ctx, 5*time.Minute, mkfs, "-q", "-F", "-b", "4096", "-I", "256", "-m", "0",
		"-O", "^has_journal,^metadata_csum,^resize_inode,^huge_file", "-E", "lazy_itable_init=0,nodiscard",
		"-N", fmt.Sprint(len(s.names)+256), "-d", stage, w.Image, fmt.Sprintf("%dk", (size+1023)/1024))
	return w, err
}

// A stager lays files out under root as they lie under /.
type stager struct {
	root  string
	names map[string]bool
	files int
	bytes int64
}

const maxLinks = 40 // as the kernel's own limit for one path

// add copies one path, and what its symbolic links point at.
func (s *stager) add(path string, depth int) error {
	if depth > maxLinks {
		return errors.New("too many levels of symbolic links")
	}
	dir := "/"
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, part := range parts {
		if part == "" {
			continue
		}
		here := filepath.Join(dir, part)
		fi, err := os.Lstat(here)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTDIR) {
			return nil // gone since it was seen, or never readable
		}
		if err != nil {
			return err
		}
		if fi.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(here)
			if err != nil {
				return err
			}
			if !s.names[here] {
				s.names[here] = true
				if err := os.Symlink(target, s.root+here); err != nil && !errors.Is(err, fs.ErrExist) {
					return err
				}
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(dir, target)
			}
			return s.add(filepath.Join(append([]string{target}, parts[i+1:]...)...), depth+1)
		}
		if err := s.one(here, fi); err != nil {
			return err
		}
		dir = here
	}
	return nil
}

// one copies a file or makes a directory; what is neither is left out: the
// guest has its own devices, and sockets have nobody behind them.
func (s *stager) one(path string, fi fs.FileInfo) error {
	if s.names[path] {
		return nil
	}
	dst := s.root + path
	switch {
	case fi.IsDir():
		if err := os.MkdirAll(dst, 0o755); err != nil {
			return err
		}
		// The mode is set without what would stop us from filling it.
		if err := os.Chmod(dst, fi.Mode()&(fs.ModePerm|fs.ModeSticky|fs.ModeSetgid)|0o700); err != nil {
			return err
		}
	case fi.Mode().IsRegular():
		n, err := copyFile(dst, path, fi)
		if errors.Is(err, fs.ErrPermission) {
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
			return os.Lchown(dst, int(st.Uid), int(st.Gid))
		}
	}
	return nil
}

func copyFile(dst, src string, fi fs.FileInfo) (int64, error) {
	in, err := os.Open(src)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, fi.Mode().Perm()|0o200)
	if err != nil {
		return 0, err
	}
	n, err := out.ReadFrom(in) // copy_file_range where the file system has it
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chtimes(dst, time.Time{}, fi.ModTime())
	}
	return n, err
}

// tree copies a whole unpacked image.
func (s *stager) tree(rootfs string) error {
	return filepath.WalkDir(rootfs, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(rootfs, path)
		if err != nil {
			return err
		}
		inside := filepath.Join("/", rel)
		fi, err := d.Info()
		if err != nil {
			return err
		}
		if fi.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			s.names[inside] = true
			return os.Symlink(target, s.root+inside)
		}
		switch {
		case fi.IsDir():
			s.names[inside] = true
			return os.MkdirAll(s.root+inside, 0o755)
		case fi.Mode().IsRegular():
			n, err := copyFile(s.root+inside, path, fi)
			s.names[inside] = true
			s.files++
			s.bytes += n
			return err
		}
		return nil
	})
}

// job writes what init reads: see guest/init.c.
func (s *stager) job(dir string, p Program) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(s.root, 0o755); err != nil {
		return err
	}
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
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	if p.Stdin == "" {
		return nil
	}
	fi, err := os.Stat(p.Stdin)
	if err != nil {
		return err
	}
	_, err = copyFile(filepath.Join(dir, "stdin"), p.Stdin, fi)
	return err
}
