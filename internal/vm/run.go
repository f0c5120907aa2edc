package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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
	Image  string    // the world
	Params string    // the job's parameters, "key=value" lines: see guest/init.c
	Log    string    // QEMU's log of what was not determined; written or read
	Dir    string    // for the console, the serial line and the socket
	Debug  string    // path of a socket where a debugger connects; the machine then waits for it
	Stdout io.Writer // gets what the program writes as it comes, with Stderr; both may be nil
	Stderr io.Writer
	Stall  time.Duration   // how long it may make no progress; 0 is 20 s
	Cut    <-chan struct{} // ends a recording where it is once it is closed; may be nil
}

// Result is what a run left.
type Result struct {
	Frames       []Frame       // what the guest's init told
	Instructions uint64        // where the machine was when it ended, or was cut
	Cut          bool          // Spec.Cut ended it, not the guest
	CPU          time.Duration // user and system time of QEMU
}

// StallError says that a machine stopped making progress. A replay does that
// when it is not given exactly what was recorded, and a recording when QEMU
// waits for itself; QEMU reports neither.
type StallError struct {
	Limit        time.Duration
	Instructions uint64 // where it was
}

func (e *StallError) Error() string {
	return fmt.Sprintf("no progress for %v at instruction %d", e.Limit, e.Instructions)
}

const scratchFile = "scratch.qcow2"

const stallLimit = 20 * time.Second

// Instance is a running machine.
type Instance struct {
	*process
	console string // path of the frames
	mode    Mode
	scratch string // what this machine adds to the snapshot's file
	stall   time.Duration
}

// Launch starts a machine and connects to its monitor.
func Launch(ctx context.Context, s Spec) (*Instance, error) {
	m := &Instance{console: filepath.Join(s.Dir, "console"), mode: s.Mode, scratch: filepath.Join(s.Dir, scratchFile), stall: s.Stall}
	if m.stall == 0 {
		m.stall = stallLimit
	}
	s.Base.touch()
	aio := bestAIO()
	err := m.launch(ctx, s, aio)
	if err != nil && aio == aioRing && strings.Contains(err.Error(), aioRing) {
		err = m.launch(ctx, s, aioThreads) // a QEMU that was built without it, or is out of memory for it
	}
	if err != nil {
		os.Remove(m.scratch)
		return nil, err
	}
	return m, nil
}

func (m *Instance) launch(ctx context.Context, s Spec, aio string) (err error) {
	if err := createQcow2(m.scratch, scratchSize); err != nil {
		return err
	}
	args := s.Base.Machine.args(fmt.Sprintf(",rr=%s,rrfile=%s", s.Mode, escape(s.Log)))
	args = append(args, files(m.console, filepath.Join(s.Dir, "serial"))...)
	args = append(args, disk(s.Image, aio)...)
	args = append(args, snapshot(s.Base.Snapshot(), m.scratch, aio)...)
	args = append(args, "-loadvm", snapshotTag, "-no-shutdown", "-fw_cfg", "name=opt/tapedeck,string="+escape(s.Params))
	if s.Debug != "" {
		args = append(args, "-S", "-gdb", "unix:"+escape(s.Debug)+",server=on,wait=off")
	}
	r := rights{write: []string{s.Dir}, read: []string{s.Image, s.Log, s.Base.Snapshot()}}
	if s.Mode == Record {
		r.write = append(r.write, filepath.Dir(s.Log))
	}
	if s.Debug != "" {
		r.write = append(r.write, filepath.Dir(s.Debug))
	}
	m.process, err = s.Base.QEMU.start(ctx, args, r)
	return err
}

// Kill ends the machine at once.
func (m *Instance) Kill() {
	m.process.Kill()
	os.Remove(m.scratch)
}

// Run starts a machine and waits until the guest has shut itself down.
func Run(ctx context.Context, s Spec) (*Result, error) {
	m, err := Launch(ctx, s)
	if err != nil {
		return nil, err
	}
	defer m.Kill()
	if s.Stdout != nil {
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			follow(m.console, s.Stdout, s.Stderr, stop)
			close(stopped)
		}()
		defer func() {
			close(stop)
			<-stopped
		}()
	}
	cut, err := m.wait(ctx, s.Cut)
	if err != nil {
		return nil, err
	}
	r := &Result{Cut: cut}
	if r.Instructions, err = m.QMP.Instructions(); err != nil {
		return nil, err
	}
	if err := m.Quit(); err != nil {
		return nil, err
	}
	// On a full disk QEMU goes on, and says so if it tries to write more than
	// once: its log is then worth nothing.
	if words := m.words.String(); strings.Contains(words, "write error") {
		return nil, fmt.Errorf("write %s: %s", s.Log, words)
	}
	if s.Mode == Record {
		if _, err := CountLog(s.Log); err != nil && !errors.Is(err, ErrLogVersion) {
			return nil, fmt.Errorf("write %s: %w; is the disk full?", s.Log, err)
		}
	}
	r.CPU = m.CPU()
	if r.Frames, err = readConsole(m.console); err != nil {
		return nil, err
	}
	return r, nil
}

// wait returns when the guest has shut down, when QEMU is gone, or when it
// makes no progress: a replay that executes nothing, or a QEMU that does not
// answer. A recorded program may wait as long as it likes. It tells whether
// cut came first: QEMU logs its own end as it does a guest's, and a replay
// then stops at that instruction.
func (m *Instance) wait(ctx context.Context, cut <-chan struct{}) (bool, error) {
	every := m.stall / 20
	if m.mode == Record {
		every = m.stall / 4
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last uint64
	since := time.Now()
	for {
		select {
		case <-m.QMP.Event("STOP"): // after SHUTDOWN: now the count stands still
			return false, nil
		case <-cut:
			return true, nil
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-m.done:
			return false, fmt.Errorf("QEMU ended before the guest did: %s", m.words.String())
		case <-tick.C:
		}
		ask, cancel := context.WithTimeoutCause(ctx, m.stall, &StallError{m.stall, last})
		n, err := m.QMP.instructions(ask)
		cancel()
		var stall *StallError
		if errors.As(err, &stall) {
			return false, stall
		}
		if err == nil && (n != last || m.mode == Record) {
			last, since = n, time.Now()
		}
		if time.Since(since) > m.stall {
			return false, &StallError{m.stall, last}
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
