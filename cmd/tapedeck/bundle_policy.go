package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/internal/attest"
)

// policyFlags say what a bundle must prove.
type policyFlags struct {
	file    string
	signers []string
}

func (o *policyFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&o.file, "policy", "", "`FILE` that says what the bundle must prove, YAML")
	c.Flags().StringArrayVar(&o.signers, "signed-by", nil, "public key `FILE` whose owner must have signed; repeatable")
}

// load returns the policy that the flags make up, or nil.
func (o *policyFlags) load() (*attest.Policy, error) {
	switch {
	case o.file != "" && len(o.signers) > 0:
		return nil, usageError("need either --policy or --signed-by: the policy says itself whose signatures count")
	case o.file != "":
		return attest.LoadPolicy(o.file)
	case len(o.signers) == 0:
		return nil, nil
	}
	p := &attest.Policy{}
	for _, file := range o.signers {
		k, err := attest.ReadPublic(file)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(p.Signers, func(s attest.Signer) bool { return s.Key.ID() == k.ID() }) {
			return nil, usageError("--signed-by %s is a key that was named already", file)
		}
		p.Signers = append(p.Signers, attest.Signer{Name: file, Key: k})
	}
	p.Threshold = len(p.Signers)
	return p, nil
}

func printVerdict(out io.Writer, v *attest.Verdict) error {
	if v == nil {
		return nil
	}
	for _, s := range v.SignedBy {
		fmt.Fprintln(out, "signed by", s)
	}
	for _, s := range v.Ignored {
		fmt.Fprintln(out, "ignored:", s)
	}
	for _, x := range v.Violations {
		fmt.Fprintln(out, "refused:", x)
	}
	what := "policy: fulfilled"
	if !v.OK {
		what = "policy: not fulfilled"
	}
	_, err := fmt.Fprintln(out, what)
	return err
}
