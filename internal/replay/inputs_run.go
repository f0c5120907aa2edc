package replay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/match"
	"github.com/tapedeck-dev/tapedeck/internal/order"
	"github.com/tapedeck-dev/tapedeck/internal/play"
	"github.com/tapedeck-dev/tapedeck/internal/record"
	"github.com/tapedeck-dev/tapedeck/internal/sandbox"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/trust"
	"github.com/tapedeck-dev/tapedeck/internal/vtime"
	"github.com/tapedeck-dev/tapedeck/internal/watch"
)

// InputsOptions say how recorded inputs are replayed.
type InputsOptions struct {
	Command  []string // another program; nil is the recorded one
	Dir      string   // where another program runs
	Env      []string // variables beside, or instead of, the recorded ones
	Mode     order.Mode
	WhatIf   []play.WhatIf
	Stall    time.Duration
	Weak     bool            // do without what this machine forbids of the sandbox; the report says what
	Show     []string        // files that the program may read beside the system's and its own
	Guest    bool            // this machine is the guest of the vm recorder
	Notes    *watch.Notes    // is told which files are used; nil: nobody
	Scrubber *scrub.Scrubber // of what is compared; the salt must be the recording's, or tokens differ
	Match    match.Options   // how requests are compared; Order is Mode
	Probe    Probe
}

// Probe looks at what a program does in a world a little other than the recorded.
type Probe struct {
	Seed  []byte           // of randomness, 32 bytes; nil: as recorded
	Shift time.Duration    // of the clock
	Asked func(play.Asked) // is told of each request; or nil
}

// InputsReport is what a replay of inputs showed.
type InputsReport struct {
	Kind      string   `json:"recorder"`
	Identical bool     `json:"identical"` // no divergence, and the recorded output and end
	Hermetic  bool     `json:"hermetic"`
	Weak      []string `json:"weak,omitempty"` // what is not hermetic about it
	play.Report
	Outcome  string        `json:"outcome"`
	ExitCode int           `json:"exit_code"`
	Output   string        `json:"output"`  // "same", "not compared", or where it differs
	Outside  []string      `json:"outside"` // what no recording of inputs holds
	Stdout   []byte        `json:"-"`
	Stderr   []byte        `json:"-"`
	Elapsed  time.Duration `json:"elapsed_ns"`
	PID      int           `json:"-"` // of the program
	MaxRSS   int64         `json:"-"` // of its largest process, in bytes
	// Visible tells which of the host's files it could see.
	Visible func(path string) bool `json:"-"`
}

// guestSlow is how many times as long everything takes in the guest, by its own
// clock, at least. What waits for the program has to be that patient.
const guestSlow = 20

