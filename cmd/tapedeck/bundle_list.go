package main

import (
	"cmp"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

func newBundleListCommand(lim *limitFlags) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list [flags] BUNDLE",
		Short: "List the files of a bundle",
		Example: `  tapedeck bundle list incident.tar.zst
  tapedeck bundle list --json incident.tar.zst | jq -r '.files[] | select(.class == "restricted").path'

Exit codes:
  0  ok   1  error   4  usage   10  no such bundle   11  damaged   12  newer version`,
		Args: oneBundle,
		RunE: func(c *cobra.Command, args []string) error {
			r, done, err := openBundle(c, lim, args[0])
			if err != nil {
				return err
			}
			defer done()
			if asJSON {
				return printJSON(c.OutOrStdout(), map[string]any{"files": append([]bundle.File{}, r.Files()...)})
			}
			return table(c.OutOrStdout(), func(row func(...any)) {
				row("SIZE", "CLASS", "TYPE", "PATH")
				for _, f := range r.Files() {
					kind := cmp.Or(f.MediaType, "-")
					if f.Encryption != "" {
						kind += " (encrypted)"
					}
					row(f.Size, cmp.Or(f.Class, "-"), kind, f.Path)
				}
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON")
	return c
}
