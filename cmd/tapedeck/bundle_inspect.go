package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

func newBundleInspectCommand(lim *limitFlags) *cobra.Command {
	var asJSON, raw bool
	c := &cobra.Command{
		Use:   "inspect [flags] BUNDLE",
		Short: "Say what a bundle holds",
		Example: `  tapedeck bundle inspect incident.tar.zst
  tapedeck bundle inspect --manifest incident.tar.zst
  tapedeck bundle inspect --json incident.tar.zst | jq .manifest.recorders

Exit codes:
  0  ok   1  error   4  usage   10  no such bundle   11  damaged   12  newer version`,
		Args: oneBundle,
		RunE: func(c *cobra.Command, args []string) error {
			if asJSON && raw {
				return usageError("need either --json or --manifest")
			}
			r, done, err := openBundle(c, lim, args[0])
			if err != nil {
				return err
			}
			defer done()
			switch out := c.OutOrStdout(); {
			case asJSON:
				return printJSON(out, newInspection(r))
			case raw:
				_, err := out.Write(r.ManifestBytes())
				return err
			default:
				return printInspection(out, r)
			}
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the summary and the manifest as JSON")
	c.Flags().BoolVar(&raw, "manifest", false, "print the manifest as it is in the bundle")
	return c
}

// inspection is the output of inspect --json.
type inspection struct {
	Format   bundle.Format    `json:"format"`
	Packed   int64            `json:"packed_bytes"`
	Unpacked int64            `json:"unpacked_bytes"`
	Files    int              `json:"files"`
	Warnings []string         `json:"warnings"`
	Manifest *bundle.Manifest `json:"manifest"`
}

func newInspection(r *bundle.Reader) inspection {
	v := inspection{
		Format: r.Format(), Packed: r.Size(), Files: len(r.Files()),
		Warnings: append([]string{}, r.Warnings()...), Manifest: r.Manifest(),
	}
	for _, f := range r.Files() {
		v.Unpacked += f.Size
	}
	return v
}

func printInspection(w io.Writer, r *bundle.Reader) error {
	v, m := newInspection(r), r.Manifest()
	return table(w, func(row func(...any)) {
		some := func(name, value string) {
			if value != "" {
				row(name, value)
			}
		}
		some("bundle", m.BundleID)
		if !m.CreatedAt.IsZero() {
			row("created", m.CreatedAt.Format(time.RFC3339))
		}
		row("format", fmt.Sprintf("%s, version %s", v.Format, m.Version))
		row("size", fmt.Sprintf("%s, %s unpacked, %s", ui.Bytes(v.Packed), ui.Bytes(v.Unpacked), count(v.Files, "file")))
		o := m.Origin
		some("origin", strings.Join(nonEmpty(o.Service, o.Env, o.Region, o.Revision), ", "))
		some("image", o.OCIImage)
		some("trace", o.OTelTraceID)
		for _, rec := range m.Recorders {
			row("recorder", strings.Join(append([]string{rec.Kind()}, fields(rec)...), " "))
		}
		in := m.Inputs
		some("inputs", strings.Join(nonEmpty(in.TimeStream, in.OrderStream, in.NetworkCassette, in.DBCassette), ", "))
		if in.RandomSeed != nil {
			row("seed", *in.RandomSeed)
		}
		for _, k := range m.Keys {
			n := 0
			for _, f := range m.Files {
				if f.Encryption == k.ID {
					n++
				}
			}
			row("encrypted", fmt.Sprintf("%s, with %s, tenant %s; opened by %s", count(n, "file"), k.ID, k.Tenant, strings.Join(k.Refs(), " or ")))
		}
		some("privacy", privacyOf(m))
		some("salt", m.Privacy.PIIHashSaltKDF)
		for _, l := range m.Lossy {
			row("lossy", l.Source+": "+l.Reason)
		}
		for _, a := range m.Attestations {
			row("attestation", a.Type+" "+a.File)
		}
	})
}

// privacyOf says what was done about private data, in a line.
func privacyOf(m *bundle.Manifest) string {
	var sets []string
	for _, r := range m.Privacy.Redaction {
		if !slices.Contains(sets, r.Ruleset) {
			sets = append(sets, r.Ruleset)
		}
	}
	clear := 0
	for _, f := range m.Files {
		if f.Class == bundle.Restricted && f.Encryption == "" {
			clear++
		}
	}
	var parts []string
	if len(sets) > 0 {
		parts = append(parts, "scrubbed by "+strings.Join(sets, ", "))
	}
	if clear > 0 {
		parts = append(parts, count(clear, "restricted file")+" in clear: a key would encrypt them")
	}
	return strings.Join(parts, "; ")
}

// fields lists the recorder's fields that are short text, by name.
func fields(rec bundle.Recorder) []string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(rec)) {
		if v := rec.String(k); k != "kind" && v != "" && len(v) <= 60 && !strings.ContainsAny(v, "\t\n\r\x1b") {
			list = append(list, k+"="+v)
		}
	}
	return list
}

func nonEmpty(list ...string) []string {
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}
