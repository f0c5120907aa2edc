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
	Mode   Mode
	Base   *Base
	Image  string // the world
	Params string // the job's parameters, "key=value" lines: see guest/init.c
	Log    string // QEMU's log of what was not determined; written or read
	Dir    string // for the console, the serial line and the socket
	Debug  string // host:port where a debugger connects; the machine then waits for it
}

// Result is what a run left.
type Result struct {
	Frames       []Frame       // what the guest's init told
	Instructions uint64        // where the machine was when it ended
	CPU          time.Duration // user and system time of QEMU
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
	startLimit = 20 * time.Second
	stallLimit = 20 * time.Second // of a replay without a step forward
	stallEvery = time.Second
	quitLimit  = 20 * time.Second
	maxWords   = 4 << 10 // bytes kept of what QEMU says
)

// Instance is a running machine.
type Instance struct {
	QMP      *QMP
	Console  string // path of the frames
	mode     Mode
	snapshot string // this machine's own copy
	cmd      *exec.Cmd
	stderr   bytes.Buffer
	done     chan struct{} // closed when QEMU has ended
}

// Launch starts a machine and connects to its control socket.
func Launch(ctx context.Context, s Spec) (*Instance, error) {
	// QEMU writes to the file even when it only loads a snapshot.
	snap := filepath.Join(s.Dir, snapshotFile)
	if err := copySnapshot(snap, s.Base.Snapshot()); err != nil {
		return nil, err
	}
	m := &Instance{Console: filepath.Join(s.Dir, "console"), mode: s.Mode, snapshot: snap, done: make(chan struct{})}
	sock := filepath.Join(s.Dir, "qmp")
	os.Remove(sock)
	args := s.Base.Machine.args(fmt.Sprintf(",rr=%s,rrfile=%s", s.Mode, escape(s.Log)))
	args = append(args, s.Base.Machine.files(m.Console, filepath.Join(s.Dir, "serial"), sock)...)
	args = append(args, disk(s.Image)...)
	args = append(args, snapshot(snap)...)
	args = append(args, "-loadvm", snapshotTag, "-no-shutdown", "-fw_cfg", "name=opt/tapedeck,string="+escape(s.Params))
	if s.Debug != "" {
		args = append(args, "-S", "-gdb", "unix:"+escape(s.Debug)+",server=on,wait=off")
	}
	m.cmd = exec.Command(s.Base.QEMU.Path, args...)
	m.cmd.Stderr = &m.stderr
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	dial, cancel := context.WithTimeoutCause(ctx, startLimit, errors.New("it did not open its control socket"))
	defer cancel()
	go func() {
		m.cmd.Wait()
		close(m.done)
		cancel()
	}()
	var err error
	if m.QMP, err = dialQMP(dial, sock); err != nil {
		m.Kill()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("start QEMU: %w: %s", err, m.words())
	}
	return m, nil
}

// Kill ends the machine at once. A stuck QEMU does not hear SIGTERM.
func (m *Instance) Kill() {
	m.cmd.Process.Kill()
	<-m.done
	if m.QMP != nil {
		m.QMP.Close()
	}
	os.Remove(m.snapshot)
}

func copySnapshot(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(dst)
	if err != nil {
		return err
	}
	if _, err := out.ReadFrom(in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// Quit lets QEMU end by itself, which completes a log that it writes.
func (m *Instance) Quit() error {
	m.QMP.Do("quit", nil) // QEMU may be gone before it has answered
	select {
	case <-m.done:
		return nil
	case <-time.After(quitLimit):
		return errors.New("QEMU does not quit")
	}
}

// CPU is the time that QEMU has used. It may be called after the machine ended.
func (m *Instance) CPU() time.Duration {
	return m.cmd.ProcessState.UserTime() + m.cmd.ProcessState.SystemTime()
}

// words is what QEMU said on its standard error. The machine must have ended.
func (m *Instance) words() string {
	b := m.stderr.Bytes()
	return strings.TrimSpace(string(b[max(0, len(b)-maxWords):]))
}

// Run starts a machine and waits until the guest has shut itself down. When
// ctx ends first, a recording is completed where it stands, and the result
// comes with ctx's cause as the error.
func Run(ctx context.Context, s Spec) (*Result, error) {
	m, err := Launch(ctx, s)
	if err != nil {
		return nil, err
	}
	defer m.Kill()
	werr := m.Wait(ctx)
	if werr != nil && (s.Mode == Replay || ctx.Err() == nil) {
		return nil, werr
	}
	r := &Result{}
	if r.Instructions, err = m.QMP.Instructions(); err != nil {
		return nil, err
	}
	if err := m.Quit(); err != nil {
		return nil, err
	}
	r.CPU = m.CPU()
	if r.Frames, err = readConsole(m.Console); err != nil {
		return nil, err
	}
	return r, werr
}

// Wait returns when the guest has shut down, when QEMU is gone, or when a
// replay makes no progress.
func (m *Instance) Wait(ctx context.Context) error {
	tick := time.NewTicker(stallEvery)
	defer tick.Stop()
	var last uint64
	since := time.Now()
	for {
		select {
		case <-m.QMP.Event("STOP"): // after SHUTDOWN: now the count stands still
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-m.done:
			return fmt.Errorf("QEMU ended before the guest did: %s", m.words())
		case <-tick.C:
		}
		if m.mode != Replay {
			continue // a recorded program may wait as long as it likes
		}
		n, err := m.QMP.Instructions()
		if err == nil && n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) > stallLimit {
			return &StallError{Limit: stallLimit, Instructions: last}
		}
	}
}

// readConsole returns the frames of a run. What a killed machine left
// unfinished is dropped.
func readConsole(name string) ([]Frame, error) {
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
