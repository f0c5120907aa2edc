package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

var corruptState = regexp.MustCompile(`session-cache: (sessions\[\d+\]\.state) is 0x`)

// rewind times the way from a failure back to its cause: the example
// session-cache, whose README tells what is to be found.
func rewind(ctx context.Context, l *lab, r *report) error {
	exe := filepath.Join(l.programs, "session-cache")
	src := filepath.Join(l.root, "examples", "session-cache", "session_cache.c")
	if _, err := l.run(ctx, command{args: []string{"gcc", "-O1", "-g", "-pthread", "-o", exe, src}}); err != nil {
		return err
	}
	var rows [][]string
	var last, step []time.Duration
	for n := range l.times(3, 1) {
		out := l.path(fmt.Sprintf("rewind%d.tar.zst", n))
		t0 := time.Now()
		expr, err := l.failing(ctx, out, exe)
		if err != nil {
			return err
		}
		search := time.Since(t0)
		var lasts, ones, threes, fulls []time.Duration
		for range l.times(3, 1) {
			for _, c := range []struct {
				flags []string
				to    *[]time.Duration
			}{
				{nil, &fulls},
				{[]string{"--last-write", expr}, &lasts},
				{[]string{"--writes", expr, "-n", "1"}, &ones},
				{[]string{"--writes", expr, "-n", "3"}, &threes},
			} {
				res, err := l.run(ctx, command{args: append(append([]string{l.tapedeck, "rewind", "--json"}, c.flags...), out)})
				if err != nil {
					return err
				}
				*c.to = append(*c.to, res.wall)
			}
		}
		os.Remove(out)
		last = append(last, median(lasts))
		step = append(step, (median(threes)-median(ones))/2)
		rows = append(rows, []string{fmt.Sprint(n + 1), seconds(search), seconds(median(fulls)), seconds(median(lasts)), seconds(median(ones)), seconds(median(threes)),
			seconds(step[len(step)-1])})
	}
	r.bar("from the failure to the last write", "≤ 5 s", seconds(median(last))+" s", median(last) <= 5*time.Second)
	r.bar("each further step back", "≤ 2 s", seconds(median(step))+" s", median(step) <= 2*time.Second)
	r.section("Rewinding session-cache, wall seconds", []string{"failure", "search for it, `--until-fail`", "`rewind`: to the failure", "`--last-write`",
		"`--writes -n 1`", "`--writes -n 3`", "each further step"}, rows, "Whole commands, the unpacking of the bundle and the start of gdb with them.")
	return nil
}

// failing records until the example finds its own corruption, and returns the
// expression that its message names.
func (l *lab) failing(ctx context.Context, out, exe string) (string, error) {
	for range 5 {
		res, err := l.run(ctx, command{args: l.record(out, []string{"--until-fail", "500", "-j", fmt.Sprint(jobs)}, exe), any: true})
		if err != nil {
			return "", err
		}
		if m := corruptState.FindSubmatch(res.stderr); m != nil && res.code == 134 {
			return string(m[1]), nil
		}
		l.say(fmt.Sprintf("  another end than the one that is wanted: exit code %d: %s", res.code, tail(res.stderr)))
	}
	return "", errors.New("session-cache did not fail as its README says")
}
