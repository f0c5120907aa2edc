package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mounts gives the sandbox its files.
func mounts(o stageOrders) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return step("a mount namespace", containerFix, err)
	}
	if o.Hermetic {
		return step("mounts in a user namespace", containerFix, hermetic(o))
	}
	for _, b := range o.Binds {
		if err := bindOver("", b); err != nil {
			return step("to show a file at "+b.Target, "", err)
		}
	}
	// Name services that would answer by another way than DNS.
	for _, socket := range []string{"/run/nscd/socket", "/run/systemd/resolve/io.systemd.Resolve"} {
		if _, err := os.Stat(socket); err == nil {
			if err := unix.Mount("/dev/null", socket, "", unix.MS_BIND, ""); err != nil {
				return step("to hide "+socket, "", err)
			}
		}
	}
	return newProc("/proc")
}

// newProc shows the processes of the sandbox alone. A container may forbid it;
// then the program sees the container's.
func newProc(at string) error {
	err := unix.Mount("proc", at, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if errors.Is(err, unix.EPERM) {
		if at == "/proc" {
			return nil
		}
		err = bind("/proc", at, true)
	}
	return step("to mount proc", containerFix, err)
}

// bindOver shows a file below root.
func bindOver(root string, b Bind) error {
	target, err := filepath.EvalSymlinks(filepath.Join(root, b.Target))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nobody opens it, then
	}
	if err != nil {
		return err
	}
	return bind(b.Source, target, true)
}

func bind(source, target string, readOnly bool) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if !readOnly {
		return nil
	}
	return unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID})
}

// etcPaths is what programs need of /etc beside what they are shown. None of it
// is private.
func etcPaths() []string {
	all := []string{"alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "fonts", "group", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "locale.alias", "localtime", "magic", "mime.types",
		"passwd", "pki", "protocols", "python3", "python3.11", "python3.12", "rpc", "services", "ssl", "timezone", "nsswitch.conf", "gai.conf", "host.conf"}
	for i, name := range all {
		all[i] = "/etc/" + name
	}
	return all
}

// selfInside is this executable, until the program has begun.
const selfInside = "/.tapedeck/stage"

