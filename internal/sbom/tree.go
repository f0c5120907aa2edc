package sbom

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// tree is a root file system: "" is this machine's own, another value the
// folder that an image was unpacked to. Links in an image are followed as the
// program saw them, within the image: an absolute one must not lead to a file
// of this machine, which would then be listed as the program's.
type tree string

func inTree(root string) tree {
	if root == "" || filepath.Clean(root) == "/" {
		return ""
	}
	return tree(filepath.Clean(root))
}

// real is where a path of the tree leads, without links, as the tree names it.
func (t tree) real(path string) string {
	if t == "" {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return real
		}
		return path
	}
	const maxLinks = 40
	done, links := "/", 0
	for left := strings.Split(path, "/"); len(left) > 0; {
		e := left[0]
		left = left[1:]
		next := filepath.Join(done, e) // .. of the root is the root
		target, err := os.Readlink(filepath.Join(string(t), next))
		if links++; err != nil || links > maxLinks+len(path) {
			done = next
			continue
		}
		if filepath.IsAbs(target) {
			done = "/"
		}
		left = append(strings.Split(target, "/"), left...)
	}
	return done
}

// host is the path by which this machine knows a file of the tree.
func (t tree) host(path string) string {
	if t == "" {
		return path
	}
	return filepath.Join(string(t), t.real(path))
}

// open opens a file of the tree; a pipe doesn't make it wait.
func (t tree) open(path string) (*os.File, error) {
	return os.OpenFile(t.host(path), os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// small reads a metadata file, or nothing.
func (t tree) small(path string) []byte {
	f, err := t.open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(f, maxMeta))
	if err != nil {
		return nil
	}
	return b
}

func (t tree) readDir(path string) []os.DirEntry {
	entries, err := os.ReadDir(t.host(path))
	if err != nil {
		return nil
	}
	return entries
}
