package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/internal/attest"
)

// policyFlags say what a bundle must prove.
type policyFlags struct {
	file     string
	signedBy []string
}

func (p *policyFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&p.file, "policy", "", "`FILE` that says what the bundle must prove, YAML")
	c.Flags().StringArrayVar(&p.signedBy, "signed-by", nil, "public key `FILE` that must have signed; repeatable")
}

// load returns the policy that the flags make up, or nil.
func (p *policyFlags) load() (*attest.Policy, error) {
	switch {
	case p.file != "" && len(p.signedBy) > 0:
		return nil, usageError("need either --policy or --signed-by: the policy says itself whose signatures count")
	case p.file != "":
		return attest.LoadPolicy(p.file)
	case len(p.signedBy) == 0:
		return nil, nil
	}
	policy := &attest.Policy{}
	for _, file := range p.signedBy {
		k, err := attest.ReadPublic(file)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(policy.Signers, func(s attest.Signer) bool { return s.Key.ID() == k.ID() }) {
			return nil, usageError("--signed-by %s is a key that was named already", file)
		}
		policy.Signers = append(policy.Signers, attest.Signer{Name: file, Key: k})
	}
	policy.Threshold = len(policy.Signers)
	return policy, nil
}

func printVerdict(out io.Writer, v *attest.Verdict) error {
	if v == nil {
		return nil
	}
	var errs []error
	say := func(what string, text any) {
		_, err := fmt.Fprintf(out, "%s: %s\n", what, text)
		errs = append(errs, err)
	}
	for _, s := range v.SignedBy {
		say("signed by", s)
	}
	for _, s := range v.Ignored {
		say("ignored", s)
	}
	for _, x := range v.Violations {
		say("refused", x)
	}
	if v.OK {
		say("policy", "fulfilled")
	} else {
		say("policy", "not fulfilled")
	}
	return errors.Join(errs...)
}
