package replay

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/record"
	"github.com/tapedeck-dev/tapedeck/internal/record/rr"
	"github.com/tapedeck-dev/tapedeck/internal/vm"
)

func openRR(ctx context.Context, r *bundle.Reader, entry bundle.Recorder) (*Tape, error) {
	dir, err := os.MkdirTemp("", "tapedeck-replay-")
	if err != nil {
		return nil, err
	}
	t := &Tape{Manifest: r.Manifest(), Kind: "rr", Dir: dir, RR: entry}
	var names []string
	for _, f := range r.Files() {
		if strings.HasPrefix(f.Path, t.rrDir()+"/") {
			names = append(names, f.Path)
		}
	}
	if len(names) == 0 {
		t.Close()
		return nil, ErrNothingToReplay
	}
	if err := r.Extract(ctx, dir, names...); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// rrDir is where the bundle holds the trace. Bundles of others name the
// folder that rr's own trace folders are in.
func (t *Tape) rrDir() string {
	if d := strings.Trim(t.RR.String("rr_trace_dir"), "/"); d != "" {
		return d
	}
	return rr.BundleDir
}

// Trace is the unpacked trace folder of a recording with rr.
func (t *Tape) Trace() string {
	dir := filepath.Join(t.Dir, filepath.FromSlash(t.rrDir()))
	if _, err := os.Stat(filepath.Join(dir, "version")); err == nil {
		return dir
	}
	if inside, _ := filepath.Glob(filepath.Join(dir, "*", "version")); len(inside) == 1 {
		return filepath.Dir(inside[0])
	}
	return dir
}

// Software tells whether the trace was recorded with software counters.
func (t *Tape) Software() bool { b, _ := t.RR["software_counters"].(bool); return b }

func (t *Tape) runRR(ctx context.Context) (*Report, error) {
	start := time.Now()
	res, err := rr.Replay(ctx, t.Trace(), rr.ReplayOptions{Software: t.Software()})
	rep := &Report{Kind: "rr", Elapsed: time.Since(start)}
	var diverged *rr.DivergedError
	switch {
	case errors.As(err, &diverged):
		rep.Divergence = &vm.Divergence{What: "execution", At: diverged.Error(), Want: "the recorded events", Got: diverged.Text}
		return rep, nil
	case errors.Is(err, rr.ErrStuck):
		rep.Divergence = &vm.Divergence{What: "stalled", Want: "progress", Got: err.Error()}
		return rep, nil
	case err != nil:
		return nil, err
	}
	rep.Stdout, rep.Stderr, rep.ExitCode = res.Stdout.Tail, res.Stderr.Tail, res.Code
	rep.Outcome = record.Outcome{Code: res.Code}.String()
	if diff := res.Differences(t.RR); len(diff) > 0 {
		rep.Divergence = &vm.Divergence{What: "result", Want: "what the manifest says", Got: strings.Join(diff, "; ")}
	}
	rep.Identical = rep.Divergence == nil
	return rep, nil
}
