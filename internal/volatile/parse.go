package volatile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	maxFile  = 1 << 20
	maxRules = 1000
)

// Is tells whether a text is meant to be a file of this kind, so that one with a
// slip in it is told so by this package.
func Is(text []byte) bool {
	var doc map[string]yaml.Node
	if len(text) > maxFile || yaml.Unmarshal(text, &doc) != nil {
		return false
	}
	for key := range doc {
		if key == "version" || didYouMean(key, []string{"volatile"}) != "" {
			return true
		}
	}
	return false
}

// Parse reads the text of a rule file; file is its name, for errors.
func Parse(file string, text []byte) (*Rules, error) {
	p := &parser{file: file}
	if len(text) > maxFile {
		return nil, p.fail(nil, "", fmt.Sprintf("at most %d bytes", maxFile), "more", "")
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, p.fail(nil, "", "rules", "an empty file", "begin with: version: 1")
	} else if err != nil {
		return nil, p.yamlError(err)
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, p.fail(&more, "", "one document", "something behind it", "")
	}
	out := &Rules{File: file}
	var list *yaml.Node
	err := p.fields(doc.Content[0], "", []string{"version", "volatile"}, []string{"version", "volatile"}, func(name string, n *yaml.Node, at string) error {
		if name == "volatile" {
			list = n
			return nil
		}
		if n.Kind != yaml.ScalarNode || n.Value != "1" || n.ShortTag() != "!!int" {
			return p.fail(n, at, "1", describe(n), "")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if list.Kind != yaml.SequenceNode {
		return nil, p.fail(list, "volatile", "a list of rules", describe(list), "")
	}
	if len(list.Content) > maxRules {
		return nil, p.fail(list, "volatile", fmt.Sprintf("at most %d rules", maxRules), strconv.Itoa(len(list.Content)), "")
	}
	for i, n := range list.Content {
		r, err := p.rule(n, fmt.Sprintf("volatile[%d]", i))
		if err != nil {
			return nil, err
		}
		out.List = append(out.List, r)
	}
	return out, nil
}

// parser walks the tree itself, since every error shall say where.
type parser struct{ file string }

func (p *parser) fail(n *yaml.Node, field, need, found, fix string) error {
	e := &RuleError{File: p.file, Field: field, Need: need, Found: found, Fix: fix}
	if n != nil {
		e.Line, e.Column = n.Line, n.Column
	}
	return e
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)

func (p *parser) yamlError(err error) error {
	e := &RuleError{File: p.file, Need: "YAML", Found: strings.TrimPrefix(err.Error(), "yaml: ")}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
		e.Column, e.Found = 1, m[2]
	}
	return e
}

// fields calls read for each field of a map.
func (p *parser) fields(n *yaml.Node, at string, known, required []string, read func(name string, n *yaml.Node, at string) error) error {
	if n.Kind != yaml.MappingNode {
		return p.fail(n, at, "the fields "+strings.Join(known, ", "), describe(n), "")
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := strings.TrimPrefix(at+"."+key.Value, ".")
		switch {
		case !slices.Contains(known, key.Value):
			return p.fail(key, at, "one of the fields "+strings.Join(known, ", "), fmt.Sprintf("%.40q", key.Value), didYouMean(key.Value, known))
		case seen[key.Value]:
			return p.fail(key, name, "it once", "it again", "")
		case value.Kind == yaml.AliasNode || value.Anchor != "":
			return p.fail(value, name, "the text itself", "an anchor or alias", "write it out")
		}
		seen[key.Value] = true
		if err := read(key.Value, value, name); err != nil {
			return err
		}
	}
	for _, name := range required {
		if !seen[name] {
			return p.fail(n, strings.TrimPrefix(at+"."+name, "."), "this field", "none", "")
		}
	}
	return nil
}

func (p *parser) rule(n *yaml.Node, at string) (Rule, error) {
	r := Rule{Line: n.Line}
	err := p.fields(n, at, []string{"method", "authority", "path", "field", "kind", "shape"}, []string{"field", "kind"}, func(name string, n *yaml.Node, at string) error {
		if n.Kind != yaml.ScalarNode || n.Value == "" || n.ShortTag() == "!!null" {
			return p.fail(n, at, "a text", describe(n), "")
		}
		var err error
		switch text := n.Value; name {
		case "method":
			if r.Method = text; strings.ToUpper(text) != text {
				return p.fail(n, at, "a method in capitals", quote(text), fmt.Sprintf("did you mean %q?", strings.ToUpper(text)))
			}
		case "authority":
			if r.Authority = text; strings.Contains(text, "/") {
				return p.fail(n, at, "a host, and a port if it is not the scheme's own", quote(text), "leave out the scheme and the path")
			}
		case "path":
			if r.Path = text; !strings.HasPrefix(text, "/") && text != "**" || strings.Contains(text, "?") {
				return p.fail(n, at, "a path from / on, without a query; * stands for a segment, ** for any number of them", quote(text), "")
			}
		case "field":
			if r.Field, err = ParseField(text); err != nil {
				word, _, _ := strings.Cut(text, ".")
				fix := didYouMean(word, []string{"query", "header", "form", "path", "body"})
				if slices.Contains([]string{"query", "header", "form", "path", "body"}, word) {
					fix = ""
				}
				return p.fail(n, at, fieldForms, fmt.Sprintf("%s (%v)", quote(text), err), fix)
			}
		case "kind":
			var kinds []string
			for _, k := range Kinds() {
				kinds = append(kinds, string(k))
			}
			if r.Kind = Kind(text); !slices.Contains(kinds, text) {
				return p.fail(n, at, "one of "+strings.Join(kinds, ", "), quote(text), didYouMean(text, kinds))
			}
		case "shape":
			if r.Shape, err = regexp.Compile(`^(?:` + text + `)$`); err != nil {
				return p.fail(n, at, "a regular expression (RE2)", fmt.Sprintf("%s (%v)", quote(text), errors.Unwrap(err)), "")
			}
		}
		return nil
	})
	return r, err
}

func quote(s string) string { return fmt.Sprintf("%.60q", s) }

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.Value == "" || n.ShortTag() == "!!null" {
		return "nothing"
	}
	return quote(n.Value)
}
