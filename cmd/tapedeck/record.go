package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/tapedeck-dev/tapedeck/internal/record"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
	"github.com/tapedeck-dev/tapedeck/internal/vm"
)

type recordOptions struct {
	recorder  string
	inputs    bool
	out       string
	untilFail int
	jobs      int
	chaos     bool
	failOn    string
	timeout   time.Duration
	env       []string
	seed      uint64
	stdin     string
	keys      []string
	private   ruleFlags
	vm        vmOptions

	failOnExpr *regexp.Regexp // failOn, compiled
}

// vmOptions are the flags that only the vm recorder has.
type vmOptions struct {
	memory  int
	include []string
	rootfs  string
	thin    bool
}

// asked tells whether a flag was given that only the vm recorder has.
func (o vmOptions) asked() bool {
	return o.memory != 0 || len(o.include) > 0 || o.rootfs != "" || o.thin
}

func newRecordCommand() *cobra.Command {
	var o recordOptions
	c := &cobra.Command{
		Use:   "record [flags] -- COMMAND [ARG...]",
		Short: "Record a run of a program into a bundle",
		Long: `Record runs COMMAND and writes a bundle from which that very run can be
replayed. With --until-fail it runs it again and again and keeps the first run
that fails: by its exit code, by a signal, by --timeout, or by --fail-on.

The vm recorder first runs the program once natively, to see which files it
uses; what that run does to the outside world, it does. Variables that look
like secrets are held back from the program unless --env names them.

With --inputs the program runs natively, in a network of its own, with all its
variables, and reaches its servers through a recording proxy: HTTP, DNS and
other TCP connections, in their order. What is recorded is scrubbed before it
reaches a disk. With --inputs --recorder vm what was recorded is then replayed in
the guest, and the bundle has that run, too, instruction by instruction.

An interrupt (Ctrl-C) ends the attempts of --until-fail. In the guest it ends
the recorded run, and what was recorded until then is kept; the second one
abandons it.`,
		Example: `  tapedeck record -- ./server --selftest
  tapedeck record --until-fail 500 -j 2 -o flaky.tar.zst -- ./order_test
  tapedeck record --timeout 10s --chaos --until-fail 200 -- go test -run TestPool ./pool
  tapedeck record --inputs -o checkout.tar.zst -- ./checkout --order 17
  tapedeck record --fail-on 'DATA RACE' --env API_URL=http://localhost -- ./client

Exit codes:
  the program's own (128+n for signal n, 124 for --timeout); with --until-fail
  that of the failing run, or 0 if none failed
  130  interrupted
  125  tapedeck itself failed   126  COMMAND can't be run   127  COMMAND not found`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &codeError{exitOwn, errors.New("need a command to record: tapedeck record [flags] -- COMMAND [ARG...]")}
			}
			return runRecord(c.Context(), o, args, ui.New(c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	// Any other code could be taken for the program's own.
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &codeError{exitOwn, fmt.Errorf("%w (see %s --help)", err, c.CommandPath())}
	})
	f := c.Flags()
	f.SetInterspersed(false)
	f.StringVar(&o.recorder, "recorder", "auto", "recorder: auto, rr or vm")
	f.BoolVar(&o.inputs, "inputs", false, "record what the program gets over the network, and instructions only with --recorder vm: see docs/cassettes.md")
	f.StringVarP(&o.out, "out", "o", "", "bundle to write (default COMMAND-DATE.tar.zst)")
	f.IntVar(&o.untilFail, "until-fail", 0, "try up to `N` times, keep the first run that fails")
	f.IntVarP(&o.jobs, "jobs", "j", runtime.NumCPU(), "attempts at the same time, with --until-fail")
	f.BoolVar(&o.chaos, "chaos", false, "perturb the schedule, so that rare interleavings happen")
	f.StringVar(&o.failOn, "fail-on", "", "output that matches this `REGEXP` is a failure too")
	f.DurationVar(&o.timeout, "timeout", 0, "end the program after this long, by its own clock, as a failure")
	f.StringArrayVar(&o.env, "env", nil, "let variable `NAME` through, or set NAME=VALUE; repeatable")
	f.Uint64Var(&o.seed, "seed", 0, "seed of the first attempt (default: drawn)")
	f.StringVar(&o.stdin, "stdin", "", "`FILE` to give the program as standard input")
	o.private.add(f)
	f.StringArrayVar(&o.keys, "key", nil, "encrypt the recording for this key `REF`, see tapedeck key --help (default $TAPEDECK_KEY); repeatable")
	f.IntVar(&o.vm.memory, "memory", 0, "`MIB` of the guest's memory (vm; default: by what a native run uses)")
	f.StringArrayVar(&o.vm.include, "include", nil, "file or directory that the program needs besides those seen (vm); repeatable")
	f.StringVar(&o.vm.rootfs, "rootfs", "", "unpacked image `DIR` to run the program in (vm)")
	f.BoolVar(&o.vm.thin, "thin", false, "leave the boot snapshot out of the bundle and refer to the cache (vm)")
	return c
}

