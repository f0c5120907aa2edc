package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/internal/replay"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

type replayOptions struct {
	keyFlags
	times int
	quiet bool
	json  bool
	outputFlags
}

func newReplayCommand() *cobra.Command {
	var o replayOptions
	c := &cobra.Command{
		Use:   "replay [flags] BUNDLE",
		Short: "Run a recording again and compare it with what was recorded",
		Long: `Replay checks the digest of everything in the bundle, runs the recording again,
and compares what it printed, when, how it ended, and how many instructions it
executed. It has no network and writes only to its own temporary directory. What
it prints here is scrubbed; it is compared as it is.`,
		Example: `  tapedeck replay flaky.tar.zst
  tapedeck replay --times 5 --quiet flaky.tar.zst

Exit codes:
  0  identical   3  it diverged   10  no such bundle   11  damaged
  12  newer version   13  encrypted, and no key   14  a tool is missing`,
		Args: oneBundle,
		RunE: func(c *cobra.Command, args []string) error {
			return runReplay(c.Context(), o, args[0], ui.New(c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	o.keyFlags.add(c)
	f := c.Flags()
	f.IntVar(&o.times, "times", 1, "replay `N` times")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not print what the program printed")
	f.BoolVar(&o.json, "json", false, "print the result as JSON, one object for each replay")
	o.outputFlags.add(f)
	return c
}

// oneBundle is the argument check of the commands that take a bundle.
func oneBundle(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError("need one bundle: %s", c.UseLine())
	}
	return nil
}

func runReplay(ctx context.Context, o replayOptions, path string, term *ui.Term) error {
	if o.times < 1 {
		return usageError("--times needs a number of 1 or more, found %d", o.times)
	}
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	op, err := o.opener(ctx)
	if err != nil {
		return err
	}
	tape, err := replay.OpenSealed(ctx, path, cache, op)
	if err != nil {
		return err
	}
	defer tape.Close()
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
