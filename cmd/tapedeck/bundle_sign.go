package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/attest"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

type signOptions struct {
	key, newKey, keyType string
	out, builder         string
	json                 bool
}

func newBundleSignCommand(lim *limitFlags) *cobra.Command {
	var o signOptions
	c := &cobra.Command{
		Use:   "sign {--key FILE | --new-key FILE} [flags] [BUNDLE]",
		Short: "Sign a bundle, after looking at every digest in it",
		Long: `Sign puts a signature into the bundle: a DSSE envelope around an in-toto statement
with the SLSA provenance, about the manifest and every file. Nothing else in the
bundle changes. Several keys can sign one after the other. A damaged bundle, or
one without digests, isn't signed.

--new-key makes the key first: FILE, which nobody else can read, and FILE.pub,
which those need who verify. Without BUNDLE that is all. Keys that openssl made
do as well: ECDSA P-256 or Ed25519, in PEM.`,
		Example: `  tapedeck bundle sign --new-key team.pem
  tapedeck bundle sign --key team.pem incident.tar.zst
  tapedeck bundle sign --key ci.pem --builder https://ci.example.org/tapedeck -o signed.tar.zst incident.tar.zst
  tapedeck bundle verify --signed-by team.pem.pub incident.tar.zst

Exit codes:
  0  signed   1  error   3  damaged, not signed   4  usage
  10  no such bundle   11  too damaged to be opened   12  newer version`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(c.UseLine(), args); err != nil {
				return err
			}
			l, err := lim.limits()
			if err != nil {
				return err
			}
			return runBundleSign(c.Context(), o, l, args, ui.New(c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	f := c.Flags()
	f.StringVar(&o.key, "key", "", "private key `FILE` to sign with, PEM")
	f.StringVar(&o.newKey, "new-key", "", "make the key `FILE` and FILE.pub first")
	f.StringVar(&o.keyType, "key-type", "p256", "type of the new key: p256 or ed25519")
	f.StringVarP(&o.out, "out", "o", "", "`FILE` for the signed bundle (default: BUNDLE itself)")
	f.StringVar(&o.builder, "builder", "", "`URI` of who vouches for the provenance (default: what the recorder wrote)")
	f.BoolVar(&o.json, "json", false, "print what was signed as JSON")
	return c
}

func (o signOptions) check(use string, args []string) error {
	switch {
	case (o.key == "") == (o.newKey == ""):
		return usageError("need either --key FILE or --new-key FILE")
	case o.keyType != "p256" && o.keyType != "ed25519":
		return usageError("--key-type needs p256 or ed25519, found %q", o.keyType)
	case len(args) > 1 || len(args) == 0 && o.newKey == "":
		return usageError("need one bundle, found %d: %s", len(args), use)
	case len(args) == 1 && args[0] == "-":
		return usageError("need the path of a bundle, found standard input: the signature goes into the bundle")
	case o.builder != "" && !isURI(o.builder):
		return usageError("--builder needs a URI such as https://ci.example.org/tapedeck, found %q", o.builder)
	case len(args) == 0 && o.out+o.builder != "":
		return usageError("--out and --builder need a bundle to sign")
	}
	return nil
}

func isURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.IsAbs()
}

// signature is the output of sign --json.
type signature struct {
	KeyID     string `json:"key_id"`
	PublicKey string `json:"public_key,omitempty"` // file of a new key
	Path      string `json:"path,omitempty"`       // of the signed bundle
	Signature string `json:"signature,omitempty"`  // file in it
	Manifest  string `json:"manifest_sha256,omitempty"`
	Builder   string `json:"builder,omitempty"`
}

func runBundleSign(ctx context.Context, o signOptions, lim bundle.Limits, args []string, term *ui.Term) error {
	key, err := o.open()
	if err != nil {
		return err
	}
	done := signature{KeyID: key.Public().ID()}
	if o.newKey != "" {
		done.PublicKey = o.newKey + ".pub"
		term.Say(fmt.Sprintf("made %s and %s, key id %s", o.newKey, done.PublicKey, done.KeyID))
	}
	if len(args) == 1 {
		if err := o.sign(ctx, lim, args[0], key, &done); err != nil {
			return err
		}
		term.Say(fmt.Sprintf("signed with key id %s: %s", done.KeyID, done.Signature))
	}
	switch {
	case o.json:
		return printJSON(term.Out, done)
	case done.Path != "":
		_, err = fmt.Fprintln(term.Out, done.Path)
	}
	return err
}

// open reads the key, or makes it.
func (o signOptions) open() (*attest.PrivateKey, error) {
	if o.newKey == "" {
		return attest.ReadPrivate(o.key)
	}
	generate := attest.NewKey
	if o.keyType == "ed25519" {
		generate = attest.NewEd25519Key
	}
	key, err := generate()
	if err != nil {
		return nil, err
	}
	return key, key.WriteNew(o.newKey)
}

func (o signOptions) sign(ctx context.Context, lim bundle.Limits, path string, key *attest.PrivateKey, done *signature) error {
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
	done.Path, done.Signature = path, "attestations/"+done.KeyID[:16]+".dsse.json"
	done.Manifest, done.Builder = s.Subject[0].Digest["sha256"], s.Predicate.RunDetails.Builder.ID
	if o.out != "" {
		done.Path = o.out
	}
	return lim.AttachTo(done.Path, path, done.Signature, text)
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
