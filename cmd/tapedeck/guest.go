package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"github.com/tapedeck-dev/tapedeck/internal/record"
	vmrec "github.com/tapedeck-dev/tapedeck/internal/record/vm"
	"github.com/tapedeck-dev/tapedeck/internal/replay"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/seal"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
	"github.com/tapedeck-dev/tapedeck/internal/watch"
)

// A guestRun is a replay of recorded inputs that the vm recorder recorded: the
// program in the guest is this one, and replays there as it does here.
type guestRun struct {
	rec   *record.Recording
	job   record.Job
	dev   *recorder
	close func()
}

// guestMemory is what the replay needs beside its program, in bytes: itself, the
// stages of its sandbox, and the files of both in the guest's cache.
const guestMemory = 256 << 20

// recordInGuest replays t here, to see which files the program uses, and then in
// the guest.
func recordInGuest(ctx context.Context, o replayOptions, t *replay.Inputs, opt replay.InputsOptions, shown *scrub.Scrubber, out, errs io.Writer, term *ui.Term) (_ *guestRun, err error) {
	dir, err := os.MkdirTemp("", "tapedeck-guest-")
	if err != nil {
		return nil, err
	}
	run := &guestRun{close: func() { os.RemoveAll(dir) }}
	defer func() {
		if err != nil {
			run.close()
		}
	}()
	term.Say("replaying here once, to see which files the program uses")
	here, known, err := watchReplay(ctx, t, opt, shown)
	if err != nil {
		return nil, err
	}
	copied, told := filepath.Join(dir, "inputs.tar.zst"), filepath.Join(dir, "guest.json")
	if err := t.Copy(copied); err != nil {
		return nil, err
	}
	if err := writeGuestOrders(told, known); err != nil {
		return nil, err
	}
	include := []string{copied, told}
	for _, path := range o.vm.include {
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		include = append(include, abs)
	}
	if len(o.private.rules) == 1 && isRuleFile(o.private.rules[0]) {
		if o.private.rules[0], err = filepath.Abs(o.private.rules[0]); err != nil {
			return nil, err
		}
		include = append(include, o.private.rules[0])
	}
	if o.fields != nil { // it was taken out of the rules
		if o.fields.File, err = filepath.Abs(o.fields.File); err != nil {
			return nil, err
		}
		include = append(include, o.fields.File)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	run.job = record.Job{Args: guestCommand(self, o, opt, told, copied), Dir: dir, Env: []string{"TAPEDECK_CACHE=" + dir}}
	if opt.Command != nil {
		run.job.Dir = opt.Dir
	}
	// What this program itself needs to run: its libraries, if it has any.
	own, err := watch.Run(ctx, watch.Program{Path: self, Args: []string{"tapedeck", "version"}, Env: run.job.Env, Dir: dir, Stdout: io.Discard, Stderr: io.Discard})
	if err != nil {
		return nil, err
	}
	seen, used := here.seen, here.used()
	seen.MaxRSS += guestMemory
	seen.Merge(own)
	taken := below(append(include, self))
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	v, err := vmrec.Prepare(ctx, run.job, vmrec.Options{Cache: cache, Memory: o.vm.memory, Include: include, Seen: seen,
		Only:  func(path string) bool { return here.visible(path) || taken(path) },
		Inner: guestProcess, Say: term.Say, Stdout: out, Stderr: errs})
	if err != nil {
		return nil, err
	}
	run.close = func() { v.Close(); os.RemoveAll(dir) }
	run.dev = &recorder{kind: "vm", shared: sharedOf(v, o.vm)}
	if run.rec, err = v.Record(ctx, rand.Uint64()>>12); err != nil {
		return nil, err
	}
	run.rec.Program = record.Program{Path: t.Program, Uses: used}
	run.rec.Manifest["inputs_of"] = t.Manifest.BundleID
	return run, nil
}

// guestCommand is the command line of the replay in the guest.
func guestCommand(self string, o replayOptions, opt replay.InputsOptions, told, bundle string) []string {
	args := []string{self, "replay", "--guest", told, "--order", opt.Mode.String(), "--stall", o.stall.String(), "--times", strconv.Itoa(o.times)}
	for _, f := range []struct {
		flag string
		on   bool
	}{{"--weak", o.weak}, {"--quiet", o.quiet}, {"--json", o.json}, {"--unscrubbed", o.unscrubbed}, {"--lenient", o.lenient}} {
		if f.on {
			args = append(args, f.flag)
		}
	}
	for _, f := range []struct {
		flag   string
		values []string
	}{{"--what-if", o.whatIf}, {"--show", o.show}, {"--env", opt.Env}, {"--rules", o.private.rules}} {
		for _, v := range f.values {
			args = append(args, f.flag, v)
		}
	}
	if o.fields != nil {
		args = append(args, "--rules", o.fields.File)
	}
	args = append(args, bundle)
	if opt.Command != nil {
		args = append(append(args, "--"), opt.Command...)
	}
	return args
}

// replayInGuest is "replay --in vm".
func replayInGuest(ctx context.Context, o replayOptions, t *replay.Inputs, opt replay.InputsOptions, shown *scrub.Scrubber, term *ui.Term) error {
	var g *guard
	if o.out != "" {
		s, err := sealer(ctx, o.seal)
		if err != nil {
			return err
		}
		rules := o.private
		if rules.salt == "" {
			rules.salt = seal.DefaultSalt
		}
		if g, err = newGuard(ctx, rules, s); err != nil {
			return err
		}
	}
	r, err := recordInGuest(ctx, o, t, opt, shown, term.Out, term.Err, term)
	if err != nil {
		return err
	}
	defer r.close()
	for _, w := range r.rec.Warnings {
		term.Say("warning: " + cleanText(shown, w))
	}
	if g != nil {
		size, err := pack(ctx, o.out, r.job, r.rec, r.dev, g)
		if err != nil {
			return err
		}
		term.Say(fmt.Sprintf("%s: %s, recorded with vm", o.out, ui.Bytes(size)))
	}
	if code := r.rec.Outcome.Code; code != 0 {
		return &codeError{code: code}
	}
	return nil
}
