package main

import (
	"context"
	"maps"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/attest"
	"github.com/tapedeck-dev/tapedeck/internal/exttool"
	"github.com/tapedeck-dev/tapedeck/internal/record"
)

// noKey is the policy that leaves a recording of instructions in clear.
const noKey = "no key was named: for the eyes of who may read this machine's files"

// pack writes a recording into a bundle, made fit for it by the guard, and
// returns the bundle's size in bytes.
func pack(ctx context.Context, out string, job record.Job, rec *record.Recording, dev *recorder, g *guard) (int64, error) {
	shared, err := dev.shared()
	if err != nil {
		return 0, err
	}
	w, err := bundle.WriterOptions{Sealer: g.sealer}.Create(out)
	if err != nil {
		return 0, err
	}
	defer w.Abort()
	defer context.AfterFunc(ctx, w.Abort)()
	p, err := g.packer(w, noKey)
	if err != nil {
		return 0, err
	}
	for _, f := range rec.Files {
		if f.Scrubbed {
			if err := p.AddScrubbed(f.Path, f.Host, bundle.FileInfo{Media: f.Media, Class: bundle.Class(f.Class)}, f.Counts); err != nil {
				return 0, err
			}
			continue
		}
		if err := p.AddFile(ctx, f.Path, f.Host, bundle.FileInfo{Media: f.Media, Class: bundle.Class(f.Class)}); err != nil {
			return 0, err
		}
	}
	for _, f := range shared {
		if err := p.AddFreeFile(f.Path, f.Host, bundle.FileInfo{Media: f.Media, Class: bundle.Class(f.Class)}); err != nil {
			return 0, err
		}
	}
	m := manifestOf(ctx, job, rec)
	p.Announce(attest.ProvenanceFile, "made of the scrubbed manifest")
	p.Announce(attest.SBOMFile, "packages and libraries of the program; scrubbed")
	if err := p.Finish(m); err != nil {
		return 0, err
	}
	// Last, since the provenance is about every other file.
	if err := attestTo(w, m, rec, g); err != nil {
		return 0, err
	}
	if err := w.Commit(m); err != nil {
		return 0, err
	}
	fi, err := os.Stat(out)
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// manifestOf is the manifest of a recording, before it is scrubbed.
func manifestOf(ctx context.Context, job record.Job, rec *record.Recording) *bundle.Manifest {
	m := &bundle.Manifest{
		CreatedAt: time.Now().UTC().Truncate(time.Second),
		Origin:    bundle.Origin{Revision: revision(ctx, job.Dir)},
		Recorders: []bundle.Recorder{rec.Manifest},
		Env:       map[string]string{},
		Toolchain: map[string]any{"tapedeck": version(), "go": runtime.Version()},
	}
	if rec.Beside != nil {
		m.Recorders = append(m.Recorders, rec.Beside)
	}
	maps.Copy(m.Toolchain, rec.Toolchain)
	m.Inputs = inputsOf(rec.Inputs)
	for _, e := range job.Env {
		name, value, _ := strings.Cut(e, "=")
		m.Env[name] = value
	}
	return m
}

// inputsOf tells where the recorded inputs are.
func inputsOf(fields map[string]any) bundle.Inputs {
	in := bundle.Inputs{Extra: map[string]any{}}
	for name, v := range fields {
		path, _ := v.(string)
		switch name {
		case "time_stream":
			in.TimeStream = path
		case "order_stream":
			in.OrderStream = path
		case "network_cassette":
			in.NetworkCassette = path
		case "db_cassette":
			in.DBCassette = path
		default:
			in.Extra[name] = v
		}
	}
	return in
}

// revision is the commit that is checked out where the program ran, if any.
func revision(ctx context.Context, dir string) string {
	git, err := exttool.Find("git", "git")
	if err != nil {
		return ""
	}
	out, err := exttool.Output(ctx, 5*time.Second, git, "-C", dir, "rev-parse", "HEAD")
	if err != nil {
		return ""
	}
	return "git:" + strings.TrimSpace(string(out))
}
