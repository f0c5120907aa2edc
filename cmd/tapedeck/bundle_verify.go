package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/attest"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

type verifyOptions struct {
	keyFlags
	policyFlags
	json, all, strict, noSweep bool
}

// verification is the output of verify --json.
type verification struct {
	*bundle.Report
	Private *swept          `json:"private,omitempty"`
	Policy  *attest.Verdict `json:"policy,omitempty"`
}

func newBundleVerifyCommand(lim *limitFlags) *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify [flags] BUNDLE",
		Short: "Compare everything in a bundle with the digests of its manifest",
		Long: `Verify reads every file and says of each that it is ok, damaged, missing (in the
manifest, not in the bundle), unlisted (the other way round), or unverified: the
manifest has no digest for it. A bundle without digests is never ok. Detached is
a signature of the manifest: it is looked at with --signed-by or --policy, whose
file says who must have signed, what must have been scrubbed or encrypted, and
more: docs/attestations.md. No key is needed for all that; of encrypted files
whose key is at hand, the content is checked too.

Then a second scanner, which has nothing in common with the one that scrubs,
searches everything that isn't restricted for private data, through gzip, base64
and other encodings, and says where it found some, never what.`,
		Example: `  tapedeck bundle verify incident.tar.zst
  tapedeck bundle verify --strict --json incident.tar.zst
  tapedeck bundle verify --signed-by team.pem.pub incident.tar.zst
  tapedeck bundle verify --policy policy.yaml incident.tar.zst

Exit codes:
  0  neither damage nor private data   1  error   4  usage
  3  damage, or private data; with --strict also: not verified
  10  no such bundle   11  too damaged to be opened   12  newer version
  13  intact, but not what --policy or --signed-by asks for`,
		Args: oneBundle,
		RunE: func(c *cobra.Command, args []string) error {
			policy, err := o.load()
			if err != nil {
				return err
			}
			op, err := o.opener(c.Context())
			if err != nil {
				return err
			}
			r, done, err := openSealed(c, lim, args[0], bundle.OpenOptions{Opener: op})
			if err != nil {
				return err
			}
			defer done()
			return runBundleVerify(c.Context(), o, policy, r, c.OutOrStdout())
		},
	}
	f := c.Flags()
	o.keyFlags.add(c)
	f.BoolVar(&o.json, "json", false, "print the report as JSON")
	f.BoolVar(&o.all, "all", false, "print a line for every file, not only for those that aren't ok")
	f.BoolVar(&o.noSweep, "no-sweep", false, "don't search for private data")
	f.BoolVar(&o.strict, "strict", false, "files without a digest count as damage")
	o.policyFlags.add(c)
	return c
}

func runBundleVerify(ctx context.Context, o verifyOptions, policy *attest.Policy, r *bundle.Reader, out io.Writer) error {
	rep, err := r.Verify(ctx)
	if err != nil {
		return err
	}
	v := verification{Report: rep}
	if policy != nil {
		if v.Policy, err = policy.Check(r, time.Now()); err != nil {
			return err
		}
	}
	if !o.noSweep {
		if v.Private, err = sweepBundle(ctx, r); err != nil {
			return err
		}
	}
	if o.json {
		err = printJSON(out, v)
	} else {
		err = errors.Join(printReport(out, rep, o.all), v.Private.print(out), printVerdict(out, v.Policy))
	}
	switch {
	case err != nil:
		return err
	case rep.Status == bundle.Damaged || o.strict && rep.Status != bundle.OK || v.Private.found():
		return &codeError{code: exitFindings}
	case v.Policy != nil && !v.Policy.OK:
		return &codeError{code: exitRefused}
	}
	return nil
}

func printReport(out io.Writer, rep *bundle.Report, all bool) error {
	for _, p := range rep.Problems {
		fmt.Fprintln(out, p)
	}
	err := table(out, func(row func(...any)) {
		for _, f := range rep.Files {
			if all || f.Status != bundle.OK && f.Status != bundle.Unverified {
				row(f.Status, f.Path, f.Detail)
			}
		}
	})
	fmt.Fprintf(out, "%s: %s, %s", rep.Status, count(len(rep.Files), "file"), ui.Bytes(rep.Bytes))
	for _, s := range []bundle.Status{bundle.OK, bundle.Damaged, bundle.Missing, bundle.Unlisted, bundle.Unverified, bundle.Detached} {
		if n := rep.Totals[s]; n > 0 {
			fmt.Fprintf(out, "; %d %s", n, s)
		}
	}
	sealed := map[bundle.Sealed]int{}
	for _, f := range rep.Files {
		sealed[f.Sealed]++
	}
	if n := sealed[bundle.Opened]; n > 0 {
		fmt.Fprintf(out, "; %d decrypted", n)
	}
	if n := sealed[bundle.Locked]; n > 0 {
		fmt.Fprintf(out, "; %d encrypted, not looked into: no key", n)
	}
	fmt.Fprintln(out)
	return err
}
