package sandbox

import "golang.org/x/sys/unix"

// denyFilter closes what namespaces leave open to a replayed program. It lets
// through all that Go, the JVM, Node and Python ask for.
func denyFilter() []unix.SockFilter {
	const (
		allow = unix.SECCOMP_RET_ALLOW
		deny  = unix.SECCOMP_RET_ERRNO
		kill  = unix.SECCOMP_RET_KILL_PROCESS
		x32   = 0x40000000
		// Offsets in struct seccomp_data: number, architecture, low halves of arguments.
		nr, arch, arg0, arg1, arg2 = 0, 4, 16, 24, 32
	)
	load := func(off uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off}
	}
	jump := func(op uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jt: yes, Jf: no, K: k}
	}
	ret := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	errno := func(e unix.Errno) unix.SockFilter { return ret(deny | uint32(e)) }

	p := []unix.SockFilter{
		load(arch), jump(unix.BPF_JEQ, unix.AUDIT_ARCH_X86_64, 1, 0), ret(kill),
		load(nr), jump(unix.BPF_JGE, x32, 0, 1), errno(unix.ENOSYS),
	}
	each := func(e unix.Errno, numbers ...uint32) {
		for _, n := range numbers {
			p = append(p, jump(unix.BPF_JEQ, n, 0, 1), errno(e))
		}
	}
	each(unix.EPERM, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN,
		unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_SETNS, unix.SYS_UNSHARE,
		unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_REBOOT,
		unix.SYS_ADD_KEY, unix.SYS_KEYCTL, unix.SYS_REQUEST_KEY, unix.SYS_USERFAULTFD, unix.SYS_PERSONALITY, unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT,
		unix.SYS_SYSLOG, unix.SYS_ACCT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_QUOTACTL, unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG,
		unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR, unix.SYS_PIDFD_GETFD, unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME,
		unix.SYS_CLOCK_SETTIME, unix.SYS_SETTIMEOFDAY, unix.SYS_KCMP, unix.SYS_VHANGUP, unix.SYS_IOPL, unix.SYS_IOPERM)
	// What libraries do without, if they are told that it isn't there.
	each(unix.ENOSYS, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, unix.SYS_CLONE3)
	// New namespaces by clone.
	p = append(p, jump(unix.BPF_JEQ, unix.SYS_CLONE, 0, 4), load(arg0), jump(unix.BPF_JSET, 0x7e020000, 0, 1), errno(unix.EPERM), ret(allow))
	// Keys typed into the terminal behind the program's back.
	p = append(p, jump(unix.BPF_JEQ, unix.SYS_IOCTL, 0, 5), load(arg1), jump(unix.BPF_JEQ, unix.TIOCSTI, 1, 0), jump(unix.BPF_JEQ, 0x541C /* TIOCLINUX */, 0, 1), errno(unix.EPERM), ret(allow))
	// Sockets: local ones, TCP and UDP, and questions about interfaces.
	p = append(p, jump(unix.BPF_JEQ, unix.SYS_SOCKET, 0, 12),
		load(arg0),
		jump(unix.BPF_JEQ, unix.AF_UNIX, 8, 0),
		jump(unix.BPF_JEQ, unix.AF_NETLINK, 5, 0),
		jump(unix.BPF_JEQ, unix.AF_INET, 1, 0),
		jump(unix.BPF_JEQ, unix.AF_INET6, 0, 6),
		load(arg1),
		unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0xf},
		jump(unix.BPF_JGE, unix.SOCK_RAW, 3, 2),
		load(arg2), // netlink
		jump(unix.BPF_JEQ, unix.NETLINK_ROUTE, 0, 1),
		ret(allow),
		errno(unix.EAFNOSUPPORT))
	return append(p, ret(allow))
}
