package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// inside is where path is below root, for whoever has root as the root folder:
// dots and symbolic links, absolute ones too, don't lead out of it. What does
// not exist is taken as it is written. Without it a path out of a bundle, or a
// link in a folder that is shown, would name a file of the host.
func inside(root, path string) (string, error) {
	const maxLinks = 40 // as the kernel
	at := "/"
	todo := strings.Split(path, "/")
	for links := 0; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		to, err := os.Readlink(filepath.Join(root, next))
		if err != nil { // no link, or not there
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", &os.PathError{Op: "follow", Path: path, Err: unix.ELOOP}
		}
		if filepath.IsAbs(to) {
			at = "/"
		}
		todo = append(strings.Split(to, "/"), todo...)
	}
	return filepath.Join(root, at), nil
}

// file puts content at a path; over what is mounted there, if need be.
func (w *world) file(path string, content []byte) error {
	dir, err := inside(w.root, filepath.Dir(filepath.Clean("/"+path)))
	if err != nil {
		return err
	}
	at := filepath.Join(dir, filepath.Base(path))
	// A link gives way to the file, where that can be: it may lead to what isn't shown.
	if fi, err := os.Lstat(at); err == nil && fi.Mode()&os.ModeSymlink != 0 && os.Remove(at) != nil {
		if at, err = inside(w.root, path); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err == nil {
		if err := os.WriteFile(at, content, 0o644); err == nil {
			return nil
		}
	}
	w.n++
	source := filepath.Join(w.root, ".tapedeck", "file"+strings.Repeat("x", w.n))
	if err := os.WriteFile(source, content, 0o444); err != nil {
		return err
	}
	if err := bind(source, at, true); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
