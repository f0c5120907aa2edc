package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/internal/seal"
	"github.com/tapedeck-dev/tapedeck/internal/seal/hsm"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

// keyCommand has the flags of the key commands.
type keyCommand struct {
	salt bool
	json bool
	yes  bool
}

func newKeyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "Make, list, rotate and destroy the keys that bundles are encrypted with",
		Long: `Recordings that can't be scrubbed are encrypted when a key is named: each bundle
with a data key of its own, which is wrapped by the keys that these references
name.

  local:NAME                     in the local key file; local:default is made on
                                 its first use
  pkcs11:token=T;object=LABEL    in a PKCS#11 token (needs tapedeck-pkcs11)
  awskms://… gcpkms://… azurekeyvault://… hashivault://NAME
                                 in a cloud service (a build with -tags cloudkms)
  age1… or 'ssh-ed25519 …'       a person, who opens it with --identity FILE

The key file is $TAPEDECK_KEYS, or tapedeck/keys.json in the folder of your
settings. Salts, which scrubbed tokens are made with, are in it too: --salt.`,
		Example: `  tapedeck key new payments
  tapedeck record --key local:payments -- ./server --selftest
  tapedeck key rotate payments
  tapedeck key destroy payments --yes

Exit codes:
  0  ok   1  error   4  usage   13  refused: no such key, or nobody confirmed
  14  a token, its helper or a key service is missing`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError("need one of the commands that %s --help lists, found %q", c.CommandPath(), args[0])
			}
			return usageError("need a command: %s --help lists them", c.CommandPath())
		},
	}
	c.AddCommand(newKeyNewCommand(), newKeyListCommand(), newKeyRotateCommand(), newKeyDestroyCommand())
	return c
}

func newKeyNewCommand() *cobra.Command {
	var o keyCommand
	c := &cobra.Command{
		Use:     "new [flags] [NAME | pkcs11:token=T;object=LABEL]",
		Short:   "Make a key (default name: default)",
		Example: "  tapedeck key new payments\n  tapedeck key new --salt payments\n  tapedeck key new 'pkcs11:token=prod;object=payments'",
		Args:    atMostOneName,
		RunE: func(c *cobra.Command, args []string) error {
			name := "default"
			if len(args) == 1 {
				name = args[0]
			}
			if inToken(name) {
				k, err := hsm.OpenKey(name)
				if err == nil {
					err = k.New(c.Context())
				}
				if err != nil {
					return err
				}
				return o.told(c, map[string]any{"ref": name}, name+": made in the token")
			}
			e, err := seal.Keys{Path: seal.DefaultKeyFile()}.New(o.kind(), strings.TrimPrefix(name, "local:"))
			return o.print(c, e, "made in "+seal.DefaultKeyFile(), err)
		},
	}
	o.flags(c)
	return c
}

func newKeyListCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the keys and salts of the key file, and those that were destroyed",
		Example: "  tapedeck key list\n  tapedeck key list --json | jq -r '.keys[].ref'",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := seal.Keys{Path: seal.DefaultKeyFile()}.List()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), map[string]any{"path": seal.DefaultKeyFile(), "keys": list})
			}
			return table(c.OutOrStdout(), func(row func(...any)) {
				row("KIND", "REF", "ID", "VERSIONS", "CREATED", "DESTROYED")
				for _, e := range list {
					gone := "-"
					if e.Destroyed != nil {
						gone = e.Destroyed.Format(time.DateOnly)
					}
					row(e.Kind, e.Ref, e.ID, len(e.Versions), e.Created.Format(time.DateOnly), gone)
				}
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON")
	return c
}

func newKeyRotateCommand() *cobra.Command {
	var o keyCommand
	c := &cobra.Command{
		Use:   "rotate [flags] NAME",
		Short: "Make a new version of a key, for the bundles from now on",
		Long: `Rotate makes a new version of a key. Bundles that an old one encrypted can still
be opened; tapedeck bundle rewrap --replace takes one to the new version. A new
version of a salt makes other tokens: they can't be compared with older ones.`,
		Example: "  tapedeck key rotate payments\n  tapedeck key rotate --salt default",
		Args:    oneName,
		RunE: func(c *cobra.Command, args []string) error {
			e, err := seal.Keys{Path: seal.DefaultKeyFile()}.Rotate(o.kind(), strings.TrimPrefix(args[0], "local:"))
			return o.print(c, e, fmt.Sprintf("version %d wraps from now on", len(e.Versions)), err)
		},
	}
	o.flags(c)
	return c
}

func newKeyDestroyCommand() *cobra.Command {
	var o keyCommand
	c := &cobra.Command{
		Use:   "destroy [flags] NAME | pkcs11:token=T;object=LABEL",
		Short: "Destroy a key for good, and with it what only it can open",
		Long: `Destroy removes all versions of a key and overwrites them in the key file. No
bundle that it alone can open is ever opened again, by anybody. Its name, id and
date stay in the list. Copies of the key file that you made have the key still.`,
		Example: "  tapedeck key destroy payments\n  tapedeck key destroy payments --yes --json",
		Args:    oneName,
		RunE: func(c *cobra.Command, args []string) error {
			name := args[0]
			if !o.yes {
				if err := confirm(c, name); err != nil {
					return err
				}
			}
			if inToken(name) {
				k, err := hsm.OpenKey(name)
				if err == nil {
					err = k.Destroy(c.Context())
				}
				if err != nil {
					return err
				}
				return o.told(c, map[string]any{"ref": name}, name+": destroyed in the token")
			}
			e, err := seal.Keys{Path: seal.DefaultKeyFile()}.Destroy(o.kind(), strings.TrimPrefix(name, "local:"))
			return o.print(c, e, "destroyed; what only it can open stays unreadable", err)
		},
	}
	o.flags(c)
	c.Flags().BoolVarP(&o.yes, "yes", "y", false, "don't ask")
	return c
}

func (o *keyCommand) flags(c *cobra.Command) {
	c.Flags().BoolVar(&o.salt, "salt", false, "a salt of scrubbed tokens, instead of a key")
	c.Flags().BoolVar(&o.json, "json", false, "print the key's entry as JSON")
}

func (o *keyCommand) kind() seal.Kind {
	if o.salt {
		return seal.KindSalt
	}
	return seal.KindKey
}

func (o *keyCommand) print(c *cobra.Command, e seal.Entry, what string, err error) error {
	if err != nil {
		return err
	}
	return o.told(c, e, fmt.Sprintf("%s (%s): %s", e.Ref, e.ID, what))
}

func (o *keyCommand) told(c *cobra.Command, v any, text string) error {
	if o.json {
		return printJSON(c.OutOrStdout(), v)
	}
	ui.New(c.OutOrStdout(), c.ErrOrStderr()).Say(text)
	return nil
}

func inToken(name string) bool { return strings.HasPrefix(name, hsm.Scheme+":") }

// confirm has the user type the name: a habit answers y.
func confirm(c *cobra.Command, name string) error {
	refused := func(found string) error {
		return &codeError{exitRefused, fmt.Errorf("destroy %s: need --yes, or the name on a terminal, found %s", name, found)}
	}
	if !isTerminal(c.OutOrStdout()) && !isTerminal(c.ErrOrStderr()) {
		return refused("neither")
	}
	fmt.Fprintf(c.ErrOrStderr(), "Nobody will ever open the bundles that only %s opens. Type its name to destroy it: ", name)
	answer, err := readLine(c.Context(), c.InOrStdin())
	if err != nil {
		return err
	}
	if answer != name {
		return refused("another name")
	}
	return nil
}

func readLine(ctx context.Context, r io.Reader) (string, error) {
	type line struct {
		text string
		err  error
	}
	got := make(chan line, 1)
	go func() {
		text, err := bufio.NewReader(r).ReadString('\n')
		if err == io.EOF {
			err = nil
		}
		got <- line{strings.TrimSpace(text), err}
	}()
	select {
	case l := <-got:
		return l.text, l.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func oneName(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError("need one name: %s", c.UseLine())
	}
	return nil
}

func atMostOneName(c *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError("need one name, found %d: %s", len(args), c.UseLine())
	}
	return nil
}
