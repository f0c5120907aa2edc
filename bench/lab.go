package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// lab is a temporary folder with the programs to record, and the tapedeck
// that records them.
type lab struct {
	quick    bool
	tapedeck string
	root     string // the repository
	dir      string // removed at the end
	programs string
	env      []string
}

func openLab(ctx context.Context, o options) (*lab, error) {
	if o.tapedeck == "" {
		o.tapedeck = filepath.Join(o.root, "bin", "tapedeck")
	}
	if err := absolute(&o.root, &o.tapedeck); err != nil {
		return nil, err
	}
	if _, err := os.Stat(o.tapedeck); err != nil {
		return nil, fmt.Errorf("need a built tapedeck (make bin/tapedeck): %w", err)
	}
	dir, err := os.MkdirTemp("", "tapedeck-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{quick: o.quick, tapedeck: o.tapedeck, root: o.root, dir: dir, programs: filepath.Join(dir, "programs")}
	// A recording holds its environment: the same few variables everywhere.
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "LANG", "TAPEDECK_CACHE", "XDG_CACHE_HOME"} {
		if v, ok := os.LookupEnv(name); ok {
			l.env = append(l.env, name+"="+v)
		}
	}
	l.say("compiling the programs to record")
	build := exec.CommandContext(ctx, "sh", filepath.Join(l.root, "testdata", "programs", "build.sh"), "-k", l.programs)
	if out, err := build.CombinedOutput(); err != nil {
		l.close()
		return nil, fmt.Errorf("compile the programs: %w: %s", err, out)
	}
	return l, nil
}

func (l *lab) close() { os.RemoveAll(l.dir) }

func (l *lab) say(line string) { fmt.Fprintln(os.Stderr, "bench:", line) }

// times is how often to do something: the second number with -quick.
func (l *lab) times(full, quick int) int {
	if l.quick {
		return quick
	}
	return full
}

// path is a name in the lab's folder.
func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

// command is one program to run and measure.
type command struct {
	args  []string
	watch bool // note the CPU time of each process below it
	codes []int
	any   bool // any exit code will do
}

// result is what a command did.
type result struct {
	usage
	code           int
	stdout, stderr []byte
}

const commandLimit = 10 * time.Minute

// run runs a command in the folder of the programs. Another exit code than 0,
// or those of c.codes, is an error.
func (l *lab) run(ctx context.Context, c command) (*result, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Dir, cmd.Env = l.programs, l.env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // tapedeck ends its guest, too
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var s *sampler
	if c.watch {
		s = sample(cmd.Process.Pid)
	}
	err := cmd.Wait()
	r := &result{code: cmd.ProcessState.ExitCode(), stdout: stdout.Bytes(), stderr: stderr.Bytes()}
	r.wall = time.Since(start)
	r.take(cmd.ProcessState)
	if s != nil {
		r.parts = s.stop()
	}
	if ctx.Err() != nil {
		return r, context.Cause(ctx)
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return r, err
	}
	ok := r.code == 0 || c.any
	for _, code := range c.codes {
		ok = ok || r.code == code
	}
	if !ok {
		return r, fmt.Errorf("%s: exit code %d: %s", strings.Join(c.args, " "), r.code, tail(r.stderr))
	}
	return r, nil
}

// record is the command line that records args into out.
func (l *lab) record(out string, flags []string, args ...string) []string {
	line := append([]string{l.tapedeck, "record", "--recorder", "vm", "-o", out}, flags...)
	return append(append(line, "--"), args...)
}

// warm makes the boot snapshots for a program, which are made once for all, and
// brings its files into memory.
func (l *lab) warm(ctx context.Context, args ...string) error {
	_, err := l.run(ctx, command{args: l.record(l.path("warm.tar.zst"), nil, args...), any: true})
	return err
}

func tail(b []byte) string {
	s := strings.TrimSpace(string(b))
	return s[max(0, len(s)-600):]
}
