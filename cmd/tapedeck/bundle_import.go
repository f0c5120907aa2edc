package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/importer"
	"github.com/tapedeck-dev/tapedeck/internal/record/inputs"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

type importOptions struct {
	formats map[string]*bool
	baseURL string
	out     string
	json    bool
	private ruleFlags
}

func newBundleImportCommand() *cobra.Command {
	o := importOptions{formats: map[string]*bool{}}
	c := &cobra.Command{
		Use:   "import --FORMAT [flags] PATH... --out FILE",
		Short: "Make a bundle of HTTP that another tool recorded",
		Long: `Import makes a bundle of an archive, a cassette or stubs of another tool, for
tapedeck replay BUNDLE -- COMMAND. A PATH is a file, or a folder in which files of
the format are looked for: for WireMock name its root folder, which has mappings
and __files.

Everything is scrubbed before it is written: see tapedeck bundle scrub --help. A
stub that stands for more than one request is not imported, and named, as is what
the file does not have whole. Names get addresses of 198.18.0.0/15 unless the
file tells the server's own.`,
		Example: `  tapedeck bundle import --har checkout.har -o checkout.tar.zst
  tapedeck bundle import --go-vcr testdata/fixtures -o client.tar.zst
  tapedeck bundle import --wiremock --base-url https://api.example.com wiremock -o api.tar.zst
  tapedeck replay checkout.tar.zst -- ./checkout

Exit codes:
  0  ok   1  error, or nothing could be imported   4  usage   11  a file is damaged, or of another format`,
		RunE: func(c *cobra.Command, args []string) error {
			format, err := o.format()
			if err != nil {
				return err
			}
			if len(args) == 0 || o.out == "" {
				return usageError("need a file or a folder, and --out FILE: %s", c.UseLine())
			}
			return runImport(c.Context(), o, format, args, ui.New(c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	f := c.Flags()
	what := map[string]string{"har": "HTTP archives, as of browsers and proxies", "warc": "WARC files", "hoverfly": "simulations of hoverfly, v5",
		"wiremock": "stub mappings of WireMock", "go-vcr": "cassettes of go-vcr", "keploy": "HTTP mocks of keploy", "vcrpy": "cassettes of vcrpy"}
	for _, name := range importer.Formats() {
		o.formats[name] = f.Bool(name, false, what[name])
	}
	f.StringVar(&o.baseURL, "base-url", "", "scheme and host, or scheme alone, of requests for which the file names none: `URL`")
	f.StringVarP(&o.out, "out", "o", "", "bundle to write")
	f.BoolVar(&o.json, "json", false, "print what was imported, and what was not, as JSON")
	o.private.add(f)
	return c
}

func (o *importOptions) format() (string, error) {
	var named []string
	for _, name := range importer.Formats() {
		if *o.formats[name] {
			named = append(named, name)
		}
	}
	if len(named) != 1 {
		return "", usageError("need one of --%s, found %d", strings.Join(importer.Formats(), ", --"), len(named))
	}
	return named[0], nil
}

func (o *importOptions) base() (opt importer.Options, err error) {
	if o.baseURL == "" {
		return opt, nil
	}
	u, err := url.Parse(o.baseURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return opt, usageError("--base-url needs a URL such as https://api.example.com, or https://, without a path")
	}
	return importer.Options{Scheme: u.Scheme, Authority: u.Host}, nil
}

// imported is what --json prints.
type imported struct {
	Path       string             `json:"path"`
	BundleID   string             `json:"bundle_id"`
	Format     string             `json:"format"`
	Tool       string             `json:"tool,omitempty"`
	Exchanges  int                `json:"exchanges"`
	Skipped    []importer.Skipped `json:"skipped"`
	Changed    []importer.Note    `json:"changed"`
	NotCarried []string           `json:"not_carried"`
}

func runImport(ctx context.Context, o importOptions, format string, paths []string, term *ui.Term) error {
	base, err := o.base()
	if err != nil {
		return err
	}
	g, err := newGuard(ctx, o.private, nil)
	if err != nil {
		return err
	}
	tape, err := importer.Read(format, paths, base)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tapedeck-import-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	done, err := tape.Write(filepath.Join(dir, "inputs"), g.clean, now())
	if errors.Is(err, importer.ErrEmpty) {
		sayImported(g, tape, done, term)
	}
	if err != nil {
		return err
	}
	m := importManifest(tape, done)
	if err := packImported(ctx, o.out, dir, m, done, g); err != nil {
		return err
	}
	for i := range done.Skipped {
		done.Skipped[i].Where = g.text(done.Skipped[i].Where)
	}
	sayImported(g, tape, done, term)
	if o.json {
		r := imported{o.out, m.BundleID, tape.Format, g.text(tape.Tool), done.Exchanges, done.Skipped, done.Notes, tape.Lost}
		if r.Skipped == nil {
			r.Skipped = []importer.Skipped{}
		}
		if r.Changed == nil {
			r.Changed = []importer.Note{}
		}
		return printJSON(term.Out, r)
	}
	_, err = io.WriteString(term.Out, o.out+"\n")
	return err
}

const maxSaid = 20 // skipped parts that are named on the terminal, and in the manifest maxListed

const maxListed = 1000

func sayImported(g *guard, tape *importer.Tape, done *importer.Written, term *ui.Term) {
	term.Say(fmt.Sprintf("%s of %s imported, of %s", count(done.Exchanges, "exchange"), tape.Format, count(done.Hosts, "host")))
	for i, s := range done.Skipped {
		if i == maxSaid {
			term.Say(fmt.Sprintf("skipped: %d more; --json lists them all", len(done.Skipped)-maxSaid))
			break
		}
		term.Say("skipped: " + g.text(s.Where) + ": " + s.Reason)
	}
	for _, n := range done.Notes {
		term.Say(fmt.Sprintf("changed (%d): %s", n.Count, n.What))
	}
	term.Say("not in the file: " + strings.Join(tape.Lost, "; "))
}

// importManifest says where the inputs come from, and what is not known of them.
// The maps are plain, since those are scrubbed.
func importManifest(tape *importer.Tape, done *importer.Written) *bundle.Manifest {
	list := func(n int, each func(i int) map[string]any) []any {
		all := []any{}
		for i := range min(n, maxListed) {
			all = append(all, each(i))
		}
		return all
	}
	lost := []any{}
	for _, what := range tape.Lost {
		lost = append(lost, map[string]any{"what": what})
	}
	fields := map[string]any{}
	for _, f := range done.Files {
		if name := inputs.Field(f.Path); name != "" {
			fields[name] = "inputs/" + f.Path
		}
	}
	if _, ok := fields["network_cassette"]; ok {
		fields["network_cassette"] = "inputs/http_vcr/"
	}
	return &bundle.Manifest{CreatedAt: now(), Env: map[string]string{}, Inputs: inputsOf(fields),
		Toolchain: map[string]any{"tapedeck": version(), "go": runtime.Version()},
		Recorders: []bundle.Recorder{{"kind": "inputs", "inputs_dir": "inputs", "imported": tape.Format, "tool": tape.Tool, "order": "any",
			"exchanges": done.Exchanges, "skipped_count": len(done.Skipped), "not_carried": lost,
			"skipped": list(len(done.Skipped), func(i int) map[string]any {
				return map[string]any{"where": done.Skipped[i].Where, "reason": done.Skipped[i].Reason}
			}),
			"changed": list(len(done.Notes), func(i int) map[string]any {
				return map[string]any{"what": done.Notes[i].What, "count": done.Notes[i].Count}
			})}}}
}

func packImported(ctx context.Context, out, dir string, m *bundle.Manifest, done *importer.Written, g *guard) error {
	w, err := bundle.WriterOptions{}.Create(out)
	if err != nil {
		return err
	}
	defer w.Abort()
	defer context.AfterFunc(ctx, w.Abort)()
	p, err := g.packer(w, noKey)
	if err != nil {
		return err
	}
	for i, f := range done.Files {
		counts := g.clean.Report().Counts
		if i > 0 {
			counts = nil // they are of all files together
		}
		if err := p.AddScrubbed("inputs/"+f.Path, filepath.Join(dir, "inputs", f.Path), bundle.FileInfo{Media: f.Media, Class: bundle.Internal}, counts); err != nil {
			return err
		}
	}
	if err := p.Finish(m); err != nil {
		return err
	}
	return w.Commit(m)
}
