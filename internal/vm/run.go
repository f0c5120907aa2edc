package vm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Mode is what a machine does with its log.
type Mode string

const (
	Record Mode = "record"
	Replay Mode = "replay"
)

// Spec is one run of a machine.
type Spec struct {
	Mode     Mode
	Base     *Base
	Snapshot string // the snapshot's file; "" is the base's own
	Image    string // the world
	Params   string // the job's parameters, "key=value" lines: see guest/init.c
	Log      string // QEMU's log of what was not determined; written or read
	Dir      string // for the console, the serial line and the socket
	Debug    string // host:port for a debugger's connection; the machine then waits for it
}

// Result is what a run left.
type Result struct {
	Console      string // path of the frames
	Instructions uint64 // executed since the snapshot was taken
	User, System time.Duration
}

// StallError says that a machine stopped making progress. A replay does that
// when it is not given exactly what was recorded: QEMU reports nothing.
type StallError struct {
	Limit        time.Duration
	Instructions uint64 // where it was
}

func (e *StallError) Error() string {
	return fmt.Sprintf("no progress for %v at instruction %d", e.Limit, e.Instructions)
}

const (
	stallLimit   = 20 * time.Second
	stallEvery   = 2 * time.Second
	consoleFile  = "console"
	maxQEMUWords = 4 << 10
)

// Start is a running machine.
type Start struct {
	QMP     *QMP
	Console string
	cmd     *exec.Cmd
	stderr  bytes.Buffer
	done    chan error
}

// Launch starts a machine and connects to its control socket.
func Launch(ctx context.Context, s Spec) (*Start, error) {
	snap := s.Snapshot
	if snap == "" {
		snap = s.Base.Snapshot()
	}
	m := &Start{Console: filepath.Join(s.Dir, consoleFile), done: make(chan error, 1)}
	sock := filepath.Join(s.Dir, "qmp")
	os.Remove(sock)
	args := s.Base.Machine.args(fmt.Sprintf(",rr=%s,rrfile=%s", s.Mode, escape(s.Log)))
	args = append(args, s.Base.Machine.files(m.Console, filepath.Join(s.Dir, "serial"), sock)...)
	args = append(args, disk(s.Image)...)
	args = append(args, snapshot(snap)...)
	args = append(args, "-loadvm", snapshotTag, "-no-shutdown", "-fw_cfg", "name=opt/tapedeck,string="+escape(s.Params))
	if s.Debug != "" {
		args = append(args, "-S", "-gdb", "tcp:"+s.Debug)
	}
	m.cmd = exec.Command(s.Base.QEMU.Path, args...)
	m.cmd.Stderr = &m.stderr
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { m.done <- m.cmd.Wait() }()
	dial, cancel := context.WithTimeoutCause(ctx, stallLimit, errors.New("QEMU did not open its control socket"))
	stop := context.AfterFunc(dial, func() {})
	defer stop()
	died := make(chan struct{})
	go func() {
		select {
		case err := <-m.done:
			m.done <- err
			close(died)
			cancel()
		case <-dial.Done():
		}
	}()
	var err error
	if m.QMP, err = DialQMP(dial, sock); err != nil {
		cancel()
		m.Kill()
		return nil, fmt.Errorf("start QEMU: %w: %s", err, m.words())
	}
	context.AfterFunc(ctx, cancel)
	return m, nil
}

// Kill ends the machine at once. A stuck QEMU does not hear SIGTERM.
func (m *Start) Kill() {
	m.cmd.Process.Kill()
	err := <-m.done
	m.done <- err
}

func (m *Start) words() string {
	b := m.stderr.Bytes()
	if len(b) > maxQEMUWords {
		b = b[len(b)-maxQEMUWords:]
	}
	return strings.TrimSpace(string(b))
}

// Run starts a machine and waits until the guest has shut itself down.
func Run(ctx context.Context, s Spec) (*Result, error) {
	m, err := Launch(ctx, s)
	if err != nil {
		return nil, err
	}
	defer m.Kill()
	if err := m.wait(ctx); err != nil {
		return nil, err
	}
	r := &Result{Console: m.Console}
	if r.Instructions, err = m.QMP.Instructions(); err != nil {
		return nil, err
	}
	// QEMU ends the log when it exits by itself.
	m.QMP.Do("quit", nil)
	select {
	case err := <-m.done:
		m.done <- err
	case <-time.After(stallLimit):
		return nil, errors.New("QEMU did not quit: " + m.words())
	}
	st := m.cmd.ProcessState
	r.User, r.System = st.UserTime(), st.SystemTime()
	return r, nil
}

// wait returns when the guest has shut down, or QEMU is gone, or nothing moves.
func (m *Start) wait(ctx context.Context) error {
	down := make(chan error, 1)
	go func() { down <- m.QMP.Wait("SHUTDOWN") }()
	select {
	case err := <-down:
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("QEMU ended before the guest did: %s", m.words())
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ReadConsole returns the frames of a run. What a killed machine left
// unfinished is dropped.
func ReadConsole(name string) ([]Frame, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	var frames []Frame
	for {
		fr, err := ReadFrame(r)
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return frames, nil
		}
		if err != nil {
			return frames, err
		}
		frames = append(frames, fr)
	}
}
