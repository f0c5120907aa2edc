package sandbox

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mounts gives the sandbox its files. What it returns is this user namespace's
// limit of namespaces below it, to be written once they are made, or nil.
func mounts(o stageOrders) (*os.File, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, step("a mount namespace", containerFix, err)
	}
	if o.Hermetic {
		limit, err := hermetic(o)
		return limit, step("mounts in a user namespace", containerFix, err)
	}
	for _, b := range o.Binds {
		if err := bindOver("/", b); err != nil {
			return nil, step("to show a file at "+b.Target, "", err)
		}
	}
	// Name services that would answer by another way than DNS.
	for _, socket := range []string{"/run/nscd/socket", "/run/systemd/resolve/io.systemd.Resolve"} {
		if _, err := os.Stat(socket); err == nil {
			if err := unix.Mount("/dev/null", socket, "", unix.MS_BIND, ""); err != nil {
				return nil, step("to hide "+socket, "", err)
			}
		}
	}
	err := newProc("/proc")
	if errors.Is(err, unix.EPERM) {
		err = nil // a container may forbid it: the program sees the container's
	}
	return nil, step("to mount proc", containerFix, err)
}

// newProc shows the processes of the sandbox alone.
func newProc(at string) error {
	return unix.Mount("proc", at, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// proc is newProc in the new root. A container may forbid it, since parts of its
// own are hidden; then a weak sandbox shows the container's.
func (w *world) proc() error {
	at := w.root + "/proc"
	err := newProc(at)
	if errors.Is(err, unix.EPERM) && w.weak {
		w.weaknesses = append(w.weaknesses, "the processes outside are seen in /proc: no new one can be mounted here ("+err.Error()+")")
		return bind("/proc", at, false) // programs write to their own part of it
	}
	return step("to mount proc", containerFix+"; or ask for a weaker sandbox", err)
}

// bindOver shows a file below root.
func bindOver(root string, b Bind) error {
	target, err := inside(root, b.Target)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(target); errors.Is(err, fs.ErrNotExist) {
		return nil // nobody opens it, then
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
func hermetic(o stageOrders) (*os.File, error) {
	root := filepath.Join(o.Scratch, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		return nil, err
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return nil, err
	}
	w := &world{root: root, weak: o.Weak}
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
	w.do(w.hidePrivate("/etc"))
	w.do(w.devices())
	w.do(w.proc())
	// A second lock beside the filter, where the kernel lets us have it.
	limit, _ := os.OpenFile(root+"/proc/sys/user/max_user_namespaces", os.O_WRONLY, 0)
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
	for _, weakness := range w.weaknesses {
		w.do(send(ctlFD, message{Kind: "weak", Found: weakness}))
	}
	if w.err != nil {
		return nil, w.err
	}
	if err := unix.Chdir(root); err != nil {
		return nil, err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return nil, err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return nil, err
	}
	// The root folder itself, not what is mounted below it.
	return limit, unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

// world is a root folder that is being furnished. The first error stays.
type world struct {
	root       string
	n          int // names given in .tapedeck
	pieced     int // entries shown one by one
	weak       bool
	weaknesses []string
	err        error
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

// hidePrivate hides what not everybody may read on the host: keys, passwords.
func (w *world) hidePrivate(dir string) error {
	return filepath.WalkDir(w.root+dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		fi, err := d.Info()
		switch {
		case err != nil || d.Type()&fs.ModeSymlink != 0:
			return nil // a link is as private as what it leads to
		case d.IsDir() && fi.Mode().Perm()&0o005 != 0o005:
			if err := unix.Mount("tmpfs", path, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "mode=700"); err != nil {
				return err
			}
			return fs.SkipDir
		case !d.IsDir() && fi.Mode().Perm()&0o004 == 0:
			return unix.Mount("/dev/null", path, "", unix.MS_BIND, "")
		}
		return nil
	})
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

func inSystem(path string) bool {
	for _, dir := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sys", "/dev"} {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return false
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
	stat, err := os.ReadFile(w.root + "/proc/stat")
	if err == nil {
		err = w.file("/proc/stat", sinceBoot(stat))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for path, content := range map[string]string{"/proc/uptime": "1000.00 1000.00\n", "/proc/sys/kernel/random/boot_id": "00000000-0000-4000-8000-000000000000\n"} {
		if err := w.file(path, []byte(content)); err != nil {
			return err
		}
	}
	return nil
}

// sinceBoot is /proc/stat with as many processors, and else as after a boot in
// 1970: what ran on the machine before the program, and since when, is not told.
func sinceBoot(stat []byte) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(stat) {
		fields := bytes.Fields(line)
		for i, f := range fields {
			if i > 0 {
				b.WriteString(" 0")
			} else {
				b.Write(f)
			}
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
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
