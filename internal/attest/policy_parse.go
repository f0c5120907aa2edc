package attest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tapedeck-dev/tapedeck/internal/typo"
)

const (
	maxPolicy = 1 << 20
	maxItems  = 1_000 // in any list of a policy
)

// LoadPolicy reads a policy file. Key files that it names are seen from its
// own folder. The error is a [PolicyError] or a [KeyError].
func LoadPolicy(file string) (*Policy, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPolicy+1))
	if err != nil {
		return nil, err
	}
	return ParsePolicy(file, text, func(name string) (*PublicKey, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(file), name)
		}
		return ReadPublic(name)
	})
}

// ParsePolicy reads the text of a policy. file is for errors; open reads a key
// file that it names.
func ParsePolicy(file string, text []byte, open func(name string) (*PublicKey, error)) (*Policy, error) {
	p := &parser{file: file, open: open}
	if len(text) > maxPolicy {
		return nil, p.err(nil, "", fmt.Sprintf("at most %d bytes", maxPolicy), "more", "")
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, p.err(nil, "", "a policy", "an empty file", "version: 1")
	} else if err != nil {
		return nil, p.yamlError(err)
	}
	var more yaml.Node
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, p.err(&more, "", "one document", "something behind it", "")
	}
	if err := p.policy(doc.Content[0]); err != nil {
		return nil, err
	}
	return &p.policyMade, nil
}

// parser walks the tree itself, since every error shall say where.
type parser struct {
	file       string
	open       func(string) (*PublicKey, error)
	policyMade Policy
}

func (p *parser) err(n *yaml.Node, field, need, found, fix string) error {
	e := &PolicyError{File: p.file, Field: field, Need: need, Found: found, Fix: fix}
	if n != nil {
		e.Line, e.Column = n.Line, n.Column
	}
	return e
}

// yamlError takes the line from the library's text, which is all that it gives.
func (p *parser) yamlError(err error) error {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	e := &PolicyError{File: p.file, Need: "YAML", Found: msg}
	if rest, ok := strings.CutPrefix(msg, "line "); ok {
		if num, why, ok := strings.Cut(rest, ": "); ok {
			if e.Line, _ = strconv.Atoi(num); e.Line > 0 {
				e.Column, e.Found = 1, why
			}
		}
	}
	return e
}

type fields map[string]func(n *yaml.Node, at string) error

func sorted(known fields) []string { return slices.Sorted(maps.Keys(known)) }

func example(known fields) string { return sorted(known)[0] }

// walk calls for each field of a map its function; of required ones there must be one.
func (p *parser) walk(n *yaml.Node, at string, known fields, required ...string) error {
	if err := p.kind(n, at, yaml.MappingNode, "fields such as "+example(known)); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := join(at, key.Value)
		read := known[key.Value]
		switch {
		case read == nil:
			fix := ""
			if near := typo.Nearest(key.Value, sorted(known)); near != "" {
				fix = fmt.Sprintf("did you mean %q?", near)
			}
			return p.err(key, at, "one of the fields "+strings.Join(sorted(known), ", "), fmt.Sprintf("%.40q", key.Value), fix)
		case seen[key.Value]:
			return p.err(key, name, "it once", "it again", "")
		}
		seen[key.Value] = true
		if err := read(value, name); err != nil {
			return err
		}
	}
	for _, name := range required {
		if !seen[name] {
			return p.err(n, join(at, name), "this field", "none", "")
		}
	}
	return nil
}

func (p *parser) kind(n *yaml.Node, at string, kind yaml.Kind, need string) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return p.err(n, at, "the text itself", "an anchor or alias", "write it out")
	case n.Kind != kind:
		return p.err(n, at, need, describe(n), "")
	}
	return nil
}

func (p *parser) each(n *yaml.Node, at, need string, read func(n *yaml.Node, at string) error) error {
	if err := p.kind(n, at, yaml.SequenceNode, need); err != nil {
		return err
	}
	if len(n.Content) == 0 || len(n.Content) > maxItems {
		return p.err(n, at, fmt.Sprintf("1 to %d entries", maxItems), strconv.Itoa(len(n.Content)), "leave the field out to ask for nothing")
	}
	for i, c := range n.Content {
		if err := read(c, fmt.Sprintf("%s[%d]", at, i)); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) text(n *yaml.Node, at, need string) (string, error) {
	if err := p.kind(n, at, yaml.ScalarNode, need); err != nil {
		return "", err
	}
	if n.ShortTag() != "!!str" || n.Value == "" {
		return "", p.err(n, at, need, describe(n), "")
	}
	return n.Value, nil
}

func (p *parser) texts(into *[]string, need string, allowed ...string) func(*yaml.Node, string) error {
	return func(n *yaml.Node, at string) error {
		return p.each(n, at, "a list of "+need, func(n *yaml.Node, at string) error {
			s, err := p.text(n, at, need)
			if err == nil && len(allowed) > 0 && !slices.Contains(allowed, s) {
				err = p.err(n, at, "one of "+strings.Join(allowed, ", "), quote(s), "")
			}
			*into = append(*into, s)
			return err
		})
	}
}

func (p *parser) number(into *int, least, most int) func(*yaml.Node, string) error {
	return func(n *yaml.Node, at string) error {
		need := fmt.Sprintf("a number from %d to %d", least, most)
		if least == most {
			need = strconv.Itoa(least)
		}
		if err := p.kind(n, at, yaml.ScalarNode, need); err != nil {
			return err
		}
		i, err := strconv.Atoi(n.Value)
		if err != nil || n.ShortTag() != "!!int" || i < least || i > most {
			return p.err(n, at, need, describe(n), "")
		}
		*into = i
		return nil
	}
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	}
	return quote(n.Value)
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}
