package vm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
)

// QEMU is one build of the emulator. A recording replays for certain only on
// the build that made it.
type QEMU struct {
	Path    string `json:"-"`
	Sandbox bool   `json:"-"` // it has seccomp's filters
	Confine bool   `json:"-"` // it starts with the files of its own prefix and the system's
	Version string `json:"version"`
	Digest  string `json:"sha256"` // of the program file
}

// confined is what a running QEMU has no need for. A snapshot and a log out of
// a bundle are parsed by QEMU: one that takes it over starts no programs and
// gains no rights. It costs nothing that can be measured.
const confined = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

// FindQEMU returns the QEMU to use.
func FindQEMU(ctx context.Context) (QEMU, error) {
	path, err := exttool.Find("qemu-system-x86_64", "qemu-system-x86")
	if err != nil {
		return QEMU{}, err
	}
	q := QEMU{Path: path}
	if q.Digest, err = Digest(path); err != nil {
		return QEMU{}, err
	}
	// A build without seccomp stops at the option, and one in an odd place may
	// need files that confine does not know of: then it has to do without.
	var out []byte
	for _, try := range []QEMU{{Sandbox: true, Confine: true}, {Sandbox: true}, {Confine: true}, {}} {
		q.Sandbox, q.Confine = try.Sandbox, try.Confine
		if out, err = q.version(ctx); err == nil || ctx.Err() != nil {
			break
		}
	}
	switch {
	case ctx.Err() != nil:
		return QEMU{}, context.Cause(ctx)
	case err != nil:
		return QEMU{}, &exttool.Missing{Need: "a working qemu-system-x86_64", Found: err.Error(), Fix: "reinstall qemu-system-x86", Err: err}
	}
	line, _, _ := strings.Cut(string(out), "\n")
	q.Version = printable(strings.TrimPrefix(line, "QEMU emulator version "))
	return q, nil
}

func (q QEMU) version(ctx context.Context) (out []byte, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if q.Confine {
			runtime.LockOSThread() // never unlocked: the thread is of no further use
			if err = confine(rights{read: q.system()}); err != nil {
				return
			}
		}
		args := []string{"--version"}
		if q.Sandbox {
			args = append([]string{"-sandbox", confined}, args...)
		}
		out, err = exttool.Output(ctx, 10*time.Second, q.Path, args...)
	}()
	<-done
	return out, err
}

// printable keeps what versionText lets through.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s[:min(len(s), 200)])
}

// process is a running QEMU.
type process struct {
	QMP   *QMP
	cmd   *exec.Cmd
	words tail
	done  chan struct{} // closed when QEMU has ended
}

const (
	controlFD  = 3                // QEMU's end of the control connection
	startLimit = time.Minute      // until QEMU answers; it loads the snapshot first
	quitLimit  = 20 * time.Second // until it has ended
	keptWords  = 4 << 10          // bytes kept of what QEMU says
)

// start runs QEMU and connects to its monitor, which is a socket that only the
// two of them have: a path could be too long for one, or somebody else's.
func (q QEMU) start(ctx context.Context, args []string, r rights) (*process, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	theirs := os.NewFile(uintptr(fds[1]), "qmp")
	defer theirs.Close()
	ours := os.NewFile(uintptr(fds[0]), "qmp")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return nil, err
	}
	args = append(args, "-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", controlFD), "-mon", "chardev=qmp,mode=control", "-monitor", "none")
	if q.Sandbox {
		args = append(args, "-sandbox", confined)
	}
	p := &process{cmd: exec.Command(q.Path, args...), words: tail{max: keptWords}, done: make(chan struct{})}
	p.cmd.Stderr = &p.words
	p.cmd.ExtraFiles = []*os.File{theirs}
	// Ctrl-C is for us: we end QEMU. And when we are killed, so is QEMU.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The kernel sends Pdeathsig when the thread ends, not the process: it
		// has to be there for as long as QEMU. It ends with this function,
		// since it keeps the rights that it has given up.
		runtime.LockOSThread()
		var err error
		if q.Confine {
			r.read = append(r.read, q.system()...)
			err = confine(r)
		}
		if err == nil {
			err = p.cmd.Start()
		}
		started <- err
		if err == nil {
			p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		conn.Close()
		return nil, fmt.Errorf("start QEMU: %w", err)
	}
	theirs.Close() // so that the connection ends with QEMU
	p.QMP = newQMP(conn)
	hello, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("no answer within %v", startLimit))
	defer cancel()
	if _, err := p.QMP.do(hello, "qmp_capabilities", nil); err != nil {
		if errors.Is(err, errGone) {
			select { // what it says as it ends is the better message
			case <-p.done:
			case <-time.After(time.Second):
			}
		}
		p.Kill()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("start QEMU: %w; it said: %s", err, p.words.String())
	}
	return p, nil
}

// Kill ends QEMU at once. A stuck one does not hear SIGTERM.
func (p *process) Kill() {
	p.cmd.Process.Kill()
	<-p.done
	p.QMP.Close()
}

// Quit lets QEMU end by itself, which completes a log or a snapshot that it writes.
func (p *process) Quit() error {
	p.QMP.Do("quit", nil) // QEMU may be gone before it has answered
	select {
	case <-p.done:
	case <-time.After(quitLimit):
		return errors.New("QEMU does not quit")
	}
	if s := p.cmd.ProcessState; s == nil || !s.Success() {
		return fmt.Errorf("QEMU ended with %v: %s", s, p.words.String())
	}
	return nil
}

// CPU is the time that QEMU has used. QEMU must have ended.
func (p *process) CPU() time.Duration {
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// tail keeps the end of what is written to it.
type tail struct {
	max int
	b   []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	if len(t.b) > 2*t.max {
		t.b = append(t.b[:0], t.b[len(t.b)-t.max:]...)
	}
	return len(b), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.b[max(0, len(t.b)-t.max):])) }
