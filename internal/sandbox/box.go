package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Bind shows a file at the place of another one.
type Bind struct {
	Source string // on the host
	Target string // symbolic links in it are followed
}

// Config says what is run, and in which surroundings.
type Config struct {
	Args   []string // Args[0] is looked up in Env's PATH
	Dir    string
	Env    []string
	Stdin  *os.File // nil is /dev/null
	Stdout io.Writer
	Stderr io.Writer
	Binds  []Bind

	Hermetic bool
	Weak     bool              // hermetic: do without what a container or file system forbids; Box.Weaknesses tells what
	Show     []string          // hermetic: files and folders that the program may read beside the system's
	Files    map[string][]byte // hermetic: what stands at a path instead of what is there

	Filter  []unix.SockFilter                      // a seccomp filter with a listener of its own, or nil
	Persona uint                                   // personality(2) bits, such as that of setarch -R
	Slow    int                                    // how many times as long as elsewhere the program may take to begin to listen; 0 is once
	Hold    func(pid int, listener *os.File) error // called when all is ready but the exec; pid is this process's name for it
}

// UnavailableError is a sandbox that this machine does not let us make.
type UnavailableError struct {
	Need, Found, Fix string
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("sandbox: need %s, found: %s", e.Need, e.Found)
}

// Hint says how to mend it.
func (e *UnavailableError) Hint() string { return e.Fix }

// Box is a program that runs in a sandbox.
type Box struct {
	cmd  *exec.Cmd
	ctl  int
	dir  string // scratch
	tcp  *net.TCPListener
	udp  *net.UDPConn
	slow int
	pid  int
	init int // pid 1 of the namespaces

	conns     chan connection // that go out
	listening chan netip.AddrPort
	misses    chan netip.AddrPort
	refusals  []*os.File
	readers   sync.WaitGroup // of refusals
	started   chan error     // nil when the program has been let go
	done      chan struct{}
	end       sync.Once
	status    syscall.WaitStatus // until it is told: everything was killed
	weak      []string
	err       error

	mu    sync.Mutex
	calls map[uint64]chan answer // dials under way
	next  uint64
}

type answer struct {
	fd  int
	err error
}

// Start makes the sandbox and runs the program in it. When ctx ends, so does
// everything in it.
func Start(ctx context.Context, c Config) (*Box, error) {
	dir, err := os.MkdirTemp("", "tapedeck-box-")
	if err != nil {
		return nil, err
	}
	b := &Box{dir: dir, slow: max(c.Slow, 1), conns: make(chan connection), listening: make(chan netip.AddrPort, 64), misses: make(chan netip.AddrPort, 64), started: make(chan error, 1), done: make(chan struct{}), status: syscall.WaitStatus(syscall.SIGKILL), calls: map[uint64]chan answer{}}
	if err := b.start(c); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { b.Close() })
	go func() { <-b.done; stop() }()
	select {
	case err = <-b.started:
	case <-b.done:
		select { // what went wrong was said before the end
		case err = <-b.started:
		default:
			err = &UnavailableError{Need: "namespaces", Found: fmt.Sprintf("the sandbox ended before the program began (%v)", b.err), Fix: "tapedeck doctor"}
		}
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Box) start(c Config) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	b.ctl = pair[0]
	theirs := os.NewFile(uintptr(pair[1]), "control")
	defer theirs.Close()
	if err := unix.SetsockoptInt(b.ctl, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return err
	}
	wait, release, err := os.Pipe()
	if err != nil {
		return err
	}
	defer wait.Close()
	order, err := orders(c, b.dir)
	if err != nil {
		return err
	}
	defer order.Close()
	b.cmd = exec.Command("/proc/self/exe")
	b.cmd.Args = []string{stageInit}
	b.cmd.Env = []string{"GOMAXPROCS=2", "GODEBUG=asyncpreemptoff=1"}
	b.cmd.Stdin, b.cmd.Stdout, b.cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	b.cmd.ExtraFiles = []*os.File{theirs, wait, order}
	b.cmd.SysProcAttr = isolation(c)
	if err := b.cmd.Start(); err != nil {
		release.Close()
		unix.Close(b.ctl)
		return explainClone(err)
	}
	b.init = b.cmd.Process.Pid
	go b.listen(c, release)
	return nil
}

// isolation is which namespaces the box has. Root keeps its own user
// namespace when it records: the program may have to change its user.
func isolation(c Config) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC, Pdeathsig: syscall.SIGKILL}
	if c.Hermetic {
		a.Cloneflags |= syscall.CLONE_NEWUTS | unix.CLONE_NEWCGROUP
	}
	if c.Hermetic || os.Getuid() != 0 {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return a
}

func explainClone(err error) error {
	e := &UnavailableError{Need: "user and network namespaces", Found: err.Error()}
	switch {
	case errors.Is(err, syscall.ENOSPC):
		e.Fix = "sysctl user.max_user_namespaces=10000"
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		e.Fix = namespaceFix()
	default:
		return err
	}
	return e
}

