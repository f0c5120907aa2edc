package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/order"
	"github.com/tapedeck-dev/tapedeck/internal/play"
	"github.com/tapedeck-dev/tapedeck/internal/replay"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

// replayInputs runs the program again with what it got from outside.
func replayInputs(ctx context.Context, o replayOptions, path string, command []string, op bundle.Opener, term *ui.Term) error {
	t, err := replay.OpenInputs(ctx, path, op)
	if errors.Is(err, replay.ErrNoInputs) {
		return replay.ErrNothingToReplay
	}
	if err != nil {
		return err
	}
	defer t.Close()
	opt, err := o.inputs(command)
	if err != nil {
		return err
	}
	if opt.Scrubber, err = o.comparing(ctx, t.Manifest); err != nil {
		return err
	}
	shown, err := o.scrubber(ctx, t.Manifest, term)
	if err != nil {
		return err
	}
	diverged := false
	for n := 1; n <= o.times; n++ {
		rep, err := t.Run(ctx, opt)
		if err != nil {
			return err
		}
		diverged = diverged || !rep.Identical
		if o.json {
			if err := json.NewEncoder(term.Out).Encode(rep); err != nil {
				return err
			}
			continue
		}
		if !o.quiet && n == 1 {
			out, errs := rep.Stdout, rep.Stderr
			if shown != nil {
				out, errs = shown.Text(out).Bytes(), shown.Text(errs).Bytes()
			}
			term.Output(out, errs)
			sayScrubbed(shown, term)
		}
		for _, line := range inputsVerdict(rep) {
			term.Say(fmt.Sprintf("replay %d of %d: %s", n, o.times, line))
		}
	}
	if diverged {
		return &codeError{code: exitFindings}
	}
	return nil
}

func (o *replayOptions) inputs(command []string) (opt replay.InputsOptions, err error) {
	if opt.Mode, err = order.ParseMode(o.order); err != nil {
		return opt, usageError("--order: %v", err)
	}
	for _, text := range o.whatIf {
		w, err := play.ParseWhatIf(text)
		if err != nil {
			return opt, usageError("%v", err)
		}
		opt.WhatIf = append(opt.WhatIf, w)
	}
	if len(command) > 0 {
		opt.Command = command
		if opt.Dir, err = os.Getwd(); err != nil {
			return opt, err
		}
	}
	for _, e := range o.env {
		if !strings.Contains(e, "=") {
			e += "=" + os.Getenv(e)
		}
		opt.Env = append(opt.Env, e)
	}
	opt.Stall, opt.Show, opt.Weak = o.stall, o.show, o.weak
	opt.Match.Rules, opt.Match.Lenient = o.fields, o.lenient
	return opt, nil
}

// comparing returns what live requests go through before they are compared: the
// rules and the salt of the recording. Without that salt, tokens can't agree.
func (o *replayOptions) comparing(ctx context.Context, m *bundle.Manifest) (*scrub.Scrubber, error) {
	rules, err := o.private.load()
	if err != nil {
		return nil, err
	}
	salt, err := o.saltFor(ctx, m)
	if err != nil {
		return nil, err
	}
	return scrub.New(rules, salt)
}

func inputsVerdict(r *replay.InputsReport) []string {
	word := "identical"
	switch {
	case !r.Identical:
		word = "DIVERGED"
	case r.Output == "not compared":
		word = "all inputs as recorded"
	}
	if r.Lenient {
		word += " (lenient)"
	}
	counts := []string{fmt.Sprintf("%d matched", r.Matched)}
	if r.ByRule > 0 {
		counts[0] += fmt.Sprintf(" (%d by a rule)", r.ByRule)
	}
	for _, c := range []struct {
		n    int
		word string
	}{{r.Missed, "missed"}, {r.Guessed, "of those answered by the nearest"}, {len(r.Unused), "unused"}, {r.Reordered, "reordered"}, {r.Ambiguous, "ambiguous"}, {len(r.Drift), "drifted"}} {
		if c.n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", c.n, c.word))
		}
	}
	if r.Opaque > 0 {
		counts = append(counts, fmt.Sprintf("%d of a protocol that was not decoded, played in order", r.Opaque))
	}
	lines := []string{fmt.Sprintf("%s: %s, %s, order %s, output %s, in %s; not repeated: %s", word, r.Outcome, strings.Join(counts, ", "), r.Report.Order,
		r.Output, r.Elapsed.Round(10*time.Millisecond), strings.Join(r.Outside, ", "))}
	if !r.Hermetic {
		lines = append(lines, "not hermetic: "+strings.Join(r.Weak, "; "))
	}
	for _, w := range r.WhatIf {
		lines = append(lines, "what if: "+w)
	}
	for _, rule := range r.UnusedRules {
		lines = append(lines, "rule never used: "+rule)
	}
	for _, m := range r.Misses {
		lines = append(lines, "miss: "+m.String())
	}
	for _, d := range r.Divergences {
		lines = append(lines, "order: "+d.Error())
	}
	for _, d := range r.Drift {
		text := "drift: " + d.ID
		for _, f := range d.Fields {
			text += fmt.Sprintf("\n  %s: recorded %q, now %q", f.Name, f.Recorded, f.Live)
		}
		lines = append(lines, text)
	}
	if len(r.Unused) > 0 {
		lines = append(lines, "unused: "+strings.Join(r.Unused[:min(len(r.Unused), 20)], " "))
	}
	return lines
}
