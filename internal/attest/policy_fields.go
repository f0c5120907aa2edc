package attest

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

func (p *parser) policy(n *yaml.Node) error {
	out := &p.policyMade
	var version int
	var classes []string
	err := p.walk(n, "", fields{
		"version":      p.number(&version, 1, 1),
		"signatures":   p.signatures,
		"builders":     p.texts(&out.Builders, "a builder id, a URI"),
		"recorders":    p.texts(&out.Recorders, "a recorder's kind, such as vm"),
		"max_age":      p.age,
		"redaction":    p.redactions,
		"encrypted":    p.texts(&classes, "a class", string(bundle.Public), string(bundle.Internal), string(bundle.Restricted)),
		"attestations": p.texts(&out.Attestations, "a type, such as "+ProvenanceKind),
	}, "version")
	if err != nil {
		return err
	}
	for _, c := range classes {
		out.Encrypted = append(out.Encrypted, bundle.Class(c))
	}
	if len(out.Builders) > 0 && out.Threshold == 0 {
		return p.err(n, "builders", "signatures too", "none", "anybody can write a builder's id into a bundle: say under signatures who must have signed it")
	}
	return nil
}

func (p *parser) signatures(n *yaml.Node, at string) error {
	out := &p.policyMade
	out.Threshold = 1
	var threshold *yaml.Node
	seen := map[string]bool{}
	err := p.walk(n, at, fields{
		"threshold": func(n *yaml.Node, at string) error {
			threshold = n
			return p.number(&out.Threshold, 1, maxItems)(n, at)
		},
		"keys": func(n *yaml.Node, at string) error {
			return p.each(n, at, "a list of public keys", func(n *yaml.Node, at string) error {
				s, err := p.signer(n, at)
				if err != nil {
					return err
				}
				if seen[s.Key.ID()] {
					return p.err(n, at, "a key of its own", "one that is in the list already", "")
				}
				seen[s.Key.ID()] = true
				out.Signers = append(out.Signers, s)
				return nil
			})
		},
	}, "keys")
	if err == nil && out.Threshold > len(out.Signers) {
		err = p.err(threshold, at+".threshold", fmt.Sprintf("at most the number of keys, %d", len(out.Signers)), strconv.Itoa(out.Threshold), "")
	}
	return err
}

func (p *parser) signer(n *yaml.Node, at string) (Signer, error) {
	var s Signer
	var read func() (*PublicKey, error)
	source := func(how func(string) (*PublicKey, error), need string) func(*yaml.Node, string) error {
		return func(n *yaml.Node, at string) error {
			text, err := p.text(n, at, need)
			if err == nil && read != nil {
				err = p.err(n, at, "either file or pem", "both", "")
			}
			read = func() (*PublicKey, error) { return how(text) }
			return err
		}
	}
	err := p.walk(n, at, fields{
		"name": func(n *yaml.Node, at string) (err error) {
			s.Name, err = p.text(n, at, "a name")
			return err
		},
		"file": source(p.open, "a path, seen from the policy's folder"),
		"pem":  source(func(t string) (*PublicKey, error) { return ParsePublic([]byte(t)) }, "a PEM block PUBLIC KEY"),
	})
	if err != nil {
		return s, err
	}
	if read == nil {
		return s, p.err(n, at, "file or pem", "neither", "")
	}
	if s.Key, err = read(); err != nil {
		var k *KeyError
		if errors.As(err, &k) && k.File == "" {
			return s, p.err(n, at+".pem", k.Need, k.Found, k.Fix)
		}
	}
	return s, err
}

func (p *parser) age(n *yaml.Node, at string) error {
	const need = "a time such as 30d or 12h"
	s, err := p.text(n, at, need)
	if err != nil {
		return err
	}
	var d time.Duration
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var i int
		if i, err = strconv.Atoi(days); err == nil && i <= 36_500 {
			d = time.Duration(i) * 24 * time.Hour
		}
	} else {
		d, err = time.ParseDuration(s)
	}
	if err != nil || d <= 0 {
		return p.err(n, at, need, quote(s), "")
	}
	p.policyMade.MaxAge = d
	return nil
}

func (p *parser) redactions(n *yaml.Node, at string) error {
	return p.each(n, at, "a list of paths with rule sets", func(n *yaml.Node, at string) error {
		var r Redaction
		err := p.walk(n, at, fields{
			"path": func(n *yaml.Node, at string) (err error) {
				const need = "a path in the bundle; ** stands for any number of folders"
				if r.Path, err = p.text(n, at, need); err != nil {
					return err
				}
				if _, err := path.Match(r.Path, ""); err != nil || bundle.CheckPath(strings.TrimSuffix(r.Path, "/")) != nil || len(r.Path) > 1024 {
					return p.err(n, at, need, quote(r.Path), "")
				}
				return nil
			},
			"rulesets": p.texts(&r.Rulesets, "a rule set, such as gdpr_default"),
		}, "path", "rulesets")
		p.policyMade.Redaction = append(p.policyMade.Redaction, r)
		return err
	})
}