func runRecord(ctx context.Context, o recordOptions, args []string, term *ui.Term) error {
	job, err := o.job(args, term)
	if err != nil {
		return &codeError{exitOwn, err}
	}
	if o.failOnExpr, err = compile(o.failOn); err != nil {
		return &codeError{exitOwn, err}
	}
	if o.out == "" {
		o.out = fmt.Sprintf("%s-%s.tar.zst", filepath.Base(args[0]), time.Now().UTC().Format("20060102-150405"))
	}
	if err := o.check(); err != nil {
		return &codeError{exitOwn, err}
	}
	if o.vm.rootfs == "" {
		if err := runnable(args[0]); err != nil {
			return err
		}
	}
	s, err := sealer(ctx, keyRefs(o.keys))
	if err != nil {
		return ownCode(err)
	}
	g, err := newGuard(ctx, o.private, s)
	if err != nil {
		return ownCode(err)
	}
	dev, err := chooseRecorder(ctx, o, job, g, term)
	if err != nil {
		return ownCode(err)
	}
	defer dev.close()
	if o.seed == 0 {
		o.seed = rand.Uint64() >> 12 // a number that is exact in JSON, too
	}
	again, done := secondInterrupt(ctx)
	defer done()
	run := ctx
	if dev.cuts {
		run = again
	}
	rec, err := attempts(run, o, dev, g, term)
	if err != nil {
		return ownCode(err)
	}
	if rec == nil {
		return nil
	}
	defer rec.Close()
	if ctx.Err() != nil { // what was kept is still to be packed
		ctx = again
	}
	if o.inputs && o.recorder == "vm" && rec.Outcome.Cut { // whoever ended it does not want to wait
		term.Say("cut off, so the bundle has the inputs alone; tapedeck replay --in vm -o OUT " + o.out + " records their replay")
	} else if o.inputs && o.recorder == "vm" {
		discard, err := addGuest(ctx, o, job, rec, dev, g, term)
		defer discard()
		if err != nil { // what was recorded live can't be had again
			rec.Warnings = append(rec.Warnings, "the inputs were not replayed in the guest, and the bundle has them alone: "+err.Error())
		}
	}
	if o.untilFail > 0 { // else it came as the program wrote it
		term.Output(rec.Stdout, rec.Stderr)
	}
	for _, w := range rec.Warnings {
		term.Say("warning: " + g.text(w)) // it may quote what the program said
	}
	size, err := pack(ctx, o.out, job, rec, dev, g)
	if err != nil && ctx.Err() == nil {
		err = keep(ctx, err, o.out, job, rec, dev, g)
	}
	if err != nil {
		return ownCode(err)
	}
	term.Say(fmt.Sprintf("%s: %s, %s, recorded with %s", o.out, ui.Bytes(size), rec.Outcome, dev.kind))
	if rec.Outcome.Failed() {
		term.Say("next: tapedeck replay " + o.out)
	}
	if rec.Outcome.Code != 0 {
		return &codeError{code: rec.Outcome.Code}
	}
	return nil
}

// job is what the flags and the surroundings say of the program to run.
func (o recordOptions) job(args []string, term *ui.Term) (record.Job, error) {
	dir, err := os.Getwd()
	if err != nil {
		return record.Job{}, err
	}
	env, held, err := record.Environment(os.Environ(), o.env)
	if err != nil {
		return record.Job{}, err
	}
	if o.inputs { // it talks to real servers, with its real keys; the recording has tokens
		env, held = withHeld(env, held), nil
	}
	if len(held) > 0 {
		term.Say("held back, as they look like secrets: " + strings.Join(held, " ") + " (--env NAME lets one through)")
	}
	stdin := o.stdin
	if stdin != "" {
		if stdin, err = filepath.Abs(stdin); err != nil {
			return record.Job{}, err
		}
	}
	return record.Job{Args: args, Dir: dir, Env: env, Stdin: stdin, Timeout: o.timeout, Chaos: o.chaos}, nil
}