// Run replays the inputs once.
func (t *Inputs) Run(ctx context.Context, o InputsOptions) (*InputsReport, error) {
	begin := time.Now()
	command, cwd := t.Command, t.Cwd
	other := o.Command != nil
	if other {
		command, cwd = o.Command, o.Dir
	}
	if len(command) == 0 {
		return nil, errors.New("need a command: the bundle does not tell which program was recorded (tapedeck replay BUNDLE -- COMMAND)")
	}
	env := t.environment(o.Env)
	show := programFiles(command, cwd, env)
	if !other { // whoever made the bundle has chosen it
		if private(cwd) && !slices.Contains(o.Show, cwd) {
			return nil, &PrivateError{cwd}
		}
		show = slices.DeleteFunc(show, private)
	}
	ca, err := trust.New()
	if err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp(t.Dir, "run-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	replaced, err := trust.Prepare(ca, filepath.Join(scratch, "trust"), env)
	if err != nil {
		return nil, err
	}
	slow := 1
	if o.Guest {
		slow = guestSlow
	}
	c := sandbox.Config{Slow: slow, Args: command, Dir: cwd, Env: append(env, replaced.Env...), Hermetic: true, Weak: o.Weak, Show: slices.Concat(o.Show, show),
		Files: map[string][]byte{"/etc/resolv.conf": []byte("nameserver 192.0.2.53\n"), "/etc/hosts": []byte("127.0.0.1 localhost tapedeck\n::1 localhost\n"), "/etc/hostname": []byte("tapedeck\n"),
			"/etc/nsswitch.conf": []byte("passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n")}}
	for _, path := range replaced.Named { // of the machine that recorded
		c.Files[path] = ca.PEM()
	}
	for _, b := range replaced.Binds {
		if o.Notes != nil { // a store that is there is named to the program, opened or not
			o.Notes.Add(b.Target)
		}
		c.Binds = append(c.Binds, sandbox.Bind(b))
		if strings.HasPrefix(b.Target, "/etc/") || strings.HasPrefix(b.Target, "/usr/") {
			continue
		}
		c.Show = append(c.Show, b.Target)
	}
	if other {
		c.Show = append(c.Show, t.Dir)
		c.Env = append(c.Env, "HTTP_CASSETTE_DIR="+filepath.Join(t.Dir, "inputs/http_vcr"), "SQL_CASSETTE="+filepath.Join(t.Dir, "inputs/sql_vcr.sqlite"))
	}
	seed, shift := t.seed(), int64(o.Probe.Shift)
	if len(o.Probe.Seed) == 32 {
		seed = [32]byte(o.Probe.Seed)
	}
	world, err := vtime.New(vtime.Options{Clock: true, Wall: t.Cassette.Began.Wall + shift, Mono: t.Cassette.Began.Mono, Random: true, Seed: seed, Notes: o.Notes})
	if err != nil {
		return nil, err
	}
	defer world.Close()
	stop, err := world.Enter(&c, scratch)
	if err != nil {
		return nil, err
	}
	defer stop()
	var box *sandbox.Box
	var rest settler
	player, err := play.New(play.Options{Cassette: t.Cassette, Certificate: ca.Certificate, Order: o.Mode, WhatIf: o.WhatIf, Match: o.Match, Asked: o.Probe.Asked,
		Scrub: scrubMessage(o.Scrubber), ScrubText: scrubText(o.Scrubber), Gate: order.Options{Stall: o.Stall * time.Duration(slow), Settle: func() { rest.wait(box, world) }, Tell: func(e cassette.Event) { world.Set(e.Time.Wall + shift) }}})
	if err != nil {
		return nil, err
	}
	var out, errs printed
	c.Stdout, c.Stderr = &out, &errs
	if box, err = sandbox.Start(ctx, c); err != nil {
		return nil, err
	}
	defer box.Close()
	go serve(ctx, box, player)
	go t.finish(ctx, box, player)
	status, err := box.Wait()
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	rep := &InputsReport{Kind: "inputs", Hermetic: len(box.Weaknesses()) == 0, Weak: box.Weaknesses(), Report: player.Report(), Outside: vtime.Outside(), Stdout: out, Stderr: errs, Elapsed: time.Since(begin),
		PID: box.PID(), MaxRSS: box.MaxRSS(), Visible: sandbox.Visible(c)}
	for _, why := range world.Stats().Failed {
		rep.Outside = append(rep.Outside, "the clock of a program, which could not be changed: "+why)
	}
	outcome := record.Outcome{Code: status.ExitStatus()}
	if status.Signaled() {
		outcome.Signal, outcome.Code = status.Signal(), 128+int(status.Signal())
	}
	rep.Outcome, rep.ExitCode = outcome.String(), outcome.Code
	if t.Imported != "" {
		rep.Outside = append(rep.Outside, "the clock and the randomness of the program, which "+t.Imported+" does not hold")
	}
	rep.Output = "not compared"
	if !other && t.Ended && len(o.WhatIf) == 0 {
		rep.Output = t.compareOutput(rep, o.Scrubber)
	}
	rep.Identical = !rep.Diverged() && (rep.Output == "same" || rep.Output == "not compared")
	return rep, nil
}

// seed is that of the recorded randomness, or one of this bundle's own, so that
// replays are alike.
func (t *Inputs) seed() [32]byte {
	if len(t.Cassette.Seed) == 32 {
		return [32]byte(t.Cassette.Seed)
	}
	return sha256.Sum256([]byte(t.Manifest.BundleID))
}

func scrubMessage(s *scrub.Scrubber) func([]byte) []byte {
	if s == nil {
		return nil
	}
	return func(b []byte) []byte {
		c, err := s.HTTPMessage(b)
		if err != nil { // a body that can't be read was not recorded either
			head, _, _ := bytes.Cut(b, []byte("\r\n\r\n"))
			c, _ = s.HTTPMessage(append(head, "\r\n\r\n"...))
		}
		return c.Bytes()
	}
}

func scrubText(s *scrub.Scrubber) func([]byte) []byte {
	if s == nil {
		return nil
	}
	return func(b []byte) []byte { return s.Text(b).Bytes() }
}

// serve answers the program until it ends.
func serve(ctx context.Context, box *sandbox.Box, p *play.Player) {
	go p.Drive(ctx, box.Dial)
	go func() {
		for {
			q, err := box.ReadPacket()
			if err != nil {
				return
			}
			go func() {
				if a := p.Packet(q.Data); a != nil {
					_ = q.Answer(a)
				}
			}()
		}
	}()
	for {
		c, dst, err := box.Accept()
		if err != nil {
			return
		}
		go p.Serve(c, dst)
	}
}

// finish ends a program that was ended from outside when it was recorded, after
// everything has been played to it.
func (t *Inputs) finish(ctx context.Context, box *sandbox.Box, p *play.Player) {
	if !t.Cut {
		return
	}
	for !p.Complete() && len(p.Report().Divergences) == 0 {
		select {
		case <-ctx.Done():
			return
		case <-box.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
	time.Sleep(100 * time.Millisecond) // for what it still has to print
	_ = box.Signal(syscall.SIGTERM)
	select {
	case <-box.Done():
	case <-time.After(5 * time.Second):
		box.Close()
	}
}
