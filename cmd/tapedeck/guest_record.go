package main

import (
	"context"
	"io"
	"path/filepath"
	"slices"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/privacy"
	"github.com/tapedeck-dev/tapedeck/internal/record"
	"github.com/tapedeck-dev/tapedeck/internal/replay"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/seal"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

// addGuest replays in the guest what was recorded of the inputs, and adds that
// recording to rec: "record --inputs --recorder vm". What it returns removes the
// guest's files. A replay that went otherwise than the live run is not added.
func addGuest(ctx context.Context, o recordOptions, job record.Job, rec *record.Recording, dev *recorder, g *guard, term *ui.Term) (discard func(), err error) {
	none := func() {}
	t, err := openRecorded(ctx, job, rec, g)
	if err != nil {
		return none, err
	}
	defer t.Close()
	replayed := replayOptions{order: "total", stall: defaultStall, times: 1, vm: o.vm}
	replayed.private.rules = slices.Clone(o.private.rules)
	opt, err := replayed.inputs(nil)
	if err != nil {
		return none, err
	}
	if opt.Scrubber, err = scrub.New(g.rules, g.salt); err != nil {
		return none, err
	}
	shown, err := scrub.New(g.rules, g.salt)
	if err != nil {
		return none, err
	}
	// The user has seen what the program prints.
	r, err := recordInGuest(ctx, replayed, t, opt, shown, io.Discard, io.Discard, term)
	if err != nil {
		return none, err
	}
	if r.rec.Outcome.Code != 0 {
		term.Say("the run in the guest is not the recorded one, and the bundle has the inputs alone: " + g.text(guestVerdict(r.rec.Stderr)))
		return r.close, nil
	}
	term.Say("in the guest: " + g.text(guestVerdict(r.rec.Stderr)))
	rec.Files = append(rec.Files, r.rec.Files...)
	rec.Warnings = append(rec.Warnings, r.rec.Warnings...)
	rec.Beside, rec.Toolchain, rec.Program.Uses = r.rec.Manifest, r.rec.Toolchain, r.rec.Program.Uses
	dev.shared, dev.kind = r.dev.shared, "inputs and vm"
	return r.close, nil
}

// openRecorded makes a bundle of what was recorded, in the recording's own
// folder, and opens it as a replay does.
func openRecorded(ctx context.Context, job record.Job, rec *record.Recording, g *guard) (*replay.Inputs, error) {
	path := filepath.Join(rec.Dir, "inputs.tar.zst")
	w, err := bundle.WriterOptions{}.Create(path)
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	for _, f := range rec.Files {
		if err := w.AddFile(f.Path, f.Host, bundle.FileInfo{Media: f.Media}); err != nil {
			return nil, err
		}
	}
	m := manifestOf(ctx, job, rec)
	privacy.ScrubManifest(g.clean, m)
	m.Privacy.PIIHashSaltKDF = seal.SaltField(g.salt.Ref)
	if err := w.Commit(m); err != nil {
		return nil, err
	}
	return replay.OpenInputs(ctx, path, nil)
}
