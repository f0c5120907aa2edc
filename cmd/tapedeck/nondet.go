package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/internal/match"
	"github.com/tapedeck-dev/tapedeck/internal/nondet"
	"github.com/tapedeck-dev/tapedeck/internal/play"
	"github.com/tapedeck-dev/tapedeck/internal/replay"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
	"github.com/tapedeck-dev/tapedeck/internal/volatile"
)

type nondetOptions struct {
	replayOptions
	shift  time.Duration
	out    string
	schema bool
}

func newNondetCommand() *cobra.Command {
	var o nondetOptions
	c := &cobra.Command{
		Use:   "nondet [flags] BUNDLE [OTHER]",
		Short: "Find which fields of a program's requests differ from run to run",
		Long: `Nondet replays recorded inputs twice: once with the recorded randomness and clock,
once with other randomness and the clock shifted by --shift. A request that was
not recorded gets the nearest answer, so that the program goes on. What it asked
is laid beside the recording. With OTHER, another recording of the same program,
nothing is run: the two recordings are compared.

Each field that differs is told with its kind (time, uuid, nonce, counter, order,
other), why it is taken for that, and both values with their event ids. A rule
file for tapedeck replay --rules is proposed on standard output, or with -o in a
file. Nothing is applied by itself.`,
		Example: `  tapedeck nondet -o rules.yaml checkout.tar.zst
  tapedeck replay --rules rules.yaml checkout.tar.zst
  tapedeck nondet --json monday.tar.zst tuesday.tar.zst
  tapedeck nondet --schema > rules.schema.json

Exit codes:
  0  nothing differs   3  something does   10  no such bundle   11  damaged
  12  newer version    13  encrypted, and no key   14  a tool is missing`,
		Args: func(c *cobra.Command, args []string) error {
			if n := len(args); o.schema && n > 0 || !o.schema && n != 1 && n != 2 {
				return usageError("need one bundle, or two to compare: %s", c.UseLine())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if o.schema {
				_, err := c.OutOrStdout().Write(volatile.Schema())
				return err
			}
			return runNondet(c.Context(), o, args, ui.New(c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	o.keyFlags.add(c)
	f := c.Flags()
	f.StringVarP(&o.out, "out", "o", "", "`FILE` for the proposed rules (default: standard output)")
	f.BoolVar(&o.json, "json", false, "print what differs, and the proposed rules, as JSON")
	f.DurationVar(&o.shift, "shift", 26*time.Hour+17*time.Minute, "by how much the clock of the second replay differs")
	f.StringVar(&o.order, "order", "total", "how much of the recorded order of inputs to keep: total, session or any")
	f.DurationVar(&o.stall, "stall", 10*time.Second, "without progress for so long, an answer is held back no more")
	f.BoolVar(&o.weak, "weak", false, "where this machine forbids a part of the sandbox, do without it")
	f.StringArrayVar(&o.show, "show", nil, "`PATH` that the program may read in the sandbox; repeatable")
	f.StringArrayVar(&o.env, "env", nil, "set `NAME=VALUE` for the program, instead of what was recorded; repeatable")
	f.BoolVar(&o.schema, "schema", false, "print the JSON Schema of rule files, and do nothing else")
	o.private.add(f)
	o.private.salt = ""
	return c
}

func runNondet(ctx context.Context, o nondetOptions, paths []string, term *ui.Term) error {
	runs, err := o.runs(ctx, paths, term)
	if err != nil {
		return err
	}
	rep := nondet.Compare(runs[0], runs[1:]...)
	rules, err := rep.RuleFile()
	if err != nil {
		return err
	}
	if o.out != "" {
		if err := os.WriteFile(o.out, rules, 0o644); err != nil {
			return err
		}
	}
	if o.json {
		err = json.NewEncoder(term.Out).Encode(struct {
			*nondet.Report
			RuleFile string `json:"rule_file"`
		}{rep, string(rules)})
	} else {
		for _, line := range nondetLines(rep) {
			term.Say(line)
		}
		if o.out == "" && rep.Differs() {
			_, err = term.Out.Write(rules)
		}
	}
	if err == nil && rep.Differs() {
		err = &codeError{code: exitFindings}
	}
	return err
}

// runs are what is compared: two recordings, or one and its replays.
func (o *nondetOptions) runs(ctx context.Context, paths []string, term *ui.Term) ([]*nondet.Run, error) {
	op, err := o.opener(ctx)
	if err != nil {
		return nil, err
	}
	var runs []*nondet.Run
	for _, path := range paths {
		t, err := replay.OpenInputs(ctx, path, op)
		if errors.Is(err, replay.ErrNoInputs) {
			return nil, fmt.Errorf("need a bundle with recorded inputs (tapedeck record --inputs), found none in %s", path)
		}
		if err != nil {
			return nil, err
		}
		defer t.Close()
		name, before := "the recording", ""
		if len(paths) > 1 {
			name, before = path, short8(t.Manifest.BundleID)+"/"
		}
		r, err := nondet.Recorded(name, before, t.Cassette)
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
		if len(paths) > 1 {
			continue
		}
		for n, shift := range []time.Duration{0, o.shift} {
			r, err := o.replay(ctx, t, n+1, shift, term)
			if err != nil {
				return nil, err
			}
			runs = append(runs, r)
		}
	}
	return runs, nil
}

func short8(id string) string { return id[:min(len(id), 8)] }

// replay runs the program once; the first run is in the recorded world.
func (o *nondetOptions) replay(ctx context.Context, t *replay.Inputs, n int, shift time.Duration, term *ui.Term) (*nondet.Run, error) {
	opt, err := o.inputs(nil)
	if err != nil {
		return nil, err
	}
	if opt.Scrubber, err = o.comparing(ctx, t.Manifest); err != nil {
		return nil, err
	}
	opt.Match.Lenient = true
	r := &nondet.Run{Name: fmt.Sprintf("replay %d", n), Began: time.Unix(0, t.Cassette.Began.Wall).Add(shift).UTC()}
	if n > 1 {
		key := [32]byte{}
		copy(key[:], t.Manifest.BundleID)
		key[31] = byte(n)
		opt.Probe.Seed = make([]byte, 32)
		_, _ = rand.NewChaCha8(key).Read(opt.Probe.Seed) // never fails
		opt.Probe.Shift = shift
	}
	var mu sync.Mutex
	opt.Probe.Asked = func(a play.Asked) {
		mu.Lock()
		defer mu.Unlock()
		r.Asked = append(r.Asked, nondet.Asked{ID: fmt.Sprintf("replay-%d/http:%d", n, len(r.Asked)+1), Request: a.Request})
	}
	rep, err := t.Run(ctx, opt)
	if err != nil {
		return nil, err
	}
	mu.Lock()
	defer mu.Unlock()
	for _, d := range rep.Drift {
		it := nondet.Drift{ID: d.ID, Fields: d.Fields}
		for _, x := range t.Cassette.Exchanges {
			if match.ID(x) == d.ID {
				it.Request, _ = match.Of(x.Scheme, x.Authority, x.Request) // what can't be read stays empty
			}
		}
		r.Drift = append(r.Drift, it)
	}
	if t.Ended && !t.Cut && rep.ExitCode != t.ExitCode {
		term.Say(fmt.Sprintf("warning: %s ended with exit code %d, the recording with %d: what would have come later was not compared", r.Name, rep.ExitCode, t.ExitCode))
	}
	for _, d := range rep.Divergences {
		term.Say("warning: " + r.Name + ": " + d.Error())
	}
	return r, nil
}

func nondetLines(r *nondet.Report) []string {
	var lines []string
	for _, run := range r.Runs[1:] {
		lines = append(lines, fmt.Sprintf("%s: %d requests, of which %d differ from %s (%d requests)", run.Name, run.Requests, run.Differ, r.Runs[0].Name, r.Runs[0].Requests))
	}
	if !r.Differs() {
		return append(lines, "nothing differs")
	}
	for _, f := range r.Findings {
		times := "once"
		if f.Requests > 1 {
			times = fmt.Sprintf("%d times", f.Requests)
		}
		text := fmt.Sprintf("%s: %s: %s (%s, in %s)", f.Kind, f.Where(), f.Why, times, strings.Join(f.Runs, ", "))
		for _, e := range f.Evidence {
			text += fmt.Sprintf("\n  %s %q, %s %q", cmp.Or(e.First, r.Runs[0].Name), e.Value, cmp.Or(e.Other, e.Run), e.Differs)
		}
		lines = append(lines, text)
	}
	return lines
}
