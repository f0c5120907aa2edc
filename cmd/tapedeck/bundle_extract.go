package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

func newBundleExtractCommand(lim *limitFlags) *cobra.Command {
	var out string
	var asJSON, stored bool
	var keys keyFlags
	c := &cobra.Command{
		Use:   "extract [flags] BUNDLE [NAME...]",
		Short: "Unpack a bundle, or some files or folders of it",
		Long: `Extract writes the files into a folder, by default one with the bundle's name in
the current one. It compares each with its digest, and never writes outside the
folder, over a file that exists, or through a symbolic link. With -o - it writes
one file to standard output. Encrypted files are decrypted, and the extracted
manifest says so; with --sealed they come as they are.`,
		Example: `  tapedeck bundle extract incident.tar.zst
  tapedeck bundle extract incident.tar.zst -o /tmp/incident inputs
  tapedeck bundle extract incident.tar.zst -o - traces/jfr/incident.jfr | jfr summary /dev/stdin

Exit codes:
  0  ok   1  error   4  usage   10  no such bundle   11  damaged   12  newer version
  13  encrypted, and no key`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError("need a bundle: %s", c.UseLine())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			path, names := args[0], args[1:]
			if out == "" && path == "-" {
				return usageError("need -o DIR to extract what comes from standard input")
			}
			if out == "-" && (len(names) != 1 || asJSON) {
				return usageError("-o - writes one file: need one NAME, and no --json")
			}
			op, err := keys.opener(c.Context())
			if err != nil {
				return err
			}
			r, done, err := openSealed(c, lim, path, bundle.OpenOptions{Opener: op, Stored: stored})
			if err != nil {
				return err
			}
			defer done()
			if out == "-" {
				f, err := r.Open(names[0])
				if err != nil {
					return err
				}
				defer f.Close()
				_, err = io.Copy(c.OutOrStdout(), f)
				return err
			}
			dir := out
			if dir == "" {
				dir = stem(path)
			}
			if err := r.Extract(c.Context(), dir, names...); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), map[string]string{"dir": dir})
			}
			_, err = io.WriteString(c.OutOrStdout(), dir+"\n")
			return err
		},
	}
	c.Flags().StringVarP(&out, "out", "o", "", "folder to write to, or - for standard output (default: the bundle's name)")
	c.Flags().BoolVar(&stored, "sealed", false, "leave encrypted files as they are")
	keys.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print where the files are as JSON")
	return c
}

// stem is the name of a bundle without its folder and endings.
func stem(path string) string {
	base := filepath.Base(path)
	for _, end := range []string{".zst", ".gz", ".tgz", ".tar"} {
		base = strings.TrimSuffix(base, end)
	}
	if base == filepath.Base(path) {
		base += ".d" // a name without an ending: the file itself has it
	}
	return base
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
