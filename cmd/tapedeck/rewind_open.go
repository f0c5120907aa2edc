package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/tapedeck-dev/tapedeck/internal/record/rr"
	"github.com/tapedeck-dev/tapedeck/internal/replay"
	"github.com/tapedeck-dev/tapedeck/internal/rewind"
	"github.com/tapedeck-dev/tapedeck/internal/vm"
)

// A rewinding is a bundle's recording under a debugger.
type rewinding struct {
	tape    *replay.Tape
	machine *vm.Instance // nil with rr
	session *rewind.Session
}

// openRewind replays a bundle's recording under a debugger, up to the failure.
func openRewind(ctx context.Context, path string, keys keyFlags, pid int) (*rewinding, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	op, err := keys.opener(ctx)
	if err != nil {
		return nil, err
	}
	r := &rewinding{}
	if r.tape, err = replay.OpenSealed(ctx, path, cache, op); err != nil {
		return nil, err
	}
	if r.tape.Kind == "rr" {
		err = r.openRR(ctx)
	} else {
		err = r.openVM(ctx, pid)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *rewinding) close() {
	if r.session != nil {
		r.session.Close()
	}
	if r.machine != nil {
		r.machine.Kill()
	}
	r.tape.Close()
}

func (r *rewinding) openRR(ctx context.Context) error {
	server, err := rr.Serve(ctx, r.tape.Trace(), rr.ServeOptions{Software: r.tape.Software()})
	if err != nil {
		return err
	}
	target := rewind.RR(rewind.RRConfig{Addr: server.Addr, Exe: server.Exe, Server: server})
	r.session, err = rewind.Open(ctx, target, rewind.Options{})
	return err
}

func (r *rewinding) openVM(ctx context.Context, pid int) error {
	files := filepath.Join(r.tape.Dir, "files")
	if err := vm.ExtractWorld(ctx, filepath.Join(r.tape.Dir, vm.WorldFile), files); err != nil {
		return err
	}
	stub, err := r.launch(ctx)
	if err != nil {
		return err
	}
	if pid == 0 {
		pid = r.tape.VM.Pid
	}
	target, err := rewind.OpenVM(ctx, rewind.VMConfig{
		Stub: stub, PID: pid, Sysroot: filepath.Join(files, "root"), End: r.tape.VM.Instructions.Shutdown, Again: r.launch,
		Guest: rewind.Guest{Symbols: r.tape.Base.Symbols, Offsets: r.tape.Base.Offsets},
	})
	if err != nil {
		return err
	}
	r.session, err = rewind.Open(ctx, target, rewind.Options{})
	return err
}

// launch starts a machine that waits for its debugger, in the place of the one
// before, and returns its stub.
func (r *rewinding) launch(ctx context.Context) (stub string, err error) {
	if r.machine != nil {
		r.machine.Kill()
		r.machine = nil
	}
	dir, err := os.MkdirTemp(r.tape.Dir, "rewind-")
	if err != nil {
		return "", err
	}
	spec := r.tape.Spec(dir)
	spec.Debug = filepath.Join(dir, "stub")
	r.machine, err = vm.Launch(ctx, spec)
	return "unix:" + spec.Debug, err
}
