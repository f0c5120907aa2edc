package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

// subject is a program whose recording is compared with its own cost.
type subject struct {
	name  string
	args  []string
	bound bool // by the CPU: the bar holds for it
}

// loops that only compute, in an interpreter and with floating point
const (
	pythonLoop = "s = 0\nfor i in range(4000000): s = (s * 31 + i) & 0xffff\nprint(s)"
	awkLoop    = "BEGIN { for (i = 1; i < 4000000; i++) s += sqrt(i) / (i + 1); print s }"
)

func (l *lab) subjects(ctx context.Context) ([]subject, error) {
	// The name may be that of a script that looks for the interpreter.
	res, err := l.run(ctx, command{args: []string{"python3", "-c", "import sys; print(sys.executable)"}})
	if err != nil {
		return nil, err
	}
	python := strings.TrimSpace(string(res.stdout))
	return []subject{
		{name: "true", args: []string{"true"}},
		{name: "spin (500 M rounds)", args: []string{"./spin"}, bound: true},
		{name: "python3, a loop", args: []string{python, "-c", pythonLoop}, bound: true},
		{name: "awk, floating point", args: []string{"awk", awkLoop}, bound: true},
		{name: "reads (200,000)", args: []string{"./reads"}},
		{name: "forks (100)", args: []string{"./forks"}},
		{name: "Go test binary", args: []string{"./gotest.test"}},
		{name: "python3 report.py", args: []string{python, "report.py"}},
		{name: "java -version", args: []string{"java", "-version"}},
	}, nil
}

// trial is one run of everything for one program.
type trial struct {
	native, record, replay *result
	log                    int64 // bytes
}

// overhead compares a recording, and a replay, with the program alone.
func overhead(ctx context.Context, l *lab, r *report) error {
	subjects, err := l.subjects(ctx)
	if err != nil {
		return err
	}
	trials := map[string][]trial{}
	for _, s := range subjects {
		if err := l.warm(ctx, s.args...); err != nil {
			return err
		}
	}
	// One of each in turn: what else the machine does then falls on all of them.
	for n := range l.times(5, 2) {
		for _, s := range subjects {
			t, err := l.try(ctx, s)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			trials[s.name] = append(trials[s.name], t)
		}
		l.say(fmt.Sprintf("  round %d done", n+1))
	}
	var rows, where [][]string
	for _, s := range subjects {
		m := mid(trials[s.name])
		if s.name == "true" {
			r.bar("fixed cost of a recording, CPU", "≤ 0.5 s", seconds(m.record)+" s", m.record <= 500*time.Millisecond)
			r.bar("fixed cost of a recording, wall", "≤ 1 s", seconds(m.wall)+" s", m.wall <= time.Second)
			r.bar("log of `true`", "≤ 20 KB", kb(m.log), m.log <= 20_000)
		}
		if s.bound {
			x := ratio(m.record, m.native)
			r.bar("recording of CPU-bound code: "+s.name, "≤ 6 × native", times(x), x <= 6)
		}
		x := ratio(m.replay, m.record)
		r.bar("replay: "+s.name, "≤ 1.2 × record", times(x), x <= 1.2)
		rows = append(rows, []string{s.name, seconds(m.native), seconds(m.record), times(ratio(m.record, m.native)), times(ratio(m.guest, m.native)),
			seconds(m.wall), seconds(m.replay), times(x), kb(m.log), kb(int64(float64(m.log) / m.guest.Seconds()))})
		where = append(where, []string{s.name, seconds(m.program), seconds(m.pack), seconds(m.own), seconds(m.guest), seconds(m.record),
			seconds(m.replayOwn), seconds(m.replayGuest)})
	}
	r.section("Cost of a recording and of its replay", []string{"program", "native CPU s", "record CPU s", "record / native", "guest alone / native",
		"record wall s", "replay CPU s", "replay / record", "log", "log per CPU-second"}, rows,
		fmt.Sprintf("Medians of %d runs, each of the whole command with all its children; the boot snapshot is cached. \"Guest alone\" leaves out what", l.times(5, 2)),
		"comes before and after the guest. The log's rate is per second of the guest's CPU time.")
	r.section("Where the CPU time goes", []string{"program", "native run", "mkfs", "tapedeck", "guest", "record in all", "replay: tapedeck", "replay: guest"}, where,
		"CPU seconds of each process, read every 4 ms; the native run is what is left of the whole command.")
	return nil
}

// try runs a program alone, records it and replays that recording.
func (l *lab) try(ctx context.Context, s subject) (t trial, err error) {
	out := l.path("overhead.tar.zst")
	defer os.Remove(out)
	if t.native, err = l.run(ctx, command{args: s.args, any: true}); err != nil {
		return t, err
	}
	code := t.native.code
	if t.record, err = l.run(ctx, command{args: l.record(out, nil, s.args...), watch: true, codes: []int{code}}); err != nil {
		return t, err
	}
	if t.replay, err = l.run(ctx, command{args: []string{l.tapedeck, "replay", "-q", out}, watch: true}); err != nil {
		return t, err
	}
	b, err := bundle.Open(out)
	if err != nil {
		return t, err
	}
	defer b.Close()
	for _, f := range b.Files() {
		if filepath.Base(f.Path) == "replay.log" {
			t.log = f.Size
		}
	}
	return t, nil
}

// middle holds the medians of a program's trials.
type middle struct {
	native, record, wall, replay time.Duration
	program, pack, own, guest    time.Duration
	replayOwn, replayGuest       time.Duration
	log                          int64
}

func mid(list []trial) middle {
	d := func(number func(trial) time.Duration) time.Duration { return of(list, number) }
	return middle{
		native:      d(func(t trial) time.Duration { return t.native.cpu() }),
		record:      d(func(t trial) time.Duration { return t.record.cpu() }),
		wall:        d(func(t trial) time.Duration { return t.record.wall }),
		replay:      d(func(t trial) time.Duration { return t.replay.cpu() }),
		program:     d(func(t trial) time.Duration { return t.record.program() }),
		pack:        d(func(t trial) time.Duration { return t.record.parts.pack }),
		own:         d(func(t trial) time.Duration { return t.record.parts.tapedeck }),
		guest:       d(func(t trial) time.Duration { return t.record.parts.guest }),
		replayOwn:   d(func(t trial) time.Duration { return t.replay.parts.tapedeck }),
		replayGuest: d(func(t trial) time.Duration { return t.replay.parts.guest }),
		log:         of(list, func(t trial) int64 { return t.log }),
	}
}

func kb(n int64) string { return fmt.Sprintf("%.1f KB", float64(n)/1000) }
