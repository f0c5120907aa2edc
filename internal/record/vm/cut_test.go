package vm

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/record"
	machine "github.com/tapedeck-dev/tapedeck/internal/vm"
)

// A recording that was ended on the way replays to where it was ended.
func TestCut(t *testing.T) {
	for name, script := range map[string]string{
		"busy":  `i=0; while :; do i=$((i+1)); case $i in *0000) echo $i;; esac; done`,
		"waits": `echo begun; sleep 1000`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := prepare(t, record.Job{Args: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Timeout: time.Second})
			r.job.Timeout = 0 // it was of the native run alone
			cut := make(chan struct{})
			r.opt.Cut = cut
			out := &onFirst{do: func() { close(cut) }}
			r.opt.Stdout, r.opt.Stderr = out, out
			rec, err := r.Record(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			defer rec.Close()
			if !rec.Outcome.Cut || rec.Outcome.Code != 130 || len(rec.Stdout) == 0 {
				t.Errorf("outcome %v, code %d, output %q", rec.Outcome, rec.Outcome.Code, rec.Stdout)
			}
			tape, err := machine.ReadTape(rec.Dir)
			if err != nil {
				t.Fatal(err)
			}
			if tape.Instructions.Shutdown == 0 {
				t.Errorf("the log does not say where it was cut: %+v", tape.Instructions)
			}
			for range 3 {
				res, err := machine.Run(t.Context(), machine.Spec{Mode: machine.Replay, Base: r.base, Image: r.world.Image, Params: tape.Params,
					Log: filepath.Join(rec.Dir, machine.LogFile), Dir: t.TempDir()})
				if err != nil {
					t.Fatal(err)
				}
				want, err := machine.LoadConsole(filepath.Join(rec.Dir, machine.ConsoleFile))
				if err != nil {
					t.Fatal(err)
				}
				if d := machine.Compare(want, res.Frames); d != nil {
					t.Error(d)
				}
				if n := tape.Instructions; res.Instructions < n.Shutdown || res.Instructions > n.Total {
					t.Errorf("%d instructions, recorded %+v", res.Instructions, n)
				}
			}
		})
	}
}

// onFirst calls do at the first write.
type onFirst struct {
	do   func()
	done bool
}

func (w *onFirst) Write(b []byte) (int, error) {
	if !w.done {
		w.done = true
		w.do()
	}
	return len(b), nil
}
