package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/privacy"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

type scrubOptions struct {
	keyFlags // to open the bundle
	private  ruleFlags
	to       []string
	keep     bool
	json     bool
}

func newBundleScrubCommand(lim *limitFlags) *cobra.Command {
	var o scrubOptions
	c := &cobra.Command{
		Use:   "scrub [flags] IN OUT",
		Short: "Take what is private out of a bundle",
		Long: `Scrub writes a new bundle in which every file of a format with fields went
through the rules: JSON, lines, text, WARC, HAR, SQLite, Parquet and JFR. What has
no fields, such as a recording of instructions, can't be scrubbed: it is encrypted
if --seal names a key, kept in clear with --keep-restricted, and left out
otherwise. The new bundle has an id of its own; signatures and provenance of the
old one, and its index, are left out.`,
		Example: `  tapedeck bundle scrub incident.tar.gz clean.tar.zst
  tapedeck bundle scrub --rules privacy.yaml --seal local:payments incident.tar.zst clean.tar.zst

Exit codes:
  0  ok   1  error   4  usage   10  no such bundle   11  damaged   12  newer version
  13  encrypted, and no key`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError("need two bundles, the one to read and the one to write: %s", c.UseLine())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			op, err := o.opener(c.Context())
			if err != nil {
				return err
			}
			r, done, err := openSealed(c, lim, args[0], bundle.OpenOptions{Opener: op})
			if err != nil {
				return err
			}
			defer done()
			return runBundleScrub(c.Context(), o, r, args[1], ui.New(c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	o.keyFlags.add(c)
	o.private.add(c.Flags())
	c.Flags().StringArrayVar(&o.to, "seal", nil, "encrypt what can't be scrubbed for this key `REF`; repeatable")
	c.Flags().BoolVar(&o.keep, "keep-restricted", false, "keep what can't be scrubbed, in clear")
	c.Flags().BoolVar(&o.json, "json", false, "print the scrub report as JSON")
	return c
}

func runBundleScrub(ctx context.Context, o scrubOptions, r *bundle.Reader, out string, term *ui.Term) error {
	s, err := sealer(ctx, o.to)
	if err != nil {
		return err
	}
	g, err := newGuard(ctx, o.private, s)
	if err != nil {
		return err
	}
	w, err := bundle.WriterOptions{Sealer: s}.Create(out)
	if err != nil {
		return err
	}
	defer w.Abort()
	defer context.AfterFunc(ctx, w.Abort)()
	policy := ""
	if o.keep {
		policy = "--keep-restricted"
	}
	p, err := g.packer(w, policy)
	if err != nil {
		return err
	}
	m, err := bundle.ParseManifest(r.ManifestBytes())
	if err != nil {
		return err
	}
	for _, f := range r.Files() {
		if stale(f.Path) {
			continue
		}
		if err := scrubEntry(ctx, p, r, f); err != nil {
			return err
		}
	}
	renew(m, p.Report())
	if err := p.Finish(m); err != nil {
		return err
	}
	if err := w.Commit(m); err != nil {
		return err
	}
	if o.json {
		return printJSON(term.Out, p.Report())
	}
	term.Say(fmt.Sprintf("%s: %s", out, treatments(p.Report())))
	for _, f := range p.Report().Files {
		if f.Treatment == privacy.Withheld {
			term.Say(fmt.Sprintf("left out %s: %s (--seal REF encrypts it)", f.Path, f.Reason))
		}
	}
	return nil
}

func scrubEntry(ctx context.Context, p *privacy.Packer, r *bundle.Reader, f bundle.File) error {
	src, err := r.Open(f.Path)
	if err != nil {
		return err
	}
	defer src.Close()
	// What a bundle says of its own files is not believed: opaque ones become
	// restricted again, and nothing is free of private data because it says so.
	return p.Add(ctx, f.Path, src, bundle.FileInfo{Media: f.MediaType, Class: bundle.Internal})
}

// stale tells of files that say something about the bundle as it was.
func stale(name string) bool {
	return strings.HasPrefix(name, "index/") || name == privacy.ReportPath || strings.HasSuffix(name, ".dsse.json") ||
		path.Dir(name) == "attestations" && strings.HasPrefix(path.Base(name), "slsa")
}

// renew makes the manifest one of a bundle of its own.
func renew(m *bundle.Manifest, rep *privacy.Report) {
	if m.Extra == nil {
		m.Extra = map[string]any{}
	}
	if m.BundleID != "" {
		m.Extra["scrubbed_from"] = m.BundleID
	}
	m.BundleID, m.Files, m.Keys = "", nil, nil
	m.Attestations = slices.DeleteFunc(m.Attestations, func(a bundle.Attestation) bool { return stale(a.File) })
	for _, f := range rep.Files {
		if f.Treatment != privacy.Withheld {
			continue
		}
		for _, rec := range m.Recorders {
			for field := range rec {
				if dir := strings.Trim(rec.String(field), "/"); dir != "" && (f.Path == dir || strings.HasPrefix(f.Path, dir+"/")) {
					rec["withheld"] = true
					break
				}
			}
		}
	}
}

// treatments counts what was done: "3 files scrubbed, 4 withheld".
func treatments(rep *privacy.Report) string {
	n := rep.Counts()
	var parts []string
	for _, t := range []privacy.Treatment{privacy.Scrubbed, privacy.Encrypted, privacy.Allowed, privacy.Withheld, privacy.Free} {
		if n[t] > 0 {
			what := string(t)
			if len(parts) == 0 {
				what = count(n[t], "file") + " " + what
			} else {
				what = fmt.Sprint(n[t], " ", what)
			}
			parts = append(parts, what)
		}
	}
	return strings.Join(parts, ", ")
}
