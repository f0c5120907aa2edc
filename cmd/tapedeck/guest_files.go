package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/replay"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/watch"
)

// below is a test of paths without links: whether they are in what is named.
func below(named []string) func(path string) bool {
	var tops []string
	for _, p := range named {
		if real, err := filepath.EvalSymlinks(p); err == nil {
			p = real
		}
		tops = append(tops, strings.TrimSuffix(p, "/"))
	}
	return func(path string) bool {
		return slices.ContainsFunc(tops, func(top string) bool { return path == top || strings.HasPrefix(path, top+"/") })
	}
}

// hereSeen is what a replay here showed.
type hereSeen struct {
	seen    *watch.Seen
	visible func(path string) bool // of files, to the program
}

// used are the files of the program's own. It may have named others.
func (h hereSeen) used() []string {
	return slices.DeleteFunc(slices.Clone(h.seen.Files), func(path string) bool {
		real, err := filepath.EvalSymlinks(path)
		return err != nil || !h.visible(real)
	})
}

// watchReplay replays here, and returns the files that the program uses and the
// tokens that were made of what it sent and printed.
func watchReplay(ctx context.Context, t *replay.Inputs, opt replay.InputsOptions, shown *scrub.Scrubber) (hereSeen, *scrub.Known, error) {
	known := &scrub.Known{}
	opt.Scrubber.Share(known)
	opt.Notes = watch.NewNotes()
	opt.Notes.Add(t.Cwd)
	rep, err := t.Run(ctx, opt)
	if err != nil {
		return hereSeen{}, nil, err
	}
	if shown != nil {
		shown.Share(known)
		shown.Text(rep.Stdout)
		shown.Text(rep.Stderr)
	}
	seen := opt.Notes.Seen()
	seen.MaxRSS = rep.MaxRSS
	return hereSeen{seen, rep.Visible}, known, nil
}