// listen takes what the stages report until they are gone.
func (b *Box) listen(c Config, release *os.File) {
	defer release.Close()
	said, closed, ready := false, false, false
	var listener *os.File
	begin := func(err error) {
		if !said {
			said = true
			b.started <- err
		}
	}
	for {
		m, fds, pid, err := receive(b.ctl)
		if err != nil {
			break
		}
		switch m.Kind {
		case "tcp":
			if b.tcp, err = listenerOf(fds); err == nil {
				go b.route()
			}
		case "udp":
			b.udp, err = packetsOf(fds)
		case "refused4", "refused6":
			for _, fd := range fds {
				f := os.NewFile(uintptr(fd), m.Kind)
				b.refusals = append(b.refusals, f)
				b.readers.Go(func() { b.readRefusals(f, m.Kind == "refused6") })
			}
		case "error":
			err = m.err()
		case "weak":
			b.weak = append(b.weak, m.Found)
		case "closed":
			closed = true
		case "program":
			b.pid, ready = pid, true
			if len(fds) > 0 {
				listener = os.NewFile(uintptr(fds[0]), "seccomp")
			}
		case "listening":
			if a, e := netip.ParseAddrPort(m.Addr); e == nil {
				select {
				case b.listening <- a:
				default: // nobody takes them
				}
			}
		case "dialled":
			b.dialled(m, fds)
		case "exit":
			b.status = syscall.WaitStatus(m.Status)
		}
		if err == nil && closed && ready && !said {
			if c.Hold != nil {
				err = c.Hold(b.pid, listener)
			} else if listener != nil {
				listener.Close()
			}
			if err == nil {
				_, err = release.Write([]byte{1})
			}
			if err == nil {
				begin(nil)
			}
		}
		if err != nil {
			begin(err)
			_ = b.cmd.Process.Kill()
		}
	}
	err := b.cmd.Wait()
	b.finish(err)
}

func (b *Box) finish(err error) {
	b.end.Do(func() {
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			b.err = err
		}
		if b.tcp != nil {
			b.tcp.Close()
		}
		if b.udp != nil {
			b.udp.Close()
		}
		b.mu.Lock()
		for id, call := range b.calls {
			call <- answer{fd: -1, err: net.ErrClosed}
			delete(b.calls, id)
		}
		unix.Close(b.ctl)
		b.ctl = -1
		b.mu.Unlock()
		for _, f := range b.refusals {
			f.Close()
		}
		b.readers.Wait()
		close(b.misses)
		close(b.listening)
		os.RemoveAll(b.dir)
		close(b.done)
	})
}

// Done is closed when everything in the sandbox has ended.
func (b *Box) Done() <-chan struct{} { return b.done }

// Wait waits for the program's end, and that of all it left behind.
func (b *Box) Wait() (syscall.WaitStatus, error) {
	<-b.done
	return b.status, b.err
}

// Weaknesses are what is not hermetic about it, if Config.Weak allowed that.
func (b *Box) Weaknesses() []string { return b.weak }

// PID is the program's process, as this process names it.
func (b *Box) PID() int { return b.pid }

// MaxRSS is the memory, in bytes, of the largest process that there was. It is
// known when everything has ended.
func (b *Box) MaxRSS() int64 {
	if use, ok := b.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		return use.Maxrss << 10
	}
	return 0
}

// Signal sends a signal to the program.
func (b *Box) Signal(s syscall.Signal) error { return syscall.Kill(b.pid, s) }

// Close ends everything in the sandbox.
func (b *Box) Close() error {
	_ = b.cmd.Process.Kill() // pid 1: the kernel ends the others
	<-b.done
	return nil
}

// Listening tells each address on which the program began to listen. It is
// closed at the end.
func (b *Box) Listening() <-chan netip.AddrPort { return b.listening }

// Dial connects to a port on which the program listens, or is about to. The
// program sees from as its peer.
func (b *Box) Dial(ctx context.Context, from netip.AddrPort, port uint16) (net.Conn, error) {
	return b.dial(ctx, message{Kind: "dial", Addr: from.String(), Port: port, Patience: 500 * b.slow})
}

func (b *Box) dial(ctx context.Context, m message) (net.Conn, error) {
	call := make(chan answer, 1)
	b.mu.Lock()
	b.next++
	m.ID = b.next
	b.calls[m.ID] = call
	text, err := json.Marshal(m)
	if err == nil {
		if b.ctl < 0 {
			err = net.ErrClosed
		} else {
			err = unix.Sendmsg(b.ctl, text, nil, nil, unix.MSG_NOSIGNAL)
		}
	}
	if err != nil {
		delete(b.calls, m.ID)
	}
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case a := <-call:
		if a.err != nil {
			return nil, a.err
		}
		f := os.NewFile(uintptr(a.fd), "program")
		defer f.Close()
		return net.FileConn(f)
	case <-ctx.Done():
		return nil, context.Cause(ctx) // a late answer is closed in dialled
	}
}

func (b *Box) dialled(m message, fds []int) {
	b.mu.Lock()
	call := b.calls[m.ID]
	delete(b.calls, m.ID)
	b.mu.Unlock()
	a := answer{fd: -1}
	if len(fds) > 0 {
		a.fd = fds[0]
	} else {
		a.err = fmt.Errorf("connect to the program's port: %w", syscall.Errno(m.Errno))
	}
	if call == nil {
		if a.fd >= 0 {
			unix.Close(a.fd)
		}
		return
	}
	call <- a
}
