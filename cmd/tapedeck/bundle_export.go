package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/internal/exporter"
	"github.com/tapedeck-dev/tapedeck/internal/replay"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

type exportOptions struct {
	keyFlags
	har, warc string
	json      bool
}

func newBundleExportCommand() *cobra.Command {
	var o exportOptions
	c := &cobra.Command{
		Use:   "export --har FILE|--warc FILE [flags] BUNDLE",
		Short: "Write the recorded HTTP of a bundle for other tools",
		Long: `Export writes the HTTP that was recorded as an archive (HAR 1.2), for browsers'
tools and the like, or as one WARC 1.1 file, which has each message as it was on
the wire. Neither can carry all of a recording: what it could not is listed on
standard error, with counts. What the bundle has, is scrubbed already. FILE may be
- for standard output.`,
		Example: `  tapedeck bundle export --har incident.har incident.tar.zst
  tapedeck bundle export --warc incident.warc.gz incident.tar.zst
  tapedeck bundle export --har - incident.tar.zst | jq '.log.entries[].request.url'

Exit codes:
  0  ok   1  error, or no recorded inputs   4  usage   10  no such bundle   11  damaged
  12  newer version   13  encrypted, and no key`,
		Args: oneBundle,
		RunE: func(c *cobra.Command, args []string) error {
			file := o.har + o.warc
			switch {
			case (o.har == "") == (o.warc == ""):
				return usageError("need one of --har FILE and --warc FILE: %s", c.UseLine())
			case file == "-" && o.json:
				return usageError("- and --json both need standard output")
			case o.warc == "-" && isTerminal(c.OutOrStdout()):
				return usageError("a WARC file on the terminal is of no use; need --warc FILE or a pipe")
			}
			return runExport(c.Context(), o, args[0], ui.New(c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	o.keyFlags.add(c)
	f := c.Flags()
	f.StringVar(&o.har, "har", "", "write an archive, HAR 1.2, to `FILE`")
	f.StringVar(&o.warc, "warc", "", "write a WARC 1.1 file, compressed record by record, to `FILE`")
	f.BoolVar(&o.json, "json", false, "print what was written, and what could not be, as JSON")
	return c
}

func runExport(ctx context.Context, o exportOptions, path string, term *ui.Term) error {
	op, err := o.opener(ctx)
	if err != nil {
		return err
	}
	in, err := replay.OpenInputs(ctx, path, op)
	if err != nil {
		return err
	}
	defer in.Close()
	file, write := o.har, exporter.HAR
	if o.warc != "" {
		file, write = o.warc, exporter.WARC
	}
	s := exporter.Source{Cassette: in.Cassette, Bundle: in.Manifest.BundleID, Version: version()}
	var rep *exporter.Report
	fill := func(w io.Writer) (err error) { rep, err = write(w, s); return err }
	if file == "-" {
		err = fill(term.Out)
	} else {
		err = replaceFile(file, fill)
	}
	if err != nil {
		return err
	}
	term.Say(fmt.Sprintf("%s exported", count(rep.Exchanges, "exchange")))
	for _, l := range rep.Lost {
		term.Say(fmt.Sprintf("not carried (%d): %s", l.Count, l.What))
	}
	switch {
	case o.json:
		return printJSON(term.Out, map[string]any{"path": file, "exchanges": rep.Exchanges, "lost": rep.Lost})
	case file != "-":
		_, err = io.WriteString(term.Out, file+"\n")
	}
	return err
}

// replaceFile writes a file that appears at its place when it is complete.
func replaceFile(name string, fill func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-")
	if err != nil {
		return err
	}
	err = errors.Join(fill(f), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
