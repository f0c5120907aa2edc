package rr

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
)

// ReplayOptions says how to run a trace again. The zero value is good.
type ReplayOptions struct {
	Info     Info          // of Probe; if it is empty, rr is looked up and not tried
	Software bool          // the trace was recorded with software counters: the manifest's software_counters
	Limit    time.Duration // kills a replay that takes longer; 0 is DefaultReplayLimit
	Stdout   io.Writer     // also gets what the program wrote; may be nil
	Stderr   io.Writer     // the same; rr's own messages are in it too
}

// DefaultReplayLimit is how long a replay may take.
const DefaultReplayLimit = 30 * time.Minute

// Replayed is a replay that reached the end of the trace: rr found every event
// to be as it was recorded.
type Replayed struct {
	Stdout   Output
	Stderr   Output
	Code     int       // the recorded program's exit code, as a shell gives it; rr's own is 0
	Signal   int       // that ended the recorded program, or 0
	Procs    []Process // all processes of the recording
	Warnings []string
}

// Replay runs the trace in dir to its end. The error is a [DivergedError] when
// the execution wasn't the recorded one, an [exttool.Missing] when the trace
// can't be replayed here, and wraps ErrStuck when the time was up.
func Replay(ctx context.Context, dir string, o ReplayOptions) (*Replayed, error) {
	info, dir, err := open(ctx, dir, o.Info, o.Software)
	if err != nil {
		return nil, err
	}
	limit := o.Limit
	if limit == 0 {
		limit = DefaultReplayLimit
	}
	args := slices.Concat([]string{"replay"}, info.flags(), []string{"-a", dir})
	// SIGTERM ends a replay at once; there is nothing to save.
	r, err := run(ctx, spec{path: info.Path, args: args, env: os.Environ(), stdout: o.Stdout, stderr: o.Stderr, limit: limit, grace: time.Second})
	switch {
	case err != nil:
		return nil, err
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case r.timedOut:
		return nil, fmt.Errorf("%w: killed after %v", ErrStuck, limit)
	case r.code != 0:
		return nil, diagnoseReplay(readHost(), info.Version, r.code, r.stderr.kept())
	}
	re := &Replayed{Stdout: r.stdout.output(), Stderr: r.stderr.output(), Warnings: saidWarnings(r.stderr.kept())}
	ps, err := run(ctx, spec{path: info.Path, args: []string{"ps", dir}, env: os.Environ(), limit: answerLimit, grace: time.Second, keep: maxTraceInfo})
	switch {
	case err != nil:
		return nil, err
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case ps.code != 0:
		return nil, diagnose(readHost(), info.Version, ps.code, ps.stderr.kept())
	}
	re.Procs = parsePS(ps.stdout.kept())
	if len(re.Procs) == 0 {
		return nil, fmt.Errorf("rr ps: no process in %s", oneLine(string(ps.stdout.kept())))
	}
	re.Code, re.Signal = re.Procs[0].Code, re.Procs[0].Signal
	return re, nil
}

// Differences compares the replay with the manifest entry of its recording and
// says what is not the same. rr itself checks every event; this is the check
// that needs no trust in rr. Output that the program did not write through
// write(2) on the descriptors 1 and 2 is missing from every replay.
func (r *Replayed) Differences(entry map[string]any) []string {
	var list []string
	if want, ok := number(entry["exit_code"]); ok && want != int64(r.Code) && want != 124 {
		list = append(list, fmt.Sprintf("exit code %d, recorded %d", r.Code, want))
	}
	for _, s := range []struct {
		name string
		got  Output
	}{{"stdout", r.Stdout}, {"stderr", r.Stderr}} {
		rec, _ := entry[s.name].(map[string]any)
		sum, ok := rec["sha256"].(string)
		if !ok || sum == s.got.SHA256 {
			continue
		}
		size, _ := number(rec["size"])
		list = append(list, fmt.Sprintf("%s of %d bytes, sha256 %.12s…; recorded %d bytes, %.12s…", s.name, s.got.Bytes, s.got.SHA256, size, sum))
	}
	return list
}

// number reads an integer as Go, JSON or YAML gives it.
func number(v any) (int64, bool) {
	switch n := v.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	case uint64:
		return int64(n), true
	case float64:
		return int64(n), n == float64(int64(n))
	}
	return 0, false
}

// open checks that there is a whole trace in dir and an rr for it.
func open(ctx context.Context, dir string, info Info, software bool) (Info, string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return info, "", err
	}
	if s := stateOf(dir); s != complete {
		return info, "", incompleteError(dir, s)
	}
	if info.Path == "" {
		if info, err = locate(ctx); err != nil {
			return info, "", err
		}
	}
	info.Software = info.Software || software
	if info.Software && !info.SoftwareBuild {
		return info, "", &exttool.Missing{
			Need: "an rr build with software counters (-W), with which the trace was recorded", Found: "rr " + info.Version + " without them",
			Fix: "install the build that recorded it", Err: ErrNoCounters,
		}
	}
	return info, dir, nil
}
