// Package rr records programs with rr, the record-and-replay debugger, where
// the CPU's performance counters are there for it. [Probe] finds out by
// trying; [Record] leaves a packed trace and its manifest entry; [Replay] runs
// a trace to its end and [Serve] waits on it for a debugger. What rr can't do
// here is an [exttool.Missing] that wraps one of this package's errors.
package rr

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
)

// Info is what [Probe] found out about the installed rr.
type Info struct {
	Path          string   // absolute path of the program
	Version       string   // "5.9.0"
	SoftwareBuild bool     // the build can count in software (-W)
	Software      bool     // recording needs -W here: the hardware counters don't work
	NoBuffer      bool     // recording needs -n here: perf_event_paranoid forbids the syscall buffer
	Warnings      []string // weaker guarantees that the user must know of
}

const (
	probeLimit  = 20 * time.Second // a container that blocks ptrace makes rr wait for ever
	answerLimit = 10 * time.Second // of rr --version and the like
)

// Probe finds rr and has it record and replay a tiny program. When that works
// only with software counters or without the syscall buffer, Info says so; when
// it doesn't work at all the error is an [exttool.Missing].
func Probe(ctx context.Context) (Info, error) {
	info, err := locate(ctx)
	if err != nil {
		return info, err
	}
	return prober{readHost(), probeLimit}.probe(ctx, info)
}

// locate finds rr and asks what build it is, without recording anything.
func locate(ctx context.Context) (Info, error) {
	path, err := exttool.Find("rr", "rr")
	if err != nil {
		return Info{}, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return Info{}, err
	}
	info := Info{Path: path}
	version, err := combined(ctx, path, "--version")
	if err != nil {
		return info, err
	}
	info.Version = parseVersion(version)
	if info.Version == "" {
		return info, &exttool.Missing{Need: "rr, the record-and-replay debugger", Found: path + ", another program: " + oneLine(string(version)), Fix: installFix}
	}
	// rr takes --help for an invalid option, says so, prints the help to
	// standard error and exits with 1.
	help, err := combined(ctx, path, "record", "--help")
	if err != nil {
		return info, err
	}
	info.SoftwareBuild = hasSoftwareCounters(help)
	return info, nil
}

// prober is where and how patiently to probe.
type prober struct {
	host  host
	limit time.Duration
}

// probe tries the ways to record, from the strongest to the weakest.
func (p prober) probe(ctx context.Context, info Info) (Info, error) {
	said, err := p.try(ctx, info)
	if err == nil {
		info.Warnings = append(info.Warnings, saidWarnings(said)...)
		return info, nil
	}
	if ctx.Err() != nil {
		return info, err
	}
	if errors.Is(err, ErrParanoid) {
		weaker := info
		weaker.NoBuffer = true
		said, err2 := p.try(ctx, weaker)
		if err2 == nil {
			weaker.Warnings = append(saidWarnings(said), paranoidWarning(err))
			return weaker, nil
		}
		// Changing the sysctl would only lead to this failure.
		if !errors.Is(err2, ErrParanoid) {
			err = err2
		}
	}
	if info.SoftwareBuild && (errors.Is(err, ErrNoCounters) || errors.Is(err, ErrParanoid) || errors.Is(err, ErrCPU) || errors.Is(err, ErrConfig)) {
		weaker := info
		weaker.Software = true
		said, err2 := p.try(ctx, weaker)
		if err2 == nil {
			weaker.Warnings = append(saidWarnings(said), softwareWarning)
			return weaker, nil
		}
		if errors.Is(err2, ErrPtrace) {
			err = err2
		}
	}
	return info, err
}

const softwareWarning = "rr counts in software here: it can't preempt a loop that makes no system call, so races show seldom"

func paranoidWarning(err error) string {
	w := "rr records without its syscall buffer here, which is slow"
	var m *exttool.Missing
	if errors.As(err, &m) && m.Fix != "" {
		w += "; to have it: " + m.Fix
	}
	return w
}

// flags gives the options that every recording and replay on this machine needs.
func (i Info) flags() []string {
	if i.Software {
		return []string{"-W"}
	}
	return nil
}

// try records and replays a tiny program and returns what rr said on standard
// error.
func (p prober) try(ctx context.Context, info Info) ([]byte, error) {
	dir, err := os.MkdirTemp("", "rr-probe-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program := []string{"true"}
	if path, err := exec.LookPath("true"); err == nil {
		program[0] = path
	} else {
		program = []string{info.Path, "--version"}
	}
	trace := filepath.Join(dir, "trace")
	args := slices.Concat([]string{"record"}, info.flags())
	if info.NoBuffer {
		args = append(args, "-n")
	}
	args = append(args, "-o", trace)
	said, err := p.attempt(ctx, info, slices.Concat(args, program))
	if err != nil {
		return said, err
	}
	if state := stateOf(trace); state != complete {
		return said, incompleteError(trace, state)
	}
	more, err := p.attempt(ctx, info, slices.Concat([]string{"replay"}, info.flags(), []string{"-a", trace}))
	return append(said, more...), err
}

// attempt runs rr once, for probe.
func (p prober) attempt(ctx context.Context, info Info, args []string) ([]byte, error) {
	r, err := run(ctx, spec{path: info.Path, args: args, env: os.Environ(), limit: p.limit, grace: time.Second})
	if err != nil {
		return nil, err
	}
	said := r.stderr.kept()
	switch {
	case ctx.Err() != nil:
		return said, context.Cause(ctx)
	case r.timedOut:
		return said, &exttool.Missing{
			Need: "an rr that may ptrace its children", Found: fmt.Sprintf("rr %s, no answer within %v", info.Version, p.limit),
			Fix: p.host.ptraceFix(), Err: ErrPtrace,
		}
	case r.code != 0 || r.signal != 0:
		if d := divergence(string(said)); d != nil && args[0] == "replay" {
			return said, &exttool.Missing{Need: "a CPU on which rr's replays equal its recordings", Found: found(info.Version, d.Text), Fix: otherFix, Err: ErrConfig}
		}
		return said, diagnose(p.host, info.Version, r.code, said)
	}
	return said, nil
}

// combined runs rr for its words alone: the exit code doesn't matter.
func combined(ctx context.Context, path string, args ...string) ([]byte, error) {
	r, err := run(ctx, spec{path: path, args: args, env: os.Environ(), limit: answerLimit, grace: time.Second})
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return append(r.stdout.kept(), r.stderr.kept()...), nil
}

var versionLine = regexp.MustCompile(`(?m)^rr version (\S{1,64})`)

func parseVersion(out []byte) string {
	if m := versionLine.FindSubmatch(out); m != nil {
		return string(m[1])
	}
	return ""
}

var softwareOption = regexp.MustCompile(`(?m)^\s+-W,? --software-counters\b`)

func hasSoftwareCounters(help []byte) bool { return softwareOption.Match(help) }

// oneLine shortens what a tool said to something that fits in an error.
func oneLine(s string) string {
	const most = 300
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
