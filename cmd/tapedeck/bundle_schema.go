package main

import (
	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

func newBundleSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the manifest",
		Example: `  tapedeck bundle schema > manifest.schema.json

Exit codes:
  0  ok   1  error   4  usage`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError("need no arguments, found %q", args[0])
			}
			_, err := c.OutOrStdout().Write(bundle.Schema())
			return err
		},
	}
}