// withHeld lets the variables through that would be held back.
func withHeld(env, held []string) []string {
	for _, name := range held {
		env = append(env, name+"="+os.Getenv(name))
	}
	slices.Sort(env)
	return env
}

func compile(expr string) (*regexp.Regexp, error) {
	if expr == "" {
		return nil, nil
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, fmt.Errorf("--fail-on: %w", err)
	}
	return re, nil
}

// attempts makes one recording, or as many as it takes until one fails; nil is none.
func attempts(ctx context.Context, o recordOptions, dev *recorder, g *guard, term *ui.Term) (*record.Recording, error) {
	if o.untilFail <= 0 {
		rec, err := dev.record(ctx, o.seed)
		if err == nil {
			rec.Outcome.Match(o.failOnExpr, rec.Stdout, rec.Stderr)
			rec.Outcome.Matched = g.text(rec.Outcome.Matched)
		}
		return rec, err
	}
	rec, tally, err := record.UntilFail(ctx, record.Attempts{Max: o.untilFail, Jobs: o.jobs, Seed: o.seed, FailOn: o.failOnExpr}, dev.record,
		func(t record.Tally) {
			rate := float64(t.Done) / t.Elapsed.Minutes()
			term.Progress(fmt.Sprintf("attempt %d of %d, %.0f a minute, at most %s left", t.Done, t.Max, rate, t.Left().Round(time.Second)))
		})
	term.Progress("")
	took := tally.Elapsed.Round(100 * time.Millisecond)
	if errors.Is(err, context.Canceled) {
		term.Say(fmt.Sprintf("interrupted: %d of %d attempts failed, in %s; nothing was kept", tally.Failed, tally.Done, took))
		return nil, &codeError{code: exitInterrupted}
	}
	if err != nil {
		return nil, err
	}
	if rec != nil {
		rec.Outcome.Matched = g.text(rec.Outcome.Matched)
	}
	if rec == nil {
		term.Say(fmt.Sprintf("none of %d attempts failed, in %s; nothing was kept", tally.Done, took))
		if !o.chaos {
			term.Say("hint: --chaos perturbs the schedule, so that rare interleavings happen")
		}
		return nil, nil
	}
	term.Say(fmt.Sprintf("attempt %d failed: %s (%d of %d failed, %.3g %%, in %s)", tally.Done, rec.Outcome, tally.Failed, tally.Done,
		100*float64(tally.Failed)/float64(tally.Done), took))
	rec.Manifest["attempts"], rec.Manifest["failures"] = tally.Done, tally.Failed
	return rec, nil
}

// check finds out before the run what would make its recording worthless.
func (o recordOptions) check() error {
	switch {
	case o.inputs && o.recorder == "rr":
		return errors.New("--inputs goes alone or with --recorder vm: rr and the sandbox both trace the program, and a process has one tracer")
	case o.inputs && (o.chaos || o.vm.rootfs != "" || o.recorder != "vm" && (o.recorder != "auto" || o.vm.asked())):
		return errors.New("--inputs goes alone or with --recorder vm, and without --chaos and --rootfs")
	case o.untilFail < 0:
		return fmt.Errorf("--until-fail needs a number of 1 or more, found %d", o.untilFail)
	case o.jobs < 1:
		return fmt.Errorf("--jobs needs a number of 1 or more, found %d", o.jobs)
	case o.timeout < 0:
		return fmt.Errorf("--timeout needs a time above 0, found %v", o.timeout)
	}
	dir := filepath.Dir(o.out)
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("write %s: folder %s: %w", o.out, dir, err)
	}
	if o.stdin != "" {
		if err := unix.Access(o.stdin, unix.R_OK); err != nil {
			return fmt.Errorf("--stdin: %s: %w", o.stdin, err)
		}
	}
	return nil
}

// runnable tells whether a command can be run, with the codes of env(1).
func runnable(name string) error {
	_, err := exec.LookPath(name)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return &codeError{exitNotFound, err}
	}
	return &codeError{exitNotRunnable, err}
}

// ownCode keeps tapedeck's own failures apart from the program's exit codes.
func ownCode(err error) error {
	var start *vm.StartError
	var code *codeError
	switch {
	case errors.As(err, &code):
		return err
	case errors.Is(err, context.Canceled):
		return &codeError{exitInterrupted, err}
	case errors.As(err, &start):
		return &codeError{exitNotRunnable, err}
	}
	return &codeError{exitOwn, err}
}
