package sandbox

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The names under which this executable runs its stages.
const (
	stageInit = "tapedeck-sandbox-init"
	stageExec = "tapedeck-sandbox-exec"
)

// Descriptors that the stages begin with.
const (
	ctlFD   = 3
	waitFD  = 4
	orderFD = 5
	passFD  = 6 // of the first passed file, in the stages
)

// Main runs a stage if this process is one, and does not return then. It is
// the first statement of main and of TestMain.
func Main() {
	var run func() error
	switch os.Args[0] {
	case stageInit:
		run = initStage
	case stageExec:
		run = execStage
	default:
		return
	}
	runtime.LockOSThread()
	for fd := ctlFD; fd <= orderFD; fd++ {
		unix.CloseOnExec(fd)
	}
	if err := run(); err != nil {
		report(err)
	}
	os.Exit(125)
}

// step is one part of the set-up: what it needs, for the error.
func step(need, fix string, err error) error {
	if err == nil {
		return nil
	}
	return &UnavailableError{Need: need, Found: err.Error(), Fix: fix}
}

func report(err error) {
	m := message{Kind: "error", Need: "a sandbox", Found: err.Error()}
	if u, ok := err.(*UnavailableError); ok {
		m.Need, m.Found, m.Fix = u.Need, u.Found, u.Fix
	}
	_ = send(ctlFD, m)
}

const containerFix = "in a container: --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined"

// initStage is pid 1 of the sandbox.
func initStage() error {
	o, err := readOrders(orderFD)
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return step("a signal at the parent's death", "", err)
	}
	marks, err := network(o)
	if err != nil {
		return err
	}
	if err := mounts(o); err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe")
	if o.Hermetic {
		cmd.Path = selfInside
	}
	cmd.Args = []string{stageExec}
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	for fd := uintptr(ctlFD); fd < uintptr(passFD+o.Pass); fd++ {
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(fd, "inherited"))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if o.Own {
		// The program owns none of the namespaces above it, and sees the user that it is.
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: o.UID, HostID: 0, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: o.GID, HostID: 0, Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		return step("a user namespace within another", "sysctl user.max_user_namespaces=10000", err)
	}
	if o.Hermetic {
		if err := hideSelf(); err != nil {
			return step("to hide the stages", containerFix, err)
		}
	}
	// Others of this user are not to look into this process.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	unix.Close(waitFD) // only the exec stage waits
	go answerDials(o)
	go watchListeners(marks)
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if pid == cmd.Process.Pid {
			_ = send(ctlFD, message{Kind: "exit", Status: uint32(ws)})
			os.Exit(0) // and with it, everything else here
		}
	}
}

// execStage becomes the program.
func execStage() error {
	o, err := readOrders(orderFD)
	if err != nil {
		return err
	}
	for _, e := range o.Env {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			os.Setenv("PATH", path)
		}
	}
	if err := os.Chdir(o.Dir); err != nil {
		return step("the folder "+o.Dir, "show it to the program", err)
	}
	path, err := exec.LookPath(o.Args[0])
	if err != nil {
		return step("the program "+o.Args[0], "show it to the sandbox", err)
	}
	if o.Own {
		if err := dropCapabilities(); err != nil {
			return err
		}
	}
	if o.Own { // there is nothing to gain in this namespace, and filters want it
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	if o.Persona != 0 {
		if _, _, e := unix.Syscall(unix.SYS_PERSONALITY, uintptr(o.Persona), 0, 0); e != 0 {
			return step("personality(2)", containerFix, e)
		}
	}
	for i := range o.Pass { // out of the way of the program's own descriptors
		if err := unix.Dup3(passFD+i, PassFD+i, 0); err != nil {
			return err
		}
		unix.Close(passFD + i)
	}
	m := message{Kind: "program"}
	var fds []int
	if o.Filter != nil {
		fd, err := installListener(o.Filter)
		if err != nil {
			return step("a seccomp filter with a listener", containerFix, err)
		}
		fds = append(fds, fd)
	}
	if err := send(ctlFD, m, fds...); err != nil {
		return err
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	// Raw: when this returns the tracer has hold of us.
	var one [1]byte
	if n, err := unix.Read(waitFD, one[:]); n != 1 {
		return fmt.Errorf("the sandbox was given up: %v", err)
	}
	if o.Hermetic {
		if err := install(denyFilter()); err != nil {
			return step("a seccomp filter", containerFix, err)
		}
	}
	return step("to run "+path, "", unix.Exec(path, o.Args, o.Env))
}

func dropCapabilities() error {
	for i := uintptr(0); i <= unix.CAP_LAST_CAP; i++ {
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, i, 0, 0, 0) // those that the kernel does not know
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return step("to give up capabilities", containerFix, unix.Capset(&hdr, &none[0]))
}

func installListener(f []unix.SockFilter) (int, error) {
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	fd, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return -1, e
	}
	return int(fd), nil
}

func install(f []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))); e != 0 {
		return e
	}
	return nil
}

// answerDials connects to the program as the parent asks, from within.
func answerDials(stageOrders) {
	var wg sync.WaitGroup
	for {
		m, _, _, err := receive(ctlFD)
		if err != nil {
			break
		}
		wg.Go(func() {
			fd, errno := dialInside(m)
			reply := message{Kind: "dialled", ID: m.ID, Errno: uint32(errno)}
			if errno != 0 {
				_ = send(ctlFD, reply)
				return
			}
			_ = send(ctlFD, reply, fd)
			unix.Close(fd)
		})
	}
	wg.Wait()
	os.Exit(125) // the parent is gone
}

func dialInside(m message) (int, syscall.Errno) {
	from, err := netip.ParseAddrPort(m.Addr)
	if err != nil {
		return -1, syscall.EINVAL
	}
	var last syscall.Errno
	for range max(1, m.Patience) {
		for _, six := range []bool{from.Addr().Is6() && !from.Addr().Is4In6(), from.Addr().Is4()} {
			fd, e := connectInside(from, m.Port, six)
			if e == 0 {
				return fd, 0
			}
			last = e
		}
		if m.Patience > 1 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	return -1, last
}

// connectInside binds to the peer's own address, which is local here as every
// address is, and connects to the program.
func connectInside(from netip.AddrPort, port uint16, six bool) (int, syscall.Errno) {
	family := unix.AF_INET
	var src, dst unix.Sockaddr
	if six {
		family = unix.AF_INET6
		src, dst = &unix.SockaddrInet6{Port: int(from.Port()), Addr: from.Addr().As16()}, &unix.SockaddrInet6{Port: int(port), Addr: netip.IPv6Loopback().As16()}
	} else {
		ip := from.Addr().Unmap()
		if !ip.Is4() {
			ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		src, dst = &unix.SockaddrInet4{Port: int(from.Port()), Addr: ip.As4()}, &unix.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, ownMark)
		if from.Port() != 0 || !from.Addr().IsLoopback() {
			err = unix.Bind(fd, src)
		}
		if err == nil {
			err = unix.Connect(fd, dst)
		}
		if err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		e, _ := err.(syscall.Errno)
		return -1, e
	}
	return fd, 0
}
