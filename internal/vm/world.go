package vm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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
// dir. With rootfs set, all of that unpacked image is copied, too. A file for
// which only is false is left out, wherever a link leads; nil is none.
func BuildWorld(ctx context.Context, dir string, p Program, paths []string, rootfs string, only func(path string) bool) (*World, error) {
	mkfs, err := exttool.FindRoot("mkfs.ext4", "e2fsprogs")
	if err != nil {
		return nil, err
	}
	stage := filepath.Join(dir, "stage")
	defer os.RemoveAll(stage)
	job, err := newStager(filepath.Join(stage, "job"))
	if err != nil {
		return nil, err
	}
	defer job.root.Close()
	if err := job.job(p); err != nil {
		return nil, err
	}
	s, err := newStager(filepath.Join(stage, "root"))
	if err != nil {
		return nil, err
	}
	defer s.root.Close()
	s.only = only
	if rootfs != "" {
		if err := s.tree(rootfs); err != nil {
			return nil, err
		}
	}
	for _, path := range append(paths, p.Dir) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := s.add(path); err != nil {
			return nil, fmt.Errorf("copy %s: %w", path, err)
		}
	}
	w := &World{Image: filepath.Join(dir, "world.ext4"), Files: s.files, Bytes: s.bytes, names: s.names}
	// Room for the files, rounded to blocks, and for ext4's own tables.
	bytes := s.bytes + job.bytes
	size := bytes + int64(len(s.names)+64)*(4096+512) + bytes/16 + 4<<20
	_, err = exttool.Output(ctx, 5*time.Minute, mkfs, "-q", "-F", "-b", "4096", "-I", "256", "-m", "0",
		"-O", "^has_journal,^metadata_csum,^resize_inode,^huge_file", "-E", "lazy_itable_init=0,nodiscard",
		"-N", fmt.Sprint(len(s.names)+256), "-d", stage, w.Image, fmt.Sprintf("%dk", (size+1023)/1024))
	return w, err
}

func newStager(dir string) (*stager, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // it is / in the guest, whatever the umask is here
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	return &stager{root: root, names: map[string]bool{}}, err
}
