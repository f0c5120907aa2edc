package main

import (
	"context"
	"fmt"

	"github.com/tapedeck-dev/tapedeck/internal/record"
	vmrec "github.com/tapedeck-dev/tapedeck/internal/record/vm"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

// A recorder is ready to make recordings of one program.
type recorder struct {
	kind   string
	record func(ctx context.Context, seed uint64) (*record.Recording, error)
	shared func() ([]record.File, error) // files that all its recordings need
	close  func() error
}

// chooseRecorder prepares the recorder that was asked for; "auto" is rr where
// it works, and the guest elsewhere.
func chooseRecorder(ctx context.Context, o recordOptions, job record.Job, term *ui.Term) (*recorder, error) {
	switch o.recorder {
	case "auto", "vm":
		return vmRecorder(ctx, o, job, term)
	}
	return nil, fmt.Errorf("--recorder needs auto, rr or vm, found %q", o.recorder)
}

func vmRecorder(ctx context.Context, o recordOptions, job record.Job, term *ui.Term) (*recorder, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	r, err := vmrec.Prepare(ctx, job, vmrec.Options{Cache: cache, Memory: o.vm.memory, Include: o.vm.include, Rootfs: o.vm.rootfs, Say: term.Say})
	if err != nil {
		return nil, err
	}
	shared := func() ([]record.File, error) {
		if o.vm.thin {
			return nil, nil
		}
		f, err := r.Snapshot()
		return []record.File{f}, err
	}
	return &recorder{kind: "vm", record: r.Record, shared: shared, close: r.Close}, nil
}
