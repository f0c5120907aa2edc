package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const jobs = 2

// rate counts how many attempts a minute --until-fail makes.
func rate(ctx context.Context, l *lab, r *report) error {
	steady, err := l.steadyCache(ctx)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, args := range [][]string{{"true"}, {"./gotest.test"}, {steady}} {
		if err := l.warm(ctx, args...); err != nil {
			return err
		}
		attempts := l.times(60, 8)
		flags := []string{"--until-fail", fmt.Sprint(attempts), "-j", fmt.Sprint(jobs)}
		res, err := l.run(ctx, command{args: l.record(l.path("rate.tar.zst"), flags, args...)})
		if err != nil {
			return err
		}
		if want := fmt.Sprintf("none of %d attempts failed", attempts); !strings.Contains(string(res.stderr), want) {
			return fmt.Errorf("%s: want %q, found %s", args[0], want, tail(res.stderr))
		}
		rows = append(rows, []string{filepath.Base(args[0]), fmt.Sprint(attempts), seconds(res.wall), fmt.Sprintf("%.0f", float64(attempts)/res.wall.Minutes()),
			seconds(res.cpu() / time.Duration(attempts))})
	}
	r.section("Attempts a minute: `record --until-fail N -j 2`", []string{"program", "attempts", "wall s", "a minute", "CPU s each"}, rows,
		"The whole command, with the native run and the packing of the program's files that all attempts share.")
	return nil
}

// steadyCache compiles the example session-cache with one worker that does the
// work of four: the same program without its bug.
func (l *lab) steadyCache(ctx context.Context) (string, error) {
	text, err := os.ReadFile(filepath.Join(l.root, "examples", "session-cache", "session_cache.c"))
	if err != nil {
		return "", err
	}
	const four, one = "WORKERS = 4, REQUESTS = 10000,", "WORKERS = 1, REQUESTS = 40000,"
	if !strings.Contains(string(text), four) {
		return "", fmt.Errorf("session_cache.c has no %q any more", four)
	}
	src, exe := l.path("steady.c"), filepath.Join(l.programs, "session-cache-steady")
	if err := os.WriteFile(src, []byte(strings.Replace(string(text), four, one, 1)), 0o644); err != nil {
		return "", err
	}
	_, err = l.run(ctx, command{args: []string{"gcc", "-O1", "-g", "-pthread", "-o", exe, src}})
	return exe, err
}
