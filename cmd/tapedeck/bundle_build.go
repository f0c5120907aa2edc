package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/privacy"
	"github.com/tapedeck-dev/tapedeck/internal/seal"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

type buildOptions struct {
	dir                        string // a folder with a manifest; or else:
	rr, jfr, ebpf, network, db string
	class                      string
	keys                       []string
	out                        string
	json                       bool
	raw                        bool
	private                    ruleFlags
}

func newBundleBuildCommand() *cobra.Command {
	var o buildOptions
	c := &cobra.Command{
		Use:   "build [flags] [DIR] --out FILE",
		Short: "Pack recordings made by other tools, or an unpacked bundle",
		Long: `Build packs DIR, which must have a trace_bundle.yaml, or the recordings that the
flags name. Digests and sizes are always made anew. The bundle appears at its
place when it is complete, instead of what was there.

Every file of a format with fields is scrubbed on the way: see tapedeck bundle
scrub --help. What has none is restricted, and encrypted if --key names a key.`,
		Example: `  tapedeck bundle build --rr traces/rr/ci-17 --out dist/bundle.tar.zst
  tapedeck bundle build --jfr app.jfr --network cassettes --db sql.sqlite --out incident.tar.zst
  tapedeck bundle build incident --out incident.tar.zst
  tapedeck bundle build incident --out - | ssh store 'cat > incident.tar.zst'

Exit codes:
  0  ok   1  error   4  usage   11  the manifest in DIR is no good   12  it has a newer version`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError("need one folder, found %d: %s", len(args), c.UseLine())
			}
			if len(args) == 1 {
				o.dir = args[0]
			}
			if err := o.check(isTerminal(c.OutOrStdout())); err != nil {
				return err
			}
			return runBundleBuild(c.Context(), o, ui.New(c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	f := c.Flags()
	f.StringVar(&o.rr, "rr", "", "`DIR` of an rr trace")
	f.StringVar(&o.jfr, "jfr", "", "JFR `FILE`")
	f.StringVar(&o.ebpf, "ebpf", "", "`FILE` of eBPF events, Parquet")
	f.StringVar(&o.network, "network", "", "`DIR` of an HTTP cassette, WARC or HAR")
	f.StringVar(&o.db, "db", "", "`FILE` of an SQL cassette, SQLite")
	f.StringVar(&o.class, "class", string(bundle.Internal), "class of files that the manifest doesn't know: public, internal or restricted")
	f.StringVarP(&o.out, "out", "o", "", "bundle to write, or - for standard output")
	f.BoolVar(&o.json, "json", false, "print what was written as JSON")
	f.BoolVar(&o.raw, "unscrubbed", false, "pack the files as they are, secrets and all")
	o.private.add(f)
	f.StringArrayVar(&o.keys, "key", nil, "encrypt restricted files for this key `REF` (default $TAPEDECK_KEY); repeatable")
	return c
}

func (o *buildOptions) check(terminal bool) error {
	any := o.rr+o.jfr+o.ebpf+o.network+o.db != ""
	switch {
	case o.out == "":
		return usageError("need --out FILE")
	case o.out == "-" && o.json:
		return usageError("--out - and --json both need standard output")
	case o.out == "-" && terminal:
		return usageError("a bundle on the terminal is of no use; need --out FILE or a pipe")
	case o.dir != "" && any:
		return usageError("need either a folder or --rr, --jfr, --ebpf, --network, --db")
	case o.dir == "" && !any:
		return usageError("need something to pack: a folder, or --rr, --jfr, --ebpf, --network, --db")
	}
	switch bundle.Class(o.class) {
	case bundle.Public, bundle.Internal, bundle.Restricted:
		return nil
	}
	return usageError("--class needs public, internal or restricted, found %q", o.class)
}

func runBundleBuild(ctx context.Context, o buildOptions, term *ui.Term) error {
	out := o.out
	if out == "-" {
		// A bundle's first entry is written last, so it needs a file.
		tmp, err := os.MkdirTemp("", "tapedeck-build-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		out = filepath.Join(tmp, "bundle.tar.zst")
	}
	s, err := buildSealer(ctx, o)
	if err != nil {
		return err
	}
	g, err := newGuard(ctx, o.private, s)
	if err != nil {
		return err
	}
	g.raw = o.raw
	w, err := bundle.WriterOptions{Sealer: s}.Create(out)
	if err != nil {
		return err
	}
	defer w.Abort()
	defer context.AfterFunc(ctx, w.Abort)()
	p, err := g.packer(w, noKey)
	if err != nil {
		return err
	}
	b := builder{ctx: ctx, o: o, p: p, term: term}
	if abs, err := filepath.Abs(out); err == nil {
		b.skip = abs
	}
	m, err := b.fill()
	if err != nil {
		return err
	}
	if err := p.Finish(m); err != nil {
		return err
	}
	if err := w.Commit(m); err != nil {
		return err
	}
	return b.report(m, out)
}

// buildSealer encrypts for the keys that are named. A folder that was a bundle
// keeps its id, which files that are encrypted already are bound to.
func buildSealer(ctx context.Context, o buildOptions) (bundle.Sealer, error) {
	refs := keyRefs(o.keys)
	if len(refs) == 0 || o.dir == "" {
		return sealer(ctx, refs)
	}
	text, err := os.ReadFile(filepath.Join(o.dir, bundle.ManifestName))
	if err != nil {
		return nil, err
	}
	m, err := bundle.ParseManifest(text)
	if err != nil {
		return nil, err
	}
	if m.BundleID == "" {
		return sealer(ctx, refs)
	}
	s, err := seal.NewSealerFor(ctx, m.BundleID, refs, keyOptions())
	if err != nil {
		return nil, err
	}
	return s, nil
}

// builder brings files from this machine into a bundle.
type builder struct {
	ctx  context.Context
	o    buildOptions
	p    *privacy.Packer
	term *ui.Term
	skip string // the bundle itself, which may be in the folder that it packs
	// What the folder's own manifest says of its files, and how far from the
	// end of its list they are.
	info  map[string]bundle.File
	place map[string]int
}

func (b *builder) fill() (*bundle.Manifest, error) {
	if b.o.dir != "" {
		text, err := os.ReadFile(filepath.Join(b.o.dir, bundle.ManifestName))
		if err != nil {
			return nil, err
		}
		m, err := bundle.ParseManifest(text)
		if err != nil {
			return nil, err
		}
		b.info, b.place = map[string]bundle.File{}, map[string]int{}
		for i, f := range m.Files {
			b.info[f.Path], b.place[f.Path] = f, len(m.Files)-i
		}
		if m.CreatedAt.IsZero() {
			m.CreatedAt = now()
		}
		return m, b.addDir("", b.o.dir)
	}
	m := &bundle.Manifest{CreatedAt: now(), Recorders: []bundle.Recorder{}, Privacy: bundle.Privacy{Schema: "v1"}}
	record := func(kind, field, at string) {
		m.Recorders = append(m.Recorders, bundle.Recorder{"kind": kind, field: at})
	}
	if b.o.rr != "" {
		record("rr", "rr_trace_dir", "traces/rr")
		if err := b.addDir("traces/rr", b.o.rr); err != nil {
			return nil, err
		}
	}
	if b.o.jfr != "" {
		record("jfr", "jfr_file", "traces/jfr/incident.jfr")
		if err := b.addFile("traces/jfr/incident.jfr", b.o.jfr); err != nil {
			return nil, err
		}
	}
	if b.o.ebpf != "" {
		record("ebpf", "bpf_profile", "traces/ebpf/profile.parquet")
		if err := b.addFile("traces/ebpf/profile.parquet", b.o.ebpf); err != nil {
			return nil, err
		}
	}
	if b.o.network != "" {
		m.Inputs.NetworkCassette = "inputs/http_vcr/"
		if err := b.addDir("inputs/http_vcr", b.o.network); err != nil {
			return nil, err
		}
	}
	if b.o.db != "" {
		m.Inputs.DBCassette = "inputs/sql_vcr.sqlite"
		if err := b.addFile("inputs/sql_vcr.sqlite", b.o.db); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (b *builder) addFile(name, host string) error {
	return b.p.AddFile(b.ctx, name, host, bundle.FileInfo{Class: bundle.Class(b.o.class)})
}

// addDir packs a folder. Links to files within it are packed as files; all
// that is neither file nor folder is left out, and said.
func (b *builder) addDir(prefix, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	var names []string
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if abs, err := filepath.Abs(filepath.Join(dir, name)); err == nil && abs == b.skip {
			return nil
		}
		st, err := root.Stat(name) // fails on links that lead out of the folder
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
		if !st.Mode().IsRegular() {
			b.term.Say(fmt.Sprintf("warning: left out %s, which is no file", filepath.Join(dir, name)))
			return nil
		}
		if prefix != "" || name != bundle.ManifestName && name != privacy.ReportPath {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(names) == 0 && prefix != "" {
		return fmt.Errorf("%s: need files to pack, found none", dir)
	}
	// The manifest's order first: a bundle that was unpacked comes out as it was.
	slices.SortStableFunc(names, func(x, y string) int { return b.place[y] - b.place[x] })
	for _, name := range names {
		if err := b.addFrom(root, path.Join(prefix, name), name); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) addFrom(root *os.Root, name, host string) error {
	f, err := root.Open(host)
	if err != nil {
		return err
	}
	defer f.Close()
	known := b.info[name]
	info := bundle.FileInfo{Media: known.MediaType, Class: known.Class, Encryption: known.Encryption, PlainSize: known.PlainSize}
	if info.Class == "" {
		info.Class = bundle.Class(b.o.class)
	}
	return b.p.Add(b.ctx, name, f, info)
}

// report says what was written; or hands it over, if it is for standard output.
func (b *builder) report(m *bundle.Manifest, out string) error {
	if b.o.out == "-" {
		f, err := os.Open(out)
		if err != nil {
			return err
		}
		_, err = io.Copy(b.term.Out, f)
		return errors.Join(err, f.Close())
	}
	st, err := os.Stat(out)
	if err != nil {
		return err
	}
	var unpacked int64
	for _, f := range m.Files {
		unpacked += f.Size
	}
	if b.o.json {
		return printJSON(b.term.Out, map[string]any{
			"path": out, "bundle_id": m.BundleID, "files": len(m.Files), "packed_bytes": st.Size(), "unpacked_bytes": unpacked,
		})
	}
	b.term.Say(fmt.Sprintf("%s, %s unpacked, %s packed", count(len(m.Files), "file"), ui.Bytes(unpacked), ui.Bytes(st.Size())))
	_, err = io.WriteString(b.term.Out, strings.TrimSpace(out)+"\n")
	return err
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }
