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
	"github.com/tapedeck-dev/tapedeck/internal/record"
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
	if t.Imported != "" {
		if err := o.imported(t, &opt, term); err != nil {
			return err
		}
	}
	var shown *scrub.Scrubber
	if o.guest != "" {
		opt.Scrubber, shown, err = o.toldScrubbers()
	} else if opt.Scrubber, err = o.comparing(ctx, t.Manifest); err == nil {
		shown, err = o.scrubber(ctx, t.Manifest, term)
	}
	if err != nil {
		return err
	}
	if o.in == "vm" {
		return replayInGuest(ctx, o, t, opt, shown, term)
	}
	diverged := false
	for n := 1; n <= o.times; n++ {
		rep, err := t.Run(ctx, opt)
		if err != nil {
			return err
		}
		diverged = diverged || !rep.Identical
		if o.guest != "" {
			rep.Outside = nil // the recording of the guest has it
			term.Say(fmt.Sprintf(guestProcessLine, rep.PID))
		}
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
	opt.Stall, opt.Show, opt.Weak, opt.Guest = o.stall, o.show, o.weak, o.guest != ""
	opt.Match.Rules, opt.Match.Lenient = o.fields, o.lenient
	return opt, nil
}

// imported fits the options to inputs that another tool recorded: nobody knows
// their order, nor the program's environment.
func (o *replayOptions) imported(t *replay.Inputs, opt *replay.InputsOptions, term *ui.Term) error {
	if len(opt.Command) == 0 {
		return usageError("need a command: the inputs were imported (%s), so no program was recorded (tapedeck replay BUNDLE -- COMMAND)", t.Imported)
	}
	if !o.ordered {
		opt.Mode = order.Any
	} else if opt.Mode != order.Any {
		term.Say(fmt.Sprintf("warning: --order %s keeps the order of the exchanges in the file: %s does not tell the order between connections", o.order, t.Imported))
	}
	env, _, err := record.Environment(os.Environ(), o.env)
	for _, e := range env {
		if name, _, _ := strings.Cut(e, "="); !strings.HasSuffix(strings.ToLower(name), "_proxy") { // the tape has none
			opt.Env = append(opt.Env, e)
		}
	}
	return err
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
	lines := []string{fmt.Sprintf("%s: %s, %s, order %s, output %s, in %s", word, r.Outcome, strings.Join(counts, ", "), r.Report.Order,
		r.Output, r.Elapsed.Round(10*time.Millisecond))}
	if len(r.Outside) > 0 {
		lines[0] += "; not repeated: " + strings.Join(r.Outside, ", ")
	}
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
