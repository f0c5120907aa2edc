package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

// limitFlags let a user raise what a bundle may cost to read.
type limitFlags struct {
	gib   int64
	ratio int64
	files int
}

func newBundleCommand() *cobra.Command {
	var lim limitFlags
	c := &cobra.Command{
		Use:   "bundle",
		Short: "Look into a bundle, check it, sign it, unpack it, build one",
		Long: `A bundle is one file that holds a recorded run: a tar, compressed with zstd,
whose first entry, trace_bundle.yaml, says what everything in it is. The commands
here read bundles that others made too: .tar, .tar.gz and .tar.zst, with or
without digests. BUNDLE may be - for standard input.`,
		Example: `  tapedeck bundle inspect incident.tar.zst
  tapedeck bundle list incident.tar.zst
  tapedeck bundle verify incident.tar.zst
  tapedeck bundle sign --key team.key incident.tar.zst
  tapedeck bundle extract incident.tar.zst -o incident
  tapedeck bundle build --jfr incident.jfr --db sql.sqlite --out incident.tar.zst

Exit codes:
  0  ok   1  error   3  verify found damage   4  usage
  10  no such bundle   11  damaged   12  newer version   13  refused: encrypted and no key, or not what a policy asks for`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError("need one of the commands that %s --help lists, found %q", c.CommandPath(), args[0])
			}
			return usageError("need a command: %s --help lists them", c.CommandPath())
		},
	}
	d := bundle.DefaultLimits()
	f := c.PersistentFlags()
	f.Int64Var(&lim.gib, "max-gib", d.Total>>30, "refuse bundles that unpack to more than `N` GiB")
	f.Int64Var(&lim.ratio, "max-ratio", d.Ratio, "refuse bundles that unpack to more than `N` times their size")
	f.IntVar(&lim.files, "max-files", d.Entries, "refuse bundles of more than `N` files")
	c.AddCommand(newBundleInspectCommand(&lim), newBundleListCommand(&lim), newBundleVerifyCommand(&lim),
		newBundleExtractCommand(&lim), newBundleRewrapCommand(&lim), newBundleScrubCommand(&lim),
		newBundleBuildCommand(), newBundleRecoverCommand(), newBundleExportCommand(), newBundleImportCommand(), newBundleSignCommand(&lim), newBundleSBOMCommand(&lim), newBundleSchemaCommand())
	return c
}

func (f *limitFlags) limits() (bundle.Limits, error) {
	if f.gib < 1 || f.ratio < 1 || f.files < 1 {
		return bundle.Limits{}, usageError("--max-gib, --max-ratio and --max-files need a number of 1 or more")
	}
	return bundle.Limits{Total: f.gib << 30, File: f.gib << 30, Ratio: f.ratio, Entries: f.files}, nil
}

// openBundle opens the bundle at path, or the one on standard input if path
// is "-". What the user should know of it goes to standard error.
func openBundle(c *cobra.Command, f *limitFlags, path string) (r *bundle.Reader, closeAll func(), err error) {
	return openSealed(c, f, path, bundle.OpenOptions{})
}

// openSealed is openBundle for a bundle whose encrypted files are looked into.
func openSealed(c *cobra.Command, f *limitFlags, path string, opt bundle.OpenOptions) (r *bundle.Reader, closeAll func(), err error) {
	lim, err := f.limits()
	if err != nil {
		return nil, nil, err
	}
	opt.Limits = lim
	var in *os.File
	if path == "-" {
		if in, err = spoolStdin(c.InOrStdin(), lim.Total); err != nil {
			return nil, nil, err
		}
		var st os.FileInfo
		if st, err = in.Stat(); err == nil {
			r, err = opt.NewReader(in, st.Size())
		}
	} else {
		r, err = opt.Open(path)
	}
	closeAll = func() {
		if r != nil {
			_ = r.Close()
		}
		if in != nil {
			_ = in.Close()
		}
	}
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	term := ui.New(c.OutOrStdout(), c.ErrOrStderr())
	for _, w := range r.Warnings() {
		term.Say("warning: " + w)
	}
	return r, closeAll, nil
}

// spoolStdin brings standard input into a file without a name, since a bundle
// is read from its end.
func spoolStdin(r io.Reader, most int64) (*os.File, error) {
	f, err := os.CreateTemp("", "tapedeck-stdin-")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(f.Name())
	n, err := io.Copy(f, io.LimitReader(r, most+1))
	if err == nil && n > most {
		err = &bundle.LimitError{What: "bytes on standard input", Limit: most, Found: n}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// count writes "1 file", "2 files".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table prints aligned columns.
func table(w io.Writer, fill func(row func(columns ...any))) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fill(func(columns ...any) {
		for i, col := range columns {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, col)
		}
		fmt.Fprintln(t)
	})
	return t.Flush()
}
