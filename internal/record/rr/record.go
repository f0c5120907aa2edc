package rr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
	"github.com/tapedeck-dev/tapedeck/internal/record"
)

// Options says how to record. The zero value is good.
type Options struct {
	Info   Info            // what Probe found; if it is empty, Record probes first
	Parent string          // the recording's own directory is made under it; "" is the temporary directory
	Stdout io.Writer       // also gets what the program writes, as it writes it; the Recording keeps the last MiB; may be nil
	Stderr io.Writer       // the same
	Stop   <-chan struct{} // closing it ends the program and keeps the recording; may be nil
	// Keep is asked when the program has ended. If it says no, the trace is
	// neither packed nor described, which saves most of the work on a run that
	// did not fail: the recording then has an Outcome and no Files.
	Keep    func(*record.Recording) bool
	KeepEnv []string // variables whose values the manifest may hold, beside TZ, LANG and the like
	Sched   Sched
}

// Sched holds rr's options on how the program is run.
type Sched struct {
	NoBuffer     bool // -n: no syscall buffer; slower, and safer with odd programs
	Ticks        int  // -c: most conditional branches between two preemptions, 0 is rr's choice
	AlwaysSwitch bool // -s: switch threads after every event
	Cores        int  // --num-cores: what the program is told, 0 is rr's choice
}

func (s Sched) flags() []string {
	var f []string
	if s.NoBuffer {
		f = append(f, "-n")
	}
	if s.Ticks > 0 {
		f = append(f, "-c", strconv.Itoa(s.Ticks))
	}
	if s.AlwaysSwitch {
		f = append(f, "-s")
	}
	if s.Cores > 0 {
		f = append(f, "--num-cores="+strconv.Itoa(s.Cores))
	}
	return f
}

// grace is what rr needs after SIGTERM: it gives the program 5 s, kills it, and
// gives itself 5 s more.
const grace = 15 * time.Second

const packLimit = 10 * time.Minute

// Record runs the job under rr. That the program fails is no error, it is the
// Outcome. When the job's time is up or o.Stop is closed, the trace ends there
// and can be replayed; when ctx ends, it is thrown away. Calls may run side by
// side. Job.Seed has no effect: rr's chaos mode takes no seed, so every attempt
// is another schedule.
func Record(ctx context.Context, job record.Job, o Options) (rec *record.Recording, err error) {
	if len(job.Args) == 0 {
		return nil, errors.New("no program to record")
	}
	if o.Info.Path == "" {
		if o.Info, err = Probe(ctx); err != nil {
			return nil, err
		}
	}
	o.Sched.NoBuffer = o.Sched.NoBuffer || o.Info.NoBuffer
	args, err := resolve(job)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Parent, "rr-")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	rec = &record.Recording{Dir: dir, Started: time.Now(), Program: record.Program{Path: program(job.Dir, args[0])}}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
			rec = nil
		}
	}()

	// The trace's name is given with -o rather than asked for with -p: the
	// program would inherit -p's descriptor, and see what it doesn't see
	// without rr.
	trace := filepath.Join(dir, "trace")
	flags := slices.Concat(o.Info.flags(), o.Sched.flags())
	if job.Chaos {
		flags = append(flags, "-h")
	}
	r, err := run(ctx, spec{
		path: o.Info.Path, args: slices.Concat([]string{"record"}, flags, []string{"-o", trace, "--"}, args),
		dir: job.Dir, env: job.Env, stdin: job.Stdin, stdout: o.Stdout, stderr: o.Stderr,
		limit: job.Timeout, stop: o.Stop, grace: grace,
	})
	if err != nil {
		return rec, err
	}
	if ctx.Err() != nil {
		return rec, context.Cause(ctx)
	}
	rec.Stdout, rec.Stderr = r.stdout.kept(), r.stderr.kept()
	if err := ownFailure(o.Info, trace, r); err != nil {
		return rec, err
	}
	rec.Outcome = record.Outcome{Code: r.code, Signal: r.signal, TimedOut: r.timedOut}
	if r.timedOut {
		rec.Outcome.Code = 124
	}
	rec.Toolchain = map[string]any{"rr": o.Info.Version}
	if o.Keep != nil && !o.Keep(rec) {
		return rec, os.RemoveAll(trace)
	}
	return rec, describe(ctx, rec, job, o, trace, flags, r)
}

// resolve looks the program up, so that a wrong name is told apart from a
// failure of rr's. rr takes PATH from the job's environment; without one there,
// ours is used.
func resolve(job record.Job) ([]string, error) {
	name := job.Args[0]
	if strings.Contains(name, "/") {
		return job.Args, nil
	}
	path, ours := "", true
	for _, kv := range job.Env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path, ours = v, false
		}
	}
	if ours {
		path = os.Getenv("PATH")
	}
	for _, dir := range filepath.SplitList(path) {
		full := filepath.Join(dir, name)
		if !filepath.IsAbs(full) {
			full = filepath.Join(job.Dir, full)
		}
		if st, err := os.Stat(full); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			if ours {
				return slices.Concat([]string{full}, job.Args[1:]), nil
			}
			return job.Args, nil
		}
	}
	return nil, &exttool.Missing{Need: "the program " + name, Found: "no such program in the job's PATH", Fix: "give its path, or put its directory in PATH", Err: exec.ErrNotFound}
}

