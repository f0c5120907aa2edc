package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/seal"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

type rewrapOptions struct {
	to      []string
	from    keyFlags
	out     string
	replace bool
	json    bool
}

func newBundleRewrapCommand(lim *limitFlags) *cobra.Command {
	var o rewrapOptions
	c := &cobra.Command{
		Use:   "rewrap [flags] BUNDLE --key REF -o OUT",
		Short: "Let further keys open a bundle, or others",
		Long: `Rewrap writes the bundle again with its data key wrapped by the keys that --key
names as well as by those that it has; with --replace, instead of them. The files
stay as they are. It needs a key that opens the bundle. Signatures of the old
manifest are left out, since it changes.

Who could open the bundle once may have kept the data key: --replace takes a key
out of this file, not out of his memory or of copies of the old one.`,
		Example: `  tapedeck bundle rewrap incident.tar.zst --key age1ql3z7hjy54pw3hyww5ay… -o for-ann.tar.zst
  tapedeck bundle rewrap --replace incident.tar.zst --key local:archive -o incident.tar.zst

Exit codes:
  0  ok   1  error   4  usage   10  no such bundle   11  damaged   12  newer version
  13  no key that opens it   14  a token, its helper or a key service is missing`,
		Args: oneBundle,
		RunE: func(c *cobra.Command, args []string) error {
			if len(o.to) == 0 || o.out == "" {
				return usageError("need --key REF and --out FILE")
			}
			l, err := lim.limits()
			if err != nil {
				return err
			}
			return runBundleRewrap(c.Context(), o, l, args[0], ui.New(c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	f := c.Flags()
	f.StringArrayVar(&o.to, "key", nil, "key `REF` that can open the new bundle; repeatable")
	f.StringArrayVar(&o.from.keys, "from", nil, "key service or token, `REF`, that may be asked to open the bundle (default $TAPEDECK_KEY); repeatable")
	f.StringArrayVar(&o.from.identities, "identity", nil, "`FILE` of age identities, or an ssh private key, to open the bundle with; repeatable")
	f.BoolVar(&o.replace, "replace", false, "the keys that it has now can't open the new one")
	f.StringVarP(&o.out, "out", "o", "", "bundle to write; may be BUNDLE itself")
	f.BoolVar(&o.json, "json", false, "print what was written as JSON")
	return c
}

func runBundleRewrap(ctx context.Context, o rewrapOptions, lim bundle.Limits, path string, term *ui.Term) error {
	r, err := lim.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	m, err := bundle.ParseManifest(r.ManifestBytes())
	if err != nil {
		return err
	}
	opt := keyOptions()
	if opt.Identities, err = o.from.read(); err != nil {
		return err
	}
	if err := seal.NewOpener(ctx, keyRefs(o.from.keys), opt).Rewrap(m, o.to, o.replace); err != nil {
		return err
	}
	dropped, err := r.Rewrite(o.out, m)
	if err != nil {
		return err
	}
	var refs []string
	for _, k := range m.Keys {
		refs = append(refs, k.Refs()...)
	}
	if o.json {
		return printJSON(term.Out, map[string]any{"path": o.out, "bundle_id": m.BundleID, "key_refs": refs, "signatures_left_out": append([]string{}, dropped...)})
	}
	for _, name := range dropped {
		term.Say("left out " + name + ", which signs the old manifest")
	}
	term.Say(fmt.Sprintf("%s: %s can open it", o.out, count(len(refs), "key")))
	return nil
}
