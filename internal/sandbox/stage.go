package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
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
	if u := (*UnavailableError)(nil); errors.As(err, &u) {
		return u // it was said nearer to the cause
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
	limit, err := mounts(o)
	if err != nil {
		return err
	}
	ignoreTerminal()
	cmd := exec.Command("/proc/self/exe")
	if o.Hermetic {
		cmd.Path = selfInside
	}
	cmd.Args = []string{stageExec}
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	for fd := uintptr(ctlFD); fd <= orderFD; fd++ {
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(fd, "inherited"))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if o.Own {
		// The program owns none of the namespaces above it, and sees the user that it is.
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		if o.Weak { // /proc may be that of another pid namespace: only itself finds itself there
			cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
		} else {
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: o.UID, HostID: 0, Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: o.GID, HostID: 0, Size: 1}}
		}
	}
	if err := cmd.Start(); err != nil {
		return step("a user namespace within another", "sysctl user.max_user_namespaces=10000", err)
	}
	if limit != nil {
		_, _ = limit.WriteString("0")
		limit.Close()
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
	if err := send(ctlFD, message{Kind: "closed"}); err != nil {
		return err
	}
	unix.Close(waitFD) // only the exec stage waits
	go answerDials()
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
			unix.Exit(0) // and with it, everything else here; at once, whatever this executable was built with
		}
	}
}

// ignoreTerminal leaves what the terminal sends to the whole group, such as
// Ctrl-C, to the program: the runtime would end this process, and with it all.
// The program, which comes of it later, does not inherit that.
func ignoreTerminal() {
	for _, s := range []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM} {
		if !signal.Ignored(s) { // as under nohup: that is inherited
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

// execStage becomes the program.
func execStage() error {
	o, err := readOrders(orderFD)
	if err != nil {
		return err
	}
	if o.Own && o.Weak {
		if err := becomeUser(o); err != nil {
			return step("a user namespace within another", namespaceFix(), err)
		}
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
		// There is nothing to gain in this namespace, and filters want it.
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	if o.Persona != 0 {
		if _, _, e := unix.Syscall(unix.SYS_PERSONALITY, uintptr(o.Persona), 0, 0); e != 0 {
			return step("personality(2)", containerFix, e)
		}
	}
	var fds []int
	if o.Filter != nil {
		fd, err := installListener(o.Filter)
		if err != nil {
			return step("a seccomp filter with a listener", containerFix, err)
		}
		fds = append(fds, fd)
	}
	if err := send(ctlFD, message{Kind: "program"}, fds...); err != nil {
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

// becomeUser says which user of the namespace above this one's is: the one that
// runs tapedeck.
func becomeUser(o stageOrders) error {
	for _, w := range [][2]string{{"setgroups", "deny"}, {"uid_map", fmt.Sprintf("%d 0 1", o.UID)}, {"gid_map", fmt.Sprintf("%d 0 1", o.GID)}} {
		if err := os.WriteFile("/proc/self/"+w[0], []byte(w[1]), 0); err != nil {
			return err
		}
	}
	return nil
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
