package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/internal/replay"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
	"github.com/tapedeck-dev/tapedeck/internal/volatile"
)

type replayOptions struct {
	keyFlags
	times   int
	order   string
	ordered bool // the order was asked for
	whatIf  []string
	stall   time.Duration
	show    []string
	weak    bool
	env     []string
	quiet   bool
	json    bool
	in      string // where inputs are replayed; "" leaves it to the bundle
	out     string
	seal    []string
	guest   string // told to a replay in the guest: see guest.go
	vm      vmOptions
	lenient bool
	fields  *volatile.Rules // of --rules: those of requests that differ from run to run
	outputFlags
}

func newReplayCommand() *cobra.Command {
	var o replayOptions
	c := &cobra.Command{
		Use:   "replay [flags] BUNDLE [-- COMMAND [ARG...]]",
		Short: "Run a recording again and compare it with what was recorded",
		Long: `Replay checks the digest of everything in the bundle, runs the recording again,
and compares what it printed, when, how it ended, and how many instructions it
executed. It has no network and writes only to its own temporary directory. What
it prints here is scrubbed; it is compared as it is.

Recorded inputs are replayed by running the program natively in a sandbox without
a network: what it asks is answered from the recording, and from nothing else.
COMMAND runs another build, or a test, against the same recording. A request that
was not recorded gets HTTP status 599 and is reported with the nearest recorded
one; --order total (the default) holds each answer back until everything that was
recorded before it has happened, session until everything on the same recorded
connection has, any not at all.

A --rules file with a list "volatile" declares fields of requests that differ from
run to run, and are not compared (tapedeck nondet proposes one). --lenient answers
what was not recorded with the nearest recorded answer; the replay has diverged
all the same, and the verdict tells each of them.

With --in vm that replay runs in the guest of the vm recorder and is recorded
there: what a replay of inputs does not repeat by itself, such as how threads
interleave, is then the same each time the bundle that --out writes is replayed.
With --in sandbox the inputs are replayed even if the bundle has instructions, too.`,
		Example: `  tapedeck replay flaky.tar.zst
  tapedeck replay --times 5 --quiet flaky.tar.zst
  tapedeck replay checkout.tar.zst -- ./checkout-patched --order 17
  tapedeck replay --what-if 'http:17 status 503' checkout.tar.zst
  tapedeck replay --in vm -o exact.tar.zst checkout.tar.zst
  tapedeck replay --rules volatile.yaml checkout.tar.zst -- ./checkout-patched

Exit codes:
  0  identical   3  it diverged   10  no such bundle   11  damaged
  12  newer version   13  encrypted, and no key   14  a tool is missing`,
		Args: bundleAndCommand,
		RunE: func(c *cobra.Command, args []string) error {
			o.ordered = c.Flags().Changed("order")
			return runReplay(c.Context(), o, args[0], args[1:], ui.New(c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	o.keyFlags.add(c)
	f := c.Flags()
	f.IntVar(&o.times, "times", 1, "replay `N` times")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not print what the program printed")
	f.BoolVar(&o.json, "json", false, "print the result as JSON, one object for each replay")
	f.StringVar(&o.order, "order", "total", "how much of the recorded order of inputs to keep: total, session or any (imported ones: any)")
	f.StringArrayVar(&o.whatIf, "what-if", nil, "change one answer: `'http:17 timeout'`, reset, slow 2s, status 503; repeatable")
	f.DurationVar(&o.stall, "stall", defaultStall, "without progress for so long, a held back answer is a divergence")
	f.BoolVar(&o.lenient, "lenient", false, "answer requests that were not recorded with what is nearest; never exact")
	f.BoolVar(&o.weak, "weak", false, "where this machine forbids a part of the sandbox, do without it; the verdict says so")
	f.StringArrayVar(&o.show, "show", nil, "`PATH` that the program may read in the sandbox; repeatable")
	f.StringArrayVar(&o.env, "env", nil, "set `NAME=VALUE` for the program, instead of what was recorded; repeatable")
	f.StringVar(&o.in, "in", "", "replay recorded inputs in this `PLACE`: sandbox, or vm to record that, too")
	f.StringVarP(&o.out, "out", "o", "", "bundle to write, of the replay that --in vm recorded")
	f.StringArrayVar(&o.seal, "seal", nil, "encrypt what --out writes for this key `REF`; repeatable")
	f.IntVar(&o.vm.memory, "memory", 0, "`MIB` of the guest's memory (--in vm; default: by what a replay here uses)")
	f.StringArrayVar(&o.vm.include, "include", nil, "file or directory that the program needs besides those seen (--in vm); repeatable")
	f.BoolVar(&o.vm.thin, "thin", false, "leave the boot snapshot out of what --out writes")
	f.StringVar(&o.guest, "guest", "", "what a replay in the guest is told")
	_ = f.MarkHidden("guest") // only a misspelt name fails
	o.outputFlags.add(f)
	f.Lookup("rules").Usage = "what is private: a rule `SET` (" + strings.Join(scrub.BuiltinNames(), ", ") +
		") or a rule file; or a file that declares volatile fields of requests; repeatable (default " + strings.Join(scrub.Defaults(), ", ") + ")"
	return c
}

// defaultStall is long for a program, and short for who waits.
const defaultStall = 10 * time.Second

// check finds flags that can't be meant together.
func (o *replayOptions) check() error {
	switch {
	case o.times < 1:
		return usageError("--times needs a number of 1 or more, found %d", o.times)
	case o.in != "" && o.in != "sandbox" && o.in != "vm":
		return usageError("--in: need sandbox or vm, found %q", o.in)
	case o.in != "vm" && (o.out != "" || o.vm.asked()):
		return usageError("--out, --memory, --include and --thin are for --in vm")
	case o.out == "" && len(o.seal) > 0:
		return usageError("--seal is for what --out writes")
	}
	return nil
}

// bundleAndCommand is the argument check: one bundle, and a command after --.
func bundleAndCommand(c *cobra.Command, args []string) error {
	dash := c.ArgsLenAtDash()
	if dash == 1 && len(args) > 1 {
		return nil
	}
	return oneBundle(c, args)
}

// oneBundle is the argument check of the commands that take a bundle.
func oneBundle(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError("need one bundle: %s", c.UseLine())
	}
	return nil
}

func runReplay(ctx context.Context, o replayOptions, path string, command []string, term *ui.Term) error {
	if err := o.check(); err != nil {
		return err
	}
	var err error
	if o.fields, err = o.private.takeVolatile(); err != nil {
		return err
	}
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	op, err := o.opener(ctx)
	if err != nil {
		return err
	}
	if len(command) > 0 || o.in != "" {
		return replayInputs(ctx, o, path, command, op, term)
	}
	tape, err := replay.OpenSealed(ctx, path, cache, op)
	if errors.Is(err, replay.ErrNothingToReplay) {
		return replayInputs(ctx, o, path, command, op, term)
	}
	if err != nil {
		return err
	}
	defer tape.Close()
	if o.fields != nil || o.lenient {
		return usageError("need recorded inputs for --lenient and rules of volatile fields, found a recording of instructions, which has no requests to match")
	}
	clean, err := o.scrubber(ctx, tape.Manifest, term)
	if err != nil {
		return err
	}
	for _, w := range tape.Warnings {
		term.Say("warning: " + cleanText(clean, w))
	}
	diverged := false
	for n := 1; n <= o.times; n++ {
		rep, err := tape.Run(ctx)
		if err != nil {
			return err
		}
		scrubReport(clean, rep)
		if !o.quiet && !o.json && n == 1 {
			term.Output(rep.Stdout, rep.Stderr)
			sayScrubbed(clean, term)
		}
		diverged = diverged || !rep.Identical
		if o.json {
			if err := json.NewEncoder(term.Out).Encode(rep); err != nil {
				return err
			}
			continue
		}
		term.Say(fmt.Sprintf("replay %d of %d: %s", n, o.times, verdict(rep)))
	}
	if diverged {
		return &codeError{code: exitFindings}
	}
	return nil
}

func verdict(r *replay.Report) string {
	if r.Tries > 1 {
		once := *r
		once.Tries = 1
		return fmt.Sprintf("try %d, after QEMU got stuck: %s", r.Tries, verdict(&once))
	}
	if r.Identical {
		return fmt.Sprintf("identical: %s, %d instructions, %d pieces of output and marks, in %s",
			r.Outcome, r.Instructions, r.Frames, r.Elapsed.Round(10*time.Millisecond))
	}
	return "DIVERGED: " + r.Divergence.String()
}

// scrubReport takes private data out of what a replay showed; it was compared
// as it is.
func scrubReport(s *scrub.Scrubber, r *replay.Report) {
	if s == nil {
		return
	}
	r.Stdout, r.Stderr = s.Text(r.Stdout).Bytes(), s.Text(r.Stderr).Bytes()
	if d := r.Divergence; d != nil {
		d.Want, d.Got = cleanText(s, d.Want), cleanText(s, d.Got)
	}
}
