package watch

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// childName is what argv[0] of the step between is: this program again, which
// puts a filter on itself and then becomes the program to watch. With the
// filter only the system calls that name files stop; without it every one
// would, which makes a program of many small calls a hundred times slower.
const childName = "tapedeck-watch-child"

// Main is called first by every main function (and TestMain) of a program that
// calls [Run]. In the step between it does not return.
func Main() {
	if os.Args[0] != childName || len(os.Args) < 3 {
		return
	}
	runtime.LockOSThread() // the filter is the thread's, and survives execve
	// Until the tracer has taken hold of us: it sends SIGCONT then.
	err := unix.Kill(os.Getpid(), unix.SIGSTOP)
	if err == nil {
		err = installFilter()
	}
	if err == nil {
		err = syscall.Exec(os.Args[1], os.Args[2:], os.Environ())
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[1], err)
	os.Exit(127)
}

// Traced are the system calls that name files: the filter stops at them.
func Traced() []uint32 {
	var nrs []uint32
	for nr := range uint64(600) {
		if pathArgs(nr) != nil || isListing(nr) {
			nrs = append(nrs, uint32(nr))
		}
	}
	return nrs
}

func isListing(nr uint64) bool { return nr == unix.SYS_GETDENTS64 || nr == unix.SYS_GETDENTS }

const (
	seccompNr   = 0 // offsets in struct seccomp_data
	seccompArch = 4
)

// installFilter makes the traced calls stop for the tracer and lets all others pass.
func installFilter() error {
	nrs := Traced()
	n := len(nrs)
	prog := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: seccompArch},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.AUDIT_ARCH_X86_64, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}, // 32-bit programs go unseen
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: seccompNr},
	}
	for i, nr := range nrs {
		prog = append(prog, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jt: uint8(n - i)})
	}
	prog = append(prog,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_TRACE})
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	// Root keeps the right to start set-user-id programs under the filter.
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog)))
	if errno == unix.EACCES {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
		_, _, errno = unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog)))
	}
	runtime.KeepAlive(prog)
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}

// child is the command line of the step between.
func child(p Program) (path string, args []string, err error) {
	self, err := os.Executable()
	return self, slices.Concat([]string{childName, p.Path}, p.Args), err
}
