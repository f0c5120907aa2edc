package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// layer shows a path of the host: a file as it is, a folder under overlays. What
// is written there is thrown away, and a server's socket in it can't be reached,
// as it could through a bind, be that read-only.
func (w *world) layer(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil // not here
	}
	if !filepath.IsAbs(real) {
		return fmt.Errorf("need an absolute path to show, found %q", path)
	}
	if real != path {
		if err := w.link(path, real); err != nil {
			return err
		}
	}
	if inSystem(real) || real == "/" {
		return nil
	}
	fi, err := os.Stat(real)
	if err != nil {
		return nil
	}
	if !fi.IsDir() {
		if !fi.Mode().IsRegular() {
			return nil // a socket, a device
		}
		return w.show(real, false)
	}
	return w.folder(real)
}

// folder shows a folder. The kernel does not put an overlay on one that has
// mounts of the host below it: then what is in it is shown piece by piece.
func (w *world) folder(real string) error {
	fi, err := os.Stat(real)
	if err != nil {
		return err
	}
	at := w.root + real
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	cause := w.overlay(real, at, fi)
	if cause == nil {
		return nil
	}
	below, err := mountsBelow(real)
	if err != nil {
		return err
	}
	if below {
		return w.pieces(real, at, fi)
	}
	if !w.weak {
		return step("an overlay over "+real, "show a folder of another file system, or ask for a weaker sandbox; "+containerFix, cause)
	}
	w.weaknesses = append(w.weaknesses, "sockets of other programs below "+real+" can be reached: no overlay can be put over it ("+cause.Error()+")")
	return bind(real, at, true)
}

func (w *world) overlay(real, at string, fi fs.FileInfo) error {
	w.n++
	base := filepath.Join(w.root, ".tapedeck/upper", strconv.Itoa(w.n))
	if err := os.MkdirAll(base+"/up", 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(base+"/work", 0o755); err != nil {
		return err
	}
	_ = os.Chmod(base+"/up", fi.Mode().Perm())
	data := "lowerdir=" + escapeOverlay(real) + ",upperdir=" + escapeOverlay(base+"/up") + ",workdir=" + escapeOverlay(base+"/work") + ",userxattr"
	return unix.Mount("overlay", at, "overlay", unix.MS_NOSUID|unix.MS_NODEV, data)
}

// maxPieces is how many files and folders are shown one by one: each is a mount.
const maxPieces = 4096

// pieces shows what is in a folder: files read-only, folders under overlays of
// their own, sockets and devices not at all. New files can be made beside them.
func (w *world) pieces(real, at string, fi fs.FileInfo) error {
	if err := unix.Mount("tmpfs", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("mode=%o", fi.Mode().Perm())); err != nil {
		return err
	}
	entries, err := os.ReadDir(real)
	if errors.Is(err, fs.ErrPermission) {
		return nil // what may not be listed is not needed
	}
	if err != nil {
		return err
	}
	if w.pieced += len(entries); w.pieced > maxPieces {
		return step("a folder without mounts below it, or with less in it", "show the folders in "+real+" that are needed, not all of it", fmt.Errorf("mounts below %s, and more than %d entries", real, maxPieces))
	}
	for _, e := range entries {
		path := filepath.Join(real, e.Name())
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err == nil {
				err = os.Symlink(to, filepath.Join(at, e.Name()))
			}
			if err != nil {
				return err
			}
		case e.IsDir():
			if err := w.folder(path); err != nil && !errors.Is(err, fs.ErrPermission) {
				return err
			}
		case e.Type().IsRegular():
			if err := w.show(path, false); err != nil && !errors.Is(err, fs.ErrPermission) {
				return err
			}
		}
	}
	return nil
}

// mountsBelow tells whether something of the host is mounted below a folder.
func mountsBelow(dir string) (bool, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	defer f.Close()
	plain := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	s := bufio.NewScanner(f)
	for s.Scan() {
		if fields := strings.Fields(s.Text()); len(fields) > 4 && strings.HasPrefix(plain.Replace(fields[4]), strings.TrimSuffix(dir, "/")+"/") {
			return true, nil
		}
	}
	return false, s.Err()
}

func escapeOverlay(path string) string {
	return strings.NewReplacer(`\`, `\\`, ",", `\,`, ":", `\:`).Replace(path)
}

// link makes the symbolic links of path that lead to its real place.
func (w *world) link(path, real string) error {
	dir := filepath.Dir(path)
	realDir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	if realDir != dir {
		if err := w.link(dir, realDir); err != nil {
			return err
		}
	}
	to, err := os.Readlink(filepath.Join(realDir, filepath.Base(path)))
	if err != nil {
		return nil // not a link itself
	}
	at := filepath.Join(w.root, realDir, filepath.Base(path))
	if inSystem(realDir) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(to, at); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
