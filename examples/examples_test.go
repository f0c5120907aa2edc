// Package examples_test builds the example programs, and those under testdata,
// and checks that they pass and fail as they say.
package examples_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An outcome is how a run ended. Hangs stands beside the exit codes of a
// shell: 128 plus the number of the signal for a run that a signal ended.
type outcome struct {
	code int
	text string // standard output and standard error
}

const hangs = -1

const (
	sigABRT = 128 + int(syscall.SIGABRT)
	sigSEGV = 128 + int(syscall.SIGSEGV)
)

// run runs a program in its own folder, for at most limit.
func run(t *testing.T, limit time.Duration, env []string, name string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = time.Second
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	err := cmd.Run()
	if ctx.Err() != nil {
		return outcome{hangs, text.String()}
	}
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return outcome{128 + int(status.Signal()), text.String()}
	}
	return outcome{status.ExitStatus(), text.String()}
}

// build runs a build command in folder and fails the test if it fails.
func build(t *testing.T, folder string, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// need fails the test when a program to build or run with is not installed.
func need(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("need %s: %v (make test installs it)", name, err)
		}
	}
}

// TestExamples runs every example until it passes. A run that does not must
// end as the example's README says.
func TestExamples(t *testing.T) {
	dir := t.TempDir()
	script, err := filepath.Abs("event-order/event_order.py")
	if err != nil {
		t.Fatal(err)
	}
	for _, example := range []struct {
		name    string
		needs   string
		build   []string
		run     []string
		passes  string
		code    int
		message string
	}{
		{
			name: "session-cache", needs: "make",
			build:  []string{"make", "BIN=" + filepath.Join(dir, "session-cache")},
			run:    []string{filepath.Join(dir, "session-cache")},
			passes: "all sessions are consistent",
			code:   sigABRT, message: "which is no state",
		},
		{
			name: "order-counter", needs: "go",
			build:  []string{"go", "build", "-o", dir + "/"},
			run:    []string{filepath.Join(dir, "order-counter")},
			passes: "every one has its number",
			code:   1, message: "but the counter stands at",
		},
		{
			name: "event-order", needs: "python3",
			run:    []string{"python3", script},
			passes: "orders went through",
			code:   1, message: "but was not yet",
		},
	} {
		t.Run(example.name, func(t *testing.T) {
			t.Parallel()
			need(t, example.needs)
			if example.build != nil {
				build(t, example.name, example.build...)
			}
			for range 20 {
				got := run(t, 10*time.Second, nil, example.run[0], example.run[1:]...)
				if got.code == 0 && strings.Contains(got.text, example.passes) {
					return
				}
				if got.code != example.code || !strings.Contains(got.text, example.message) {
					t.Fatalf("exit code %d, %q: neither passes nor fails as documented", got.code, got.text)
				}
			}
			t.Error("never passed in 20 runs")
		})
	}
}

// TestChaosPrograms shows that every bug is real: with its window held open the
// program fails as it says. As it is, it passes.
func TestChaosPrograms(t *testing.T) {
	need(t, "gcc", "go")
	dir := t.TempDir()
	build(t, "../testdata/chaos", "./build.sh", dir)
	for _, p := range []struct {
		name    string
		code    int
		message string
	}{
		{"aba", 1, "has two owners"},
		{"balance", 1, "account 2 holds"},
		{"deadlock", hangs, ""},
		{"doubleclose", 2, "close of closed channel"},
		{"ledger", 1, "the ledger has"},
		{"loadstore", 1, "hits and"},
		{"publish", sigSEGV, ""},
		{"refcount", sigABRT, "double free"},
		{"reserve", 1, "stock of nut is -1"},
		{"wakeup", hangs, ""},
	} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			plain := filepath.Join(dir, p.name)
			held, env := plain+".prove", []string(nil)
			if _, err := os.Stat(held); err != nil {
				held, env = plain, []string{"PROVE=1"}
			}
			try := func(code int, message, program string, env []string) {
				t.Helper()
				var got outcome
				for range 10 {
					got = run(t, 2*time.Second, env, program)
					if got.code == code && strings.Contains(got.text, message) {
						return
					}
				}
				t.Errorf("%s: not once in 10 runs exit code %d with %q; last: %d, %q",
					filepath.Base(program), code, message, got.code, got.text)
			}
			try(p.code, p.message, held, env)
			try(0, "", plain, nil)
		})
	}
}

// TestPrograms builds the programs to record, as far as this machine can, and
// checks how they end.
func TestPrograms(t *testing.T) {
	dir := t.TempDir()
	build(t, "../testdata/programs", "./build.sh", "-k", dir)
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, p := range []struct {
		run  []string
		want []int
		text string
	}{
		{[]string{in("race")}, []int{0, 42}, "counter="},
		{[]string{in("sharedlib")}, []int{sigSEGV}, "washer: 7\n"},
		{[]string{in("throw")}, []int{sigABRT}, "refused: ada has too little\n"},
		{[]string{in("panic")}, []int{101}, "the sum does not fit"},
		{[]string{in("gostatic"), "an argument"}, []int{3}, "[an argument]"},
		{[]string{in("gocgo")}, []int{0}, "[1 3 3 5 9]"},
		{[]string{in("gotest.test")}, []int{0}, "PASS"},
		{[]string{"python3", in("report.py")}, []int{5}, "A-2 dc8d7a2780b1\n"},
		{[]string{"node", in("timers.js")}, []int{1}, "no handler for this"},
		{[]string{"java", "-cp", dir, "Threads"}, []int{0, 7}, "orders="},
		{[]string{in("forks")}, []int{0}, "children=100 sum=4950\n"},
		{[]string{in("reads")}, []int{0}, "sum="},
		{[]string{in("spin"), "1000"}, []int{0}, "x="},
		{[]string{in("hang")}, []int{hangs}, "waiting\n"},
		{[]string{in("surroundings"), "x"}, []int{0}, "arg x\n"},
		{[]string{in("streams")}, []int{9}, "raw\x00\xff\n"},
		{[]string{in("segv")}, []int{sigSEGV}, "node 2 is 3\n"},
	} {
		name := filepath.Base(p.run[0])
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			need(t, p.run[0])
			limit := 30 * time.Second
			if p.want[0] == hangs {
				limit = time.Second
			}
			got := run(t, limit, nil, p.run[0], p.run[1:]...)
			ok := false
			for _, code := range p.want {
				ok = ok || got.code == code
			}
			if !ok || !strings.Contains(got.text, p.text) {
				t.Errorf("exit code %d, %q; want %v with %q", got.code, got.text, p.want, p.text)
			}
		})
	}
}
