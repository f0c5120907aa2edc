package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/attest"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

type signOptions struct {
	key, out, builder string
	json              bool
}

func newBundleSignCommand(lim *limitFlags) *cobra.Command {
	var o signOptions
	c := &cobra.Command{
		Use:   "sign --key FILE [flags] BUNDLE",
		Short: "Sign a bundle, after looking at every digest in it",
		Long: `Sign puts a signature into the bundle: a DSSE envelope around an in-toto statement
with the SLSA provenance, about the manifest, and so about every file that the
manifest lists. Nothing else in the bundle changes. Several keys can sign one
after the other. A damaged bundle, or one without digests, isn't signed.`,
		Example: `  tapedeck bundle keygen team.key
  tapedeck bundle sign --key team.key incident.tar.zst
  tapedeck bundle sign --key ci.key --builder https://ci.example.org/tapedeck -o signed.tar.zst incident.tar.zst
  tapedeck bundle verify --signed-by team.key.pub incident.tar.zst

Exit codes:
  0  signed   1  error   3  damaged, not signed   4  usage
  10  no such bundle   11  too damaged to be opened   12  newer version`,
		Args: oneBundle,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case o.key == "":
				return usageError("need --key FILE: tapedeck bundle keygen FILE makes one")
			case args[0] == "-":
				return usageError("sign needs the path of a bundle, not standard input: the signature goes into it")
			}
			l, err := lim.limits()
			if err != nil {
				return err
			}
			return runBundleSign(c.Context(), o, l, args[0], ui.New(c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	f := c.Flags()
	f.StringVar(&o.key, "key", "", "private key `FILE`, Ed25519 or ECDSA P-256, in PEM")
	f.StringVarP(&o.out, "out", "o", "", "`FILE` for the signed bundle (default: BUNDLE itself)")
	f.StringVar(&o.builder, "builder", "", "`URI` of who vouches for the provenance (default: what the recorder wrote)")
	f.BoolVar(&o.json, "json", false, "print what was signed as JSON")
	return c
}

func runBundleSign(ctx context.Context, o signOptions, lim bundle.Limits, path string, term *ui.Term) error {
	key, err := attest.ReadPrivate(o.key)
	if err != nil {
		return err
	}
	name := "attestations/" + key.Public().ID()[:16] + ".dsse.json"
	s, err := signable(ctx, lim, path, o.builder)
	if err != nil {
		return err
	}
	e, err := attest.Sign(s, key)
	if err != nil {
		return err
	}
	text, err := e.Encode()
	if err != nil {
		return err
	}
	if o.out == "" || o.out == path {
		o.out = path
		err = bundle.Attach(path, name, text)
	} else {
		err = attachCopy(path, o.out, name, text)
	}
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(term.Out, map[string]any{"path": o.out, "signature": name, "key_id": key.Public().ID(),
			"subject": s.Subject[0], "builder": s.Predicate.RunDetails.Builder.ID})
	}
	term.Say(fmt.Sprintf("signed by %s: %s", key.Public().ID(), name))
	_, err = fmt.Fprintln(term.Out, o.out)
	return err
}

// signable is the statement to sign, of a bundle that is what it says.
func signable(ctx context.Context, lim bundle.Limits, path, builder string) (*attest.Statement, error) {
	r, err := lim.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	rep, err := r.Verify(ctx)
	if err != nil {
		return nil, err
	}
	if rep.Status == bundle.Damaged {
		return nil, &codeError{exitFindings, fmt.Errorf("%s is damaged, so it isn't signed: tapedeck bundle verify tells what", path)}
	}
	return attest.Subject(r, builder)
}

// attachCopy signs a copy. The copy is beside its place until it is complete.
func attachCopy(path, out, name string, text []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(out), filepath.Base(out)+".*.partial")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	in, err := os.Open(path)
	if err != nil {
		return errors.Join(err, tmp.Close())
	}
	_, err = io.Copy(tmp, in)
	if err = errors.Join(err, in.Close(), tmp.Close()); err != nil {
		return err
	}
	if err := bundle.Attach(tmp.Name(), name, text); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), out)
}
