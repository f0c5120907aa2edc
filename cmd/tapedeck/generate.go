package main

import (
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newGenerateCommand() *cobra.Command {
	c := &cobra.Command{Use: "generate", Short: "Generate files for packages of tapedeck"}
	c.AddCommand(&cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages into a folder",
		Long: `Man writes a page of section 1 for tapedeck and each of its commands into DIR,
which is made if it is not there. Their date is that of the source, if the build
knows it; else SOURCE_DATE_EPOCH is, or today.`,
		Example: `  tapedeck generate man ~/.local/share/man/man1`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			root := c.Root()
			root.DisableAutoGenTag = true // it holds today's date
			return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "tapedeck " + version(), Manual: "tapedeck", Date: sourceDate()}, args[0])
		},
	})
	return c
}

// sourceDate is when the source was committed; nil if the build does not know.
func sourceDate() *time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, s := range info.Settings {
		if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
			return &t
		}
	}
	return nil
}