// hermetic makes a root of its own: what belongs to the system, what is to be
// shown, and nothing else.
func hermetic(o stageOrders) error {
	root := filepath.Join(o.Scratch, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return err
	}
	w := &world{root: root}
	for _, name := range []string{"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"} {
		w.do(w.system("/" + name))
	}
	w.do(w.dirs("etc", "dev", "proc", "sys", "run", "tmp", "var/tmp", "home", "root", "dev/shm", "opt", ".tapedeck/upper"))
	w.do(os.Chmod(root+"/root", 0o700))
	for _, dir := range []string{"tmp", "var/tmp", "dev/shm"} { // the root folder becomes read-only
		w.do(unix.Mount("tmpfs", filepath.Join(root, dir), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"))
	}
	java, _ := filepath.Glob("/etc/java*")
	for _, name := range slices.Concat(etcPaths(), java) {
		w.do(w.show(name, true))
	}
	if _, err := os.Stat(root + "/etc/ssl/private"); err == nil {
		w.do(unix.Mount("tmpfs", root+"/etc/ssl/private", "tmpfs", unix.MS_RDONLY, "mode=700"))
	}
	w.do(w.devices())
	w.do(newProc(root + "/proc"))
	w.do(w.maskProc())
	w.do(w.layer("/opt"))
	for _, path := range o.Show {
		w.do(w.layer(path))
	}
	w.do(w.layer(o.Dir))
	for path, content := range o.Files {
		w.do(w.file(path, content))
	}
	for _, b := range o.Binds {
		w.do(bindOver(root, b))
	}
	w.do(w.self())
	if w.err != nil {
		return w.err
	}
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	// The root folder itself, not what is mounted below it.
	return unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

// world is a root folder that is being furnished. The first error stays.
type world struct {
	root string
	n    int // layers
	err  error
}

func (w *world) do(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *world) dirs(names ...string) error {
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(w.root, name), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// system shows a folder of the system as it is, or as the link that it is.
func (w *world) system(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode()&fs.ModeSymlink != 0 {
		to, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return os.Symlink(to, w.root+path)
	}
	if err := w.dirs(path); err != nil {
		return err
	}
	return bind(path, w.root+path, true)
}

// show binds a file or a folder, if it is there and everybody may read it.
func (w *world) show(path string, everybody bool) error {
	fi, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	at := w.root + path
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	if fi.Mode()&fs.ModeSymlink != 0 {
		to, err := os.Readlink(path)
		if err != nil {
			return err
		}
		if err := os.Symlink(to, at); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		real, err := filepath.EvalSymlinks(path)
		if err != nil || strings.HasPrefix(real, "/usr/") {
			return nil
		}
		return w.show(real, everybody)
	}
	if everybody && fi.Mode().Perm()&0o004 == 0 {
		return nil
	}
	if fi.IsDir() {
		err = os.MkdirAll(at, 0o755)
	} else {
		err = w.mountPoint(at)
	}
	if err != nil {
		return err
	}
	return bind(path, at, true)
}

func (w *world) mountPoint(at string) error {
	f, err := os.OpenFile(at, os.O_CREATE|os.O_RDONLY, 0o644)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.EROFS) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// layer shows a folder under an overlay: what is written is thrown away, and a
// server's socket in it can't be reached, as it could through a bind. A file is bound.
func (w *world) layer(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil // not here
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
	at := w.root + real
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	w.n++
	base := filepath.Join(w.root, ".tapedeck/upper", string(rune('a'+w.n%26))+strings.Repeat("x", w.n/26))
	if err := os.MkdirAll(base+"/up", 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(base+"/work", 0o755); err != nil {
		return err
	}
	_ = os.Chmod(base+"/up", fi.Mode().Perm())
	data := "lowerdir=" + escapeOverlay(real) + ",upperdir=" + escapeOverlay(base+"/up") + ",workdir=" + escapeOverlay(base+"/work") + ",userxattr"
	if err := unix.Mount("overlay", at, "overlay", unix.MS_NOSUID|unix.MS_NODEV, data); err == nil {
		return nil
	}
	// Some file systems and mounts below it forbid that: read-only, then.
	return bind(real, at, true)
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

func inSystem(path string) bool {
	for _, dir := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sys", "/dev"} {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return false
}

func escapeOverlay(path string) string {
	return strings.NewReplacer(`\`, `\\`, ",", `\,`, ":", `\:`).Replace(path)
}

// file puts content at a path; over what is mounted there, if need be.
func (w *world) file(path string, content []byte) error {
	at := w.root + path
	if fi, err := os.Lstat(at); err == nil && fi.Mode()&fs.ModeSymlink != 0 {
		if err := os.Remove(at); err != nil {
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
	if err := bind(source, at, true); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (w *world) devices() error {
	dev := w.root + "/dev"
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		if err := w.mountPoint(filepath.Join(dev, name)); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, filepath.Join(dev, name), "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	for name, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(to, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	return nil
}

// maskProc hides what is about the machine, and what could change it.
func (w *world) maskProc() error {
	for _, path := range []string{"/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/sysrq-trigger"} {
		if err := bind(w.root+path, w.root+path, true); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, path := range []string{"/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/timer_list", "/proc/sched_debug", "/proc/kallsyms"} {
		if _, err := os.Stat(w.root + path); err != nil {
			continue
		}
		if err := unix.Mount(w.root+"/dev/null", w.root+path, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	for path, content := range map[string]string{"/proc/uptime": "1000.00 1000.00\n", "/proc/sys/kernel/random/boot_id": "00000000-0000-4000-8000-000000000000\n"} {
		if err := w.file(path, []byte(content)); err != nil {
			return err
		}
	}
	return nil
}

// self shows this executable, for the next stage.
func (w *world) self() error {
	at := w.root + selfInside
	if err := w.mountPoint(at); err != nil {
		return err
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	return unix.Mount(self, at, "", unix.MS_BIND, "")
}

// hideSelf takes it away again, and the upper layers with it.
func hideSelf() error {
	return unix.Mount("tmpfs", "/.tapedeck", "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "mode=700")
}
