package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/internal/attest"
)

func newBundleKeygenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen FILE",
		Short: "Make a key to sign bundles with",
		Long: `Keygen writes an Ed25519 key to FILE, readable by you alone, and its public half to
FILE.pub, which those need who verify. It overwrites nothing. Keys that openssl
made do as well: Ed25519 or ECDSA P-256, in PEM.`,
		Example: `  tapedeck bundle keygen team.key
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out team.key

Exit codes:
  0  ok   1  error   4  usage`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError("need one file for the key, found %d: %s", len(args), c.UseLine())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			k, err := attest.NewKey()
			if err == nil {
				err = k.WriteNew(args[0])
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), k.Public().ID())
			return err
		},
	}
}