// ownFailure tells a recording that rr failed to make from one of a program
// that failed: rr passes the program's exit code and signal through, and its own
// are among them. A trace with a header was closed by rr; what the header can't
// tell, rr's words do.
func ownFailure(info Info, trace string, r ended) error {
	said := r.stderr.kept()
	s := stateOf(trace)
	switch {
	case s == complete && r.code == exUnavailable && execFailed(said):
	case s == complete && r.code == 128+6 && crashed(said):
	case s == complete:
		return nil
	case r.timedOut || r.stopped:
		return &exttool.Missing{
			Need: "a complete rr trace", Found: "one that was cut off: rr did not end it in time",
			Fix: "allow the program more time", Err: ErrIncomplete,
		}
	case !crashed(said) && r.signal != 0:
		return &exttool.Missing{Need: "a complete rr trace", Found: fmt.Sprintf("one that was cut off: rr was killed by signal %d", int(r.signal)), Fix: "end a recording with SIGTERM, never with SIGKILL", Err: ErrIncomplete}
	}
	return diagnose(readHost(), info.Version, r.code, said)
}

const exUnavailable = 69 // sysexits.h: rr's own code when the program can't be started

func execFailed(said []byte) bool {
	err := diagnose(host{}, "", exUnavailable, said)
	return errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrPermission)
}

// describe packs the trace and fills in what the bundle needs to know of it.
func describe(ctx context.Context, rec *record.Recording, job record.Job, o Options, trace string, flags []string, r ended) error {
	warn := func(format string, args ...any) { rec.Warnings = append(rec.Warnings, fmt.Sprintf(format, args...)) }
	rec.Warnings = append(slices.Clone(o.Info.Warnings), saidWarnings(rec.Stderr)...)
	warn("the rr trace holds the program's memory, inputs and whole environment, secrets included, in every one of its files; it can't be scrubbed and is restricted")
	for _, c := range []*capture{r.stdout, r.stderr} {
		if c.teeErr != nil {
			warn("the program's output could not be passed on: %v", c.teeErr)
		}
	}

	// Before it is packed, a trace refers to files of this machine.
	packed := true
	if err := pack(ctx, o.Info, trace); err != nil {
		if ctx.Err() != nil {
			return err
		}
		packed = false
		warn("rr pack: %v; the trace replays on this machine alone", err)
	}
	m := map[string]any{
		"kind": "rr", "rr_version": o.Info.Version, "command": slices.Clone(job.Args), "rr_trace_dir": BundleDir,
		"chaos": job.Chaos, "options": flags, "packed": packed, "software_counters": o.Info.Software,
		"exit_code": rec.Outcome.Code,
		"stdout":    map[string]any{"size": r.stdout.n, "sha256": r.stdout.output().SHA256},
		"stderr":    map[string]any{"size": r.stderr.n, "sha256": r.stderr.output().SHA256},
	}
	if flags == nil {
		m["options"] = []string{}
	}
	t, err := readTraceInfo(ctx, o.Info, trace)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		warn("the manifest lacks the CPU and the kernel of the rr trace: %v", err)
	default:
		m["kernel"], m["uuid"], m["ticks"], m["chaos"] = t.Uname.Release, t.UUID.String(), t.TicksSemantics, t.Chaos || job.Chaos
		m["cpu"], m["cpuid_faulting"], m["bound_cpu"], m["forward_compatibility"] = t.CPU(), t.CPUIDFaulting, t.BindToCPU, t.Compatibility
		m["program"] = filepath.Base(t.Program)
		if !t.CPUIDFaulting {
			warn("no CPUID faulting here: the rr trace replays only on a CPU with the same features")
		}
		if t.Improper {
			warn("rr found this CPU to be set up wrongly for it: the replay may diverge")
		}
	}
	if t.Environ == nil {
		t.Environ = job.Env
	}
	m["env"], m["env_withheld"] = scrubEnv(t.Environ, o.KeepEnv)
	rec.Manifest = m
	list, warnings, err := files(trace)
	rec.Files = list
	rec.Warnings = append(rec.Warnings, warnings...)
	return err
}

// program is the absolute path of what resolve returned, or "" if rr is to look
// it up.
func program(dir, name string) string {
	if !strings.Contains(name, "/") {
		return ""
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	return name
}

// pack makes the trace self-contained: files that it shares with the system
// become its own.
func pack(ctx context.Context, info Info, trace string) error {
	r, err := run(ctx, spec{path: info.Path, args: []string{"pack", trace}, env: os.Environ(), limit: packLimit, grace: grace})
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case r.timedOut:
		return fmt.Errorf("not done within %v", packLimit)
	case r.code != 0:
		return diagnose(readHost(), info.Version, r.code, r.stderr.kept())
	}
	return nil
}
