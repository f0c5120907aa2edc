package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/tapedeck-dev/tapedeck/internal/record"
	"github.com/tapedeck-dev/tapedeck/internal/record/inputs"
	"github.com/tapedeck-dev/tapedeck/internal/record/rr"
	vmrec "github.com/tapedeck-dev/tapedeck/internal/record/vm"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

// A recorder is ready to make recordings of one program.
type recorder struct {
	kind   string
	record func(ctx context.Context, seed uint64) (*record.Recording, error)
	shared func() ([]record.File, error) // files that all its recordings need
	close  func() error
	cuts   bool // an interrupt ends the run and leaves what was recorded
}

// chooseRecorder prepares the recorder that was asked for; "auto" is rr where
// it works, and the guest elsewhere.
func chooseRecorder(ctx context.Context, o recordOptions, job record.Job, g *guard, term *ui.Term) (*recorder, error) {
	if o.inputs {
		return inputsRecorder(ctx, o, job, g, term)
	}
	switch o.recorder {
	case "rr":
		info, err := rr.Probe(ctx)
		if err != nil {
			return nil, err
		}
		return rrRecorder(o, job, info, term), nil
	case "vm":
		return vmRecorder(ctx, o, job, term)
	case "auto":
		info, err := rr.Probe(ctx)
		// Software counters do not preempt loops: races seldom show.
		if err == nil && !info.Software && !o.vm.asked() {
			return rrRecorder(o, job, info, term), nil
		}
		return vmRecorder(ctx, o, job, term)
	}
	return nil, fmt.Errorf("--recorder needs auto, rr or vm, found %q", o.recorder)
}

// inputsRecorder records what the program gets from outside.
func inputsRecorder(ctx context.Context, o recordOptions, job record.Job, g *guard, term *ui.Term) (*recorder, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	opt := inputs.Options{Scrubber: g.clean, Spools: filepath.Join(cache, "spool"), Say: term.Say}
	r := &recorder{kind: "inputs", shared: func() ([]record.File, error) { return nil, nil }, close: func() error { return nil }}
	stop := context.WithoutCancel(ctx)
	if o.untilFail <= 0 {
		opt.Stdout, opt.Stderr = term.Out, term.Err
		r.cuts, stop = true, ctx
	}
	r.record = func(ctx context.Context, seed uint64) (*record.Recording, error) {
		job := job
		job.Seed = seed
		if !r.cuts {
			stop = ctx
		}
		return inputs.Record(stop, job, opt)
	}
	return r, nil
}

func rrRecorder(o recordOptions, job record.Job, info rr.Info, term *ui.Term) *recorder {
	opt := rr.Options{Info: info}
	if o.untilFail <= 0 {
		opt.Stdout, opt.Stderr = term.Out, term.Err
	} else {
		opt.Keep = func(r *record.Recording) bool {
			r.Outcome.Match(o.failOnExpr, r.Stdout, r.Stderr)
			return r.Outcome.Failed()
		}
	}
	return &recorder{
		kind: "rr",
		record: func(ctx context.Context, seed uint64) (*record.Recording, error) {
			job := job
			job.Seed = seed
			return rr.Record(ctx, job, opt)
		},
		shared: func() ([]record.File, error) { return nil, nil },
		close:  func() error { return nil },
	}
}

func vmRecorder(ctx context.Context, o recordOptions, job record.Job, term *ui.Term) (*recorder, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	opt := vmrec.Options{Cache: cache, Memory: o.vm.memory, Include: o.vm.include, Rootfs: o.vm.rootfs, Say: term.Say}
	if o.untilFail <= 0 {
		opt.Stdout, opt.Stderr = term.Out, term.Err
		opt.Cut = ctx.Done()
	}
	r, err := vmrec.Prepare(ctx, job, opt)
	if err != nil {
		return nil, err
	}
	return &recorder{kind: "vm", record: r.Record, shared: sharedOf(r, o.vm), close: r.Close, cuts: opt.Cut != nil}, nil
}

// sharedOf is the boot snapshot, if it is to be in the bundle.
func sharedOf(r *vmrec.Recorder, o vmOptions) func() ([]record.File, error) {
	return func() ([]record.File, error) {
		if o.thin {
			return nil, nil
		}
		f, err := r.Snapshot()
		return []record.File{f}, err
	}
}
