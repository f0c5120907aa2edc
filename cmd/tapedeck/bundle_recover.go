package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/internal/record"
	"github.com/tapedeck-dev/tapedeck/internal/record/inputs"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

func newBundleRecoverCommand() *cobra.Command {
	var out string
	var keys []string
	var private ruleFlags
	c := &cobra.Command{
		Use:   "recover [flags] [SPOOL]",
		Short: "Make a bundle of a recording of inputs that was cut short",
		Long: `Recover makes a bundle of what tapedeck record --inputs left in its spool when it
was killed, or when the machine went down. Exchanges that were complete are
there; those under way are cut. Without SPOOL it lists what there is.`,
		Example: `  tapedeck bundle recover
  tapedeck bundle recover ~/.cache/tapedeck/spool/20260102-150405-123 -o incident.tar.zst

Exit codes:
  0  ok   1  error   4  usage`,
		RunE: func(c *cobra.Command, args []string) error {
			term := ui.New(c.OutOrStdout(), c.ErrOrStderr())
			switch {
			case len(args) == 0:
				return listSpools(term)
			case len(args) > 1 || out == "":
				return usageError("need one spool and --out FILE: %s", c.UseLine())
			}
			return runRecover(c.Context(), args[0], out, keys, private, term)
		},
	}
	f := c.Flags()
	f.StringVarP(&out, "out", "o", "", "bundle to write")
	f.StringArrayVar(&keys, "key", nil, "encrypt restricted files for this key `REF` (default $TAPEDECK_KEY); repeatable")
	private.add(f)
	return c
}

func listSpools(term *ui.Term) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(cache, "spool", "*"))
	if err != nil {
		return err
	}
	for _, dir := range found {
		fmt.Fprintln(term.Out, dir)
	}
	if len(found) == 0 {
		term.Say("no recording was cut short")
	}
	return nil
}

func runRecover(ctx context.Context, spool, out string, keys []string, private ruleFlags, term *ui.Term) error {
	if _, err := os.Stat(spool); err != nil { // else an empty one would be made
		return err
	}
	s, err := sealer(ctx, keyRefs(keys))
	if err != nil {
		return err
	}
	g, err := newGuard(ctx, private, s)
	if err != nil {
		return err
	}
	rec, job, err := inputs.Recover(spool)
	if err != nil {
		return err
	}
	defer rec.Close()
	dev := &recorder{kind: "inputs", shared: func() ([]record.File, error) { return nil, nil }}
	size, err := pack(ctx, out, job, rec, dev, g)
	if err != nil {
		return err
	}
	for _, w := range rec.Warnings {
		term.Say("warning: " + w)
	}
	term.Say(fmt.Sprintf("%s: %s, %v exchanges, %s", out, ui.Bytes(size), rec.Manifest["exchanges"], rec.Outcome))
	return os.RemoveAll(spool)
}
