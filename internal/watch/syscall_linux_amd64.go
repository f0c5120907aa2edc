package watch

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// pathArg tells which arguments of a system call name a file: the directory
// descriptor (-1: none, the path is relative to the working directory) and the path.
type pathArg struct{ dir, path int }

func pathArgs(nr uint64) []pathArg {
	switch nr {
	case unix.SYS_OPEN, unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_ACCESS, unix.SYS_EXECVE, unix.SYS_READLINK,
		unix.SYS_CHDIR, unix.SYS_STATFS, unix.SYS_TRUNCATE, unix.SYS_RENAME, unix.SYS_UNLINK, unix.SYS_CHMOD,
		unix.SYS_CREAT, unix.SYS_MKDIR, unix.SYS_RMDIR, unix.SYS_CHOWN, unix.SYS_LCHOWN, unix.SYS_MKNOD,
		unix.SYS_GETXATTR, unix.SYS_LGETXATTR, unix.SYS_LISTXATTR, unix.SYS_INOTIFY_ADD_WATCH, unix.SYS_UTIMES:
		return []pathArg{{-1, 0}}
	case unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_NEWFSTATAT, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2,
		unix.SYS_EXECVEAT, unix.SYS_READLINKAT, unix.SYS_STATX, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2,
		unix.SYS_UTIMENSAT, unix.SYS_MKDIRAT, unix.SYS_FCHOWNAT, unix.SYS_FCHMODAT, unix.SYS_MKNODAT:
		return []pathArg{{0, 1}}
	case unix.SYS_LINK:
		return []pathArg{{-1, 0}, {-1, 1}}
	case unix.SYS_SYMLINK:
		return []pathArg{{-1, 1}}
	case unix.SYS_SYMLINKAT:
		return []pathArg{{1, 2}}
	}
	return nil
}

// call notes what a traced system call names, as it starts. The paths are
// resolved at once: the call may change what they mean.
func (n *Notes) call(pid int, r *unix.PtraceRegs) {
	args := [6]uint64{r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9}
	if isListing(r.Orig_rax) {
		if dir, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, int32(args[0]))); err == nil {
			n.listed[dir] = true
		}
		return
	}
	for _, a := range pathArgs(r.Orig_rax) {
		path := readString(pid, uintptr(args[a.path]))
		if path == "" {
			continue
		}
		if !filepath.IsAbs(path) {
			base := fmt.Sprintf("/proc/%d/cwd", pid)
			if a.dir >= 0 && int32(args[a.dir]) != unix.AT_FDCWD {
				base = fmt.Sprintf("/proc/%d/fd/%d", pid, int32(args[a.dir]))
			}
			dir, err := os.Readlink(base)
			if err != nil {
				continue
			}
			path = dir + "/" + path
		}
		if _, err := os.Lstat(path); err == nil {
			n.file(path)
			continue
		}
		// It may be about to be made, which takes its folder.
		dir := path[:strings.LastIndexByte(strings.TrimRight(path, "/"), '/')+1]
		if fi, err := os.Stat(dir); err == nil && fi.IsDir() {
			n.file(dir)
		}
	}
}

// readString reads a NUL-ended path from another process. It reads no further
// than the page's end at a time: the next page may not be mapped.
func readString(pid int, addr uintptr) string {
	var out []byte
	for len(out) < unix.PathMax {
		b := make([]byte, 4096-int(addr)%4096)
		local := []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}
		n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: addr, Len: len(b)}}, 0)
		if err != nil || n <= 0 {
			return ""
		}
		if i := bytes.IndexByte(b[:n], 0); i >= 0 {
			return string(append(out, b[:i]...))
		}
		out = append(out, b[:n]...)
		addr += uintptr(n)
	}
	return ""
}
