package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

// seldom are the programs of testdata/chaos.
var seldom = []string{"aba", "balance", "deadlock", "ledger", "publish", "refcount", "wakeup", "doubleclose", "loadstore", "reserve"}

var attemptFailed = regexp.MustCompile(`attempt (\d+) failed: (.*) \(\d+ of \d+ failed`)

const (
	chaosAttempts = 200
	hangs         = 2 * time.Second // a plain run that takes longer
)

// chaos looks for bugs that plain runs hardly ever show.
func chaos(ctx context.Context, l *lab, r *report) error {
	dir := l.path("chaos")
	if _, err := l.run(ctx, command{args: []string{"sh", filepath.Join(l.root, "testdata", "chaos", "build.sh"), dir}}); err != nil {
		return err
	}
	var rows [][]string
	found, replayed := 0, 0
	for _, name := range seldom {
		exe := filepath.Join(dir, name)
		plain := l.times(200, 20)
		failed, err := l.failures(ctx, exe, plain)
		if err != nil {
			return err
		}
		t, err := l.hunt(ctx, exe)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		row := []string{name, fmt.Sprintf("%d of %d", failed, plain), "none failed", "", seconds(t.wall), ""}
		if t.attempt != "" {
			found++
			row[2], row[3], row[5] = t.attempt, t.outcome, "DIVERGED"
			if t.same {
				replayed++
				row[5] = "identical"
			}
		}
		rows = append(rows, row)
		l.say(fmt.Sprintf("  %s: %s %s", name, row[2], row[3]))
	}
	r.bar(fmt.Sprintf("bugs that fail within %d attempts with --chaos", chaosAttempts), "8 of 10", fmt.Sprintf("%d of %d", found, len(seldom)), found >= 8)
	r.bar("their recordings replay to the same failure", "all", fmt.Sprintf("%d of %d", replayed, found), replayed == found)
	r.section(fmt.Sprintf("Rare bugs: `record --chaos --until-fail %d -j %d`", chaosAttempts, jobs),
		[]string{"program", "plain runs that fail", "first failing attempt", "outcome", "wall s", "replay"}, rows,
		"What the bugs are: [testdata/chaos](../testdata/chaos/README.md).")
	return nil
}

// failures runs a program natively n times.
func (l *lab) failures(ctx context.Context, exe string, n int) (int, error) {
	failed := 0
	for range n {
		run, cancel := context.WithTimeout(ctx, hangs)
		err := exec.CommandContext(run, exe).Run()
		cancel()
		if ctx.Err() != nil {
			return failed, context.Cause(ctx)
		}
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			failed++
		} else if err != nil {
			return failed, err
		}
	}
	return failed, nil
}

type hunted struct {
	attempt, outcome string // of the failure; "" if there was none
	same             bool   // its replay
	wall             time.Duration
}

// hunt records a program until it fails, and replays the failure.
func (l *lab) hunt(ctx context.Context, exe string) (h hunted, err error) {
	out := l.path("chaos.tar.zst")
	defer os.Remove(out)
	flags := []string{"--chaos", "--until-fail", fmt.Sprint(chaosAttempts), "-j", fmt.Sprint(jobs), "--timeout", "5s"}
	rec, err := l.run(ctx, command{args: l.record(out, flags, exe), any: true})
	if err != nil {
		return h, err
	}
	h.wall = rec.wall
	m := attemptFailed.FindSubmatch(rec.stderr)
	switch {
	case m != nil:
		h.attempt, h.outcome = string(m[1]), string(m[2])
	case rec.code == 0:
		return h, nil
	default:
		return h, fmt.Errorf("exit code %d: %s", rec.code, tail(rec.stderr))
	}
	rep, err := l.run(ctx, command{args: []string{l.tapedeck, "replay", out}, any: true})
	if err != nil {
		return h, err
	}
	h.same = rep.code == 0 && bytes.Equal(rec.stdout, rep.stdout)
	return h, nil
}
