package main

import (
	"context"
	"os"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/seal"
	"github.com/tapedeck-dev/tapedeck/internal/seal/hsm"
)

// keyOptions say where this program finds keys.
func keyOptions() seal.Options {
	opt := seal.Options{KeyFile: seal.DefaultKeyFile(), Tenant: os.Getenv("TAPEDECK_TENANT"),
		Providers: map[string]func(context.Context, string) (seal.Wrapper, error){hsm.Scheme: hsm.Open}}
	for _, s := range []string{"awskms", "azurekeyvault", "gcpkms", "hashivault"} {
		opt.Providers[s] = cloudKMS
	}
	return opt
}

// keyFlags are those of the commands that read bundles.
type keyFlags struct {
	keys       []string
	identities []string
}

func (k *keyFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&k.keys, "key", nil, "key service or token, `REF`, that may be asked to open encrypted files (default $TAPEDECK_KEY); repeatable")
	c.Flags().StringArrayVar(&k.identities, "identity", nil, "`FILE` of age identities, or an ssh private key, to open encrypted files with; repeatable")
}

// opener opens encrypted files with the local key file and what the flags name.
func (k *keyFlags) opener(ctx context.Context) (*seal.Opener, error) {
	opt := keyOptions()
	var err error
	if opt.Identities, err = k.read(); err != nil {
		return nil, err
	}
	return seal.NewOpener(ctx, keyRefs(k.keys), opt), nil
}

func (k *keyFlags) read() ([]age.Identity, error) {
	var all []age.Identity
	for _, file := range k.identities {
		ids, err := seal.Identities(file)
		if err != nil {
			return nil, err
		}
		all = append(all, ids...)
	}
	return all, nil
}

// keyRefs is what --key names, or else TAPEDECK_KEY: references, with commas
// between them.
func keyRefs(flags []string) []string {
	if len(flags) > 0 {
		return flags
	}
	return slices.DeleteFunc(strings.Split(os.Getenv("TAPEDECK_KEY"), ","), func(s string) bool { return s == "" })
}

// sealer prepares to encrypt a bundle's restricted files; nil if no key is
// named. Whatever is wrong with a key comes up here.
func sealer(ctx context.Context, refs []string) (bundle.Sealer, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	s, err := seal.NewSealer(ctx, refs, keyOptions())
	if err != nil {
		return nil, err
	}
	return s, nil
}
