// Package watch runs a program once and notes the files that it and its
// children use, so that they can be given to it in another place. [Run] is the
// entry point.
package watch

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Program is what to run.
type Program struct {
	Path   string // absolute
	Args   []string
	Env    []string
	Dir    string
	Stdin  string // a file; "" is /dev/null
	Stdout io.Writer
	Stderr io.Writer
	Limit  time.Duration // the program is killed after this long; 0 is never
}

// Seen is what a run showed.
type Seen struct {
	Files   []string // absolute, sorted: files that were opened, executed, read or looked at; folders of those not there
	Listed  []string // directories whose entries were read, sorted
	MaxRSS  int64    // of the largest process, in bytes
	Code    int      // as a shell gives it
	Late    bool     // the limit ended it
	Elapsed time.Duration
}

// ErrBlind says that none of the program's system calls stopped for us.
var ErrBlind = fmt.Errorf("the kernel does not let a seccomp filter stop the program's system calls: %w", unix.EPERM)

// outputDelay is how long the pipes may be held open by a process that the
// program has handed them to, but that is none of its children.
const outputDelay = time.Second

// Run runs the program to its end and returns what it used. The program does
// its work for real: what it writes is written.
func Run(ctx context.Context, p Program) (*Seen, error) {
	type result struct {
		seen *Seen
		err  error
	}
	c := make(chan result, 1)
	go func() {
		// All calls of ptrace must come from the thread that started the child.
		// It is never unlocked: should we leave before a child does, the thread
		// ends, and the kernel kills what it traces.
		runtime.LockOSThread()
		s, err := run(ctx, p)
		c <- result{s, err}
	}()
	r := <-c
	return r.seen, r.err
}

type tracer struct {
	root  int
	ended bool // root has; what it left running has no part in the outcome
	notes *Notes
	known map[int]bool // threads that have had their first stop
	seen  *Seen
}

const options = unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK |
	unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL

func run(ctx context.Context, p Program) (*Seen, error) {
	start := time.Now()
	self, args, err := child(p)
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{Path: self, Args: args, Env: append([]string{}, p.Env...), Dir: p.Dir, Stdout: p.Stdout, Stderr: p.Stderr,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}, WaitDelay: outputDelay}
	if p.Stdin != "" {
		f, err := os.Open(p.Stdin)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		cmd.Stdin = f
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	t := &tracer{root: cmd.Process.Pid, notes: NewNotes(), known: map[int]bool{}, seen: &Seen{}}
	var late atomic.Bool
	if p.Limit > 0 {
		timer := time.AfterFunc(p.Limit, func() {
			late.Store(true)
			cmd.Process.Kill()
		})
		defer timer.Stop()
	}
	defer context.AfterFunc(ctx, func() { cmd.Process.Kill() })()
	err = t.loop()
	if err != nil {
		cmd.Process.Kill()
		reap()
	}
	// The pipes to Stdout and Stderr are still to be emptied; the process
	// itself has been waited for, which Wait then reports as an error.
	cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil && !late.Load(): // killed before it began, else
		return nil, fmt.Errorf("watch %s: %w", p.Args[0], err)
	}
	t.seen.Late = late.Load()
	t.seen.Elapsed = time.Since(start)
	t.seen.Merge(t.notes.Seen())
	if len(t.seen.Files) == 0 && !t.seen.Late {
		return nil, ErrBlind // its own execve at least would have stopped
	}
	return t.seen, nil
}

// loop handles the stops of all threads until the program and everything that
// it started have ended.
func (t *tracer) loop() error {
	var ws unix.WaitStatus
	var ru unix.Rusage
	if _, err := unix.Wait4(t.root, &ws, unix.WALL|unix.WUNTRACED, nil); err != nil {
		return err
	}
	if !ws.Stopped() {
		return fmt.Errorf("the program ended before it began: status %#x", int(ws))
	}
	// Seized, not attached to: else a thread that is stopped by a signal can't
	// be told from one that has just been sent it, and would run on.
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", t.root)) // any of them may become the program
	if err != nil {
		return err
	}
	for _, th := range threads {
		tid, err := strconv.Atoi(th.Name())
		if err != nil {
			return err
		}
		if err := ptrace(unix.PTRACE_SEIZE, tid, options); err != nil {
			return err
		}
		t.known[tid] = true
	}
	if err := unix.Kill(t.root, unix.SIGCONT); err != nil {
		return err
	}
	for {
		pid, err := unix.Wait4(-1, &ws, unix.WALL|unix.WNOTHREAD, &ru)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return nil
		case err != nil:
			return err
		}
		t.seen.MaxRSS = max(t.seen.MaxRSS, ru.Maxrss<<10)
		switch {
		case ws.Exited() || ws.Signaled():
			delete(t.known, pid)
			if pid == t.root {
				t.end(ws)
			}
		case t.ended:
			unix.Kill(pid, unix.SIGKILL) // it was just being born
		case ws.Stopped():
			t.stopped(pid, ws)
		}
	}
}

// reap waits for all threads of a program that was killed before it was under
// way: the process is not gone before those that are traced have been waited for.
func reap() {
	for {
		_, err := unix.Wait4(-1, nil, unix.WALL|unix.WNOTHREAD, nil)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// end notes how the program ended, and kills what it left: in its own group of
// processes or, as daemons do, in another.
func (t *tracer) end(ws unix.WaitStatus) {
	t.ended = true
	t.seen.Code = ws.ExitStatus()
	if ws.Signaled() {
		t.seen.Code = 128 + int(ws.Signal())
	}
	for pid := range t.known {
		unix.Kill(pid, unix.SIGKILL)
	}
}

func (t *tracer) stopped(pid int, ws unix.WaitStatus) {
	t.known[pid] = true
	sig := ws.StopSignal()
	switch event := int(ws) >> 16; event {
	case 0: // a signal is delivered
	case unix.PTRACE_EVENT_STOP:
		if sig != unix.SIGTRAP { // stopped, as by SIGSTOP, until SIGCONT comes
			_ = ptrace(unix.PTRACE_LISTEN, pid, 0) // fails as PtraceCont does
			return
		}
		sig = 0 // a new thread or process, or one that goes on
	default:
		switch event {
		case unix.PTRACE_EVENT_SECCOMP:
			t.notes.Syscall(pid)
		case unix.PTRACE_EVENT_EXEC:
			t.notes.Executable(pid)
		}
		sig = 0
	}
	unix.PtraceCont(pid, int(sig)) // fails if the thread was killed meanwhile: wait tells
}

func ptrace(request, pid int, data uintptr) error {
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(pid), 0, data, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// executable notes the program that a process has just become, and the dynamic
// loader, which the kernel opens by itself.
func (n *Notes) executable(pid int) {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return
	}
	n.file(exe)
	f, err := elf.Open(exe)
	if err != nil {
		return
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > unix.PathMax {
			continue
		}
		name := make([]byte, p.Filesz)
		if _, err := p.ReadAt(name, 0); err == nil {
			n.file(strings.TrimRight(string(name), "\x00"))
		}
	}
}

// file notes a path if it names something that can be copied. It stays as the
// program gave it: "link/.." is not the link's own folder.
func (n *Notes) file(path string) {
	if !filepath.IsAbs(path) {
		return
	}
	clean := filepath.Clean(path)
	for _, p := range []string{"/proc", "/sys", "/dev"} {
		if clean == p || strings.HasPrefix(clean, p+"/") {
			return
		}
	}
	if !slices.Contains(strings.Split(path, "/"), "..") {
		path = clean
	}
	n.files[path] = true
}
