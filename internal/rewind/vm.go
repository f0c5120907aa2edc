package rewind

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// VMConfig says where a replaying machine is and what runs in it.
type VMConfig struct {
	Stub    string        // QEMU's gdb stub, "host:port" or "unix:PATH"; the machine waits at its start
	Guest   Guest         // its kernel
	PID     int           // the process to look at, as the guest counts
	Sysroot string        // directory with the guest's files, or "" for this machine's own
	Exe     string        // the program's path in the guest; "" to read it from the kernel
	End     uint64        // where the recording ends, for a process that was still running then; 0 if not known
	Limit   time.Duration // for one answer of the machine; 0 is two minutes
	// Again replaces a machine that got stuck on its way to the failure by another
	// and returns that one's stub. Without it that is an error.
	Again func(context.Context) (string, error)
}

// VM is a [Target]: one process of a recorded machine, presented to gdb as if
// gdb were on that machine, with its threads and libraries. It stands between
// gdb and QEMU, whose own stub knows one CPU and neither processes nor threads,
// and stops for every process that happens to use an address.
type VM struct {
	config VMConfig
	dir    string
	listen net.Listener

	mu      sync.Mutex // held while the machine is used
	line    *timeline
	fail    Failure
	exe     string
	aux     []byte
	broken  error  // what ended the machine, if something did
	pending uint64 // where the next resumption goes, 0 for a normal one
	done    chan struct{}
}

// OpenVM takes over a machine that waits at the start of a replay, and replays
// to the moment at which the process begins to die.
func OpenVM(ctx context.Context, config VMConfig) (*VM, error) {
	if err := config.Guest.check(); err != nil {
		return nil, err
	}
	if config.Limit == 0 {
		config.Limit = 2 * time.Minute
	}
	v := &VM{config: config, done: make(chan struct{})}
	for try := 1; ; try++ {
		err := v.open(ctx)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrStuck) || config.Again == nil || try == maxTries {
			return nil, err
		}
		if v.config.Stub, err = config.Again(ctx); err != nil {
			return nil, err
		}
	}
	go v.serve()
	return v, nil
}

// maxTries is how many machines may get stuck.
const maxTries = 3

func (v *VM) open(ctx context.Context) error {
	s, err := dialStub(ctx, v.config.Stub, v.config.Limit)
	if err != nil {
		return err
	}
	v.line = &timeline{kernel: kernel{s, v.config.Guest}, pid: v.config.PID, last: v.config.End}
	if err = v.arrive(ctx); err != nil {
		s.close()
	}
	return err
}

func (v *VM) arrive(ctx context.Context) error {
	var err error
	if v.line.born, err = v.line.position(ctx); err != nil {
		return err
	}
	died, others, err := v.line.toFailure(ctx)
	if err != nil {
		return err
	}
	v.fail = failureOf(died, others)
	if v.exe = v.config.Exe; v.exe == "" {
		if v.exe, err = v.line.exePath(ctx, died.task); err != nil {
			return err
		}
	}
	if v.aux, err = v.line.auxv(ctx, died.task); err != nil {
		return err
	}
	if v.dir, err = os.MkdirTemp("", "tapedeck-rewind-"); err != nil {
		return err
	}
	if v.listen, err = net.Listen("unix", filepath.Join(v.dir, "gdb")); err != nil {
		os.RemoveAll(v.dir)
	}
	return err
}

// Close ends the connection with the machine, which it doesn't stop.
func (v *VM) Close() error {
	v.listen.Close()
	v.line.conn.Close()
	<-v.done
	return os.RemoveAll(v.dir)
}

func failureOf(d death, others []death) Failure {
	f := Failure{PID: d.tgid, Name: d.comm, Thread: d.pid, Position: vmPosition(d.at)}
	f.setStatus(d.status, d.core)
	if f.Running = d.running; d.running {
		f.Ending = Ending{Running: true}
	}
	for _, o := range others {
		p := Ended{PID: o.tgid, Name: o.comm, Position: vmPosition(o.at)}
		p.setStatus(o.status, o.core)
		f.Others = append(f.Others, p)
	}
	return f
}

func vmPosition(icount uint64) Position { return Position(fmt.Sprintf("vm:icount=%d", icount)) }

func vmCount(p Position) (uint64, error) {
	var n uint64
	if _, err := fmt.Sscanf(string(p), "vm:icount=%d", &n); err != nil || vmPosition(n) != p {
		return 0, fmt.Errorf("position %q: want vm:icount=NUMBER", p)
	}
	return n, nil
}

// setStatus takes the status as wait(2) gives it.
func (e *Ending) setStatus(status int, core bool) {
	if sig := status & 0x7f; sig != 0 {
		e.Signal, e.Core = signalName(syscall.Signal(sig)), core
		e.Code = 128 + sig
		return
	}
	e.Code = status >> 8 & 0xff
}

func (v *VM) ended(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.broken = err
}

// cause tells why gdb lost its connection.
func (v *VM) cause() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.broken
}

func (v *VM) serve() {
	defer close(v.done)
	for {
		conn, err := v.listen.Accept()
		if err != nil {
			return
		}
		newServer(v).talk(conn)
	}
}

// Attach is part of [Target].
func (v *VM) Attach(context.Context) ([]string, error) {
	var out []string
	if v.config.Sysroot != "" {
		out = append(out, "set sysroot "+v.config.Sysroot, "set solib-search-path "+v.config.Sysroot)
	}
	return append(out, "file "+filepath.Join("/", v.config.Sysroot, v.exe), "target remote "+v.listen.Addr().String()), nil
}

// ToFailure is part of [Target]. The machine is there already.
func (v *VM) ToFailure(context.Context, *GDB) (Failure, error) { return v.fail, nil }

// Position is part of [Target].
func (v *VM) Position(ctx context.Context, _ *GDB) (Position, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	at, err := v.line.position(ctx)
	return vmPosition(at), err
}

// Goto is part of [Target]. gdb must resume the process for it to learn that
// it is elsewhere; the server goes where pending says.
func (v *VM) Goto(ctx context.Context, g *GDB, p Position) error {
	at, err := vmCount(p)
	if err != nil {
		return err
	}
	if at < v.line.born || at > v.line.end {
		return fmt.Errorf("position %s is outside of the process's life, %s to %s", p, vmPosition(v.line.born), vmPosition(v.line.end))
	}
	v.mu.Lock()
	v.pending = at
	v.mu.Unlock()
	if _, err := g.resume(ctx, "-exec-continue"); err != nil {
		return err
	}
	now, err := v.Position(ctx, g)
	if err == nil && now != p {
		err = fmt.Errorf("the machine is at %s instead of %s", now, p)
	}
	return err
}

// changes is part of [changeFinder]. The machine is anywhere afterwards.
func (v *VM) changes(ctx context.Context, addr, size uint64, n int) ([]change, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	at, err := v.line.position(ctx)
	if err != nil {
		return nil, err
	}
	writes, err := v.line.lastWrites(ctx, addr, size, at, n)
	if err != nil || len(writes) == 0 {
		return nil, errors.Join(err, v.line.seek(ctx, at))
	}
	var out []change
	for _, w := range writes {
		out = append(out, change{at: vmPosition(w.at - 1), inKernel: w.inKernel})
	}
	return out, nil
}

// distance is part of [changeFinder].
func (v *VM) distance(from, to Position) uint64 {
	a, err1 := vmCount(from)
	b, err2 := vmCount(to)
	if err1 != nil || err2 != nil || a > b {
		return 0
	}
	return b - a
}
