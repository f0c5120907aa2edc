package volatile

import (
	"bytes"
	_ "embed" // the schema
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed rules.schema.json
var schema []byte

// Schema is the JSON Schema (draft 2020-12) of a rule file.
func Schema() []byte { return slices.Clone(schema) }

// Encode writes rules as a file, under some lines of comment. Parse reads it.
func (r *Rules) Encode(comment ...string) ([]byte, error) {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, rule := range r.List {
		m := &yaml.Node{Kind: yaml.MappingNode, HeadComment: comments(rule.Note)}
		add := func(key, value string) {
			if value == "" {
				return
			}
			k, v := &yaml.Node{}, &yaml.Node{}
			k.SetString(key)
			v.SetString(value)
			m.Content = append(m.Content, k, v)
		}
		add("method", rule.Method)
		add("authority", rule.Authority)
		add("path", rule.Path)
		add("field", rule.Field.String())
		add("kind", string(rule.Kind))
		if rule.Shape != nil {
			add("shape", strings.TrimSuffix(strings.TrimPrefix(rule.Shape.String(), "^(?:"), ")$"))
		}
		list.Content = append(list.Content, m)
	}
	if len(list.Content) == 0 {
		list.Style = yaml.FlowStyle
	}
	var b bytes.Buffer
	if len(comment) > 0 {
		b.WriteString(comments(comment) + "\n")
	}
	b.WriteString("version: 1\n")
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(map[string]*yaml.Node{"volatile": list}); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

// comments are lines of comment; what stands in them may come from a recording.
func comments(lines []string) string {
	var out []string
	for _, l := range lines {
		out = append(out, "# "+strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 || r == 0xfeff {
				return ' '
			}
			return r
		}, strings.ToValidUTF8(l, "?")))
	}
	return strings.Join(out, "\n")
}
