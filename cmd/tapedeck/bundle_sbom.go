package main

import (
	"io"
	"path"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/attest"
	"github.com/tapedeck-dev/tapedeck/internal/sbom"
)

func newBundleSBOMCommand(lim *limitFlags) *cobra.Command {
	var self bool
	c := &cobra.Command{
		Use:   "sbom {BUNDLE | --self}",
		Short: "Print what the recorded program is made of",
		Long: `Sbom prints the software bill of materials that was made when the program was
recorded: SPDX 2.3, JSON. Of a bundle that has none it prints what the manifest
tells, which is little, and says so. --self prints tapedeck's own.`,
		Example: `  tapedeck bundle sbom incident.tar.zst
  tapedeck bundle sbom incident.tar.zst | jq -r '.packages[] | .name + " " + .versionInfo'
  tapedeck bundle sbom --self > tapedeck.spdx.json

Exit codes:
  0  ok   1  error   4  usage   10  no such bundle   11  damaged   12  newer version`,
		RunE: func(c *cobra.Command, args []string) error {
			if self && len(args) > 0 || !self && len(args) != 1 {
				return usageError("need one bundle, or --self: %s", c.UseLine())
			}
			info, _ := debug.ReadBuildInfo()
			if self {
				return printSBOM(c.OutOrStdout(), sbom.Self(info, now()))
			}
			r, done, err := openBundle(c, lim, args[0])
			if err != nil {
				return err
			}
			defer done()
			return runBundleSBOM(r, info, c.OutOrStdout())
		},
	}
	c.Flags().BoolVar(&self, "self", false, "print the list of tapedeck itself")
	return c
}

func runBundleSBOM(r *bundle.Reader, self *debug.BuildInfo, out io.Writer) error {
	m := r.Manifest()
	for _, a := range m.Attestations {
		if a.Type != attest.SBOMKind {
			continue
		}
		text, err := r.ReadFile(a.File, attest.MaxSBOM)
		if err != nil {
			return err
		}
		_, err = out.Write(text)
		return err
	}
	p := sbom.Program{}
	for _, rec := range m.Recorders {
		if command, ok := rec["command"].([]any); ok && len(command) > 0 {
			name, _ := command[0].(string)
			p.Name = path.Base(name)
		}
	}
	return printSBOM(out, sbom.Describe(p, self, m.CreatedAt))
}

func printSBOM(out io.Writer, d sbom.Document) error {
	text, err := d.Encode()
	if err == nil {
		_, err = out.Write(text)
	}
	return err
}
