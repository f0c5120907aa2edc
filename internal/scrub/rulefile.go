package scrub

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tapedeck-dev/tapedeck/internal/typo"
)

const (
	maxRuleFile = 1 << 20
	maxExtends  = 16
)

// loader unites rule sets. A set is read once; what extends it comes later
// and wins.
type loader struct {
	rules *Rules
	layer int
	done  map[string]bool
	open  []string
}

func newLoader() *loader {
	return &loader{rules: &Rules{actions: map[Class]Action{}}, done: map[string]bool{}}
}

func (l *loader) finish() (*Rules, error) {
	r := l.rules
	// Free text has no kinds: a name means there what it means most anywhere.
	for _, kind := range []Kind{SQLParam, SQLColumn, Attr, Cookie, Header, Form, Query, JSONKey} {
		for _, p := range r.fields[kind].patterns {
			r.text.add(p.text, p.layer, p.field)
		}
		for name, f := range r.fields[kind].exact {
			r.text.add(name, 0, f)
		}
	}
	if r.argon == (ArgonParams{}) {
		r.argon = DefaultArgon()
	}
	for kind := range r.fields {
		r.fields[kind].cache = new(nameCache)
	}
	r.text.cache = new(nameCache)
	r.scanner = newScanner(r, nil)
	return r, nil
}

func (l *loader) builtin(name string, at *yaml.Node) error {
	text, err := ruleFiles.ReadFile("rules/" + name + ".yaml")
	if err != nil {
		fix := "the built-in rule sets are " + strings.Join(BuiltinNames(), ", ")
		if n := typo.Nearest(name, BuiltinNames()); n != "" {
			fix = fmt.Sprintf("did you mean %q? %s", n, fix)
		}
		e := &RuleError{File: "rules", Need: "the name of a rule set", Found: strconv.Quote(name), Fix: fix}
		if at != nil {
			e.File, e.Line, e.Column = l.open[len(l.open)-1], at.Line, at.Column
		}
		return e
	}
	return l.parse(name, text, true)
}

func (l *loader) file(file string, at *yaml.Node) error {
	fail := func(err error) error {
		e := &RuleError{File: file, Need: "a readable rule file", Found: err.Error(), Err: err}
		var path *os.PathError
		if errors.As(err, &path) {
			e.Found = path.Err.Error()
		}
		if at != nil {
			e.Fix = fmt.Sprintf("it is extended at %s:%d:%d", l.open[len(l.open)-1], at.Line, at.Column)
		}
		return e
	}
	f, err := os.Open(file)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRuleFile+1))
	if err != nil {
		return fail(err)
	}
	if len(text) > maxRuleFile {
		return fail(fmt.Errorf("more than %d bytes", maxRuleFile))
	}
	return l.parse(file, text, false)
}

func (l *loader) parse(name string, text []byte, builtin bool) error {
	id := "builtin:" + name
	if !builtin {
		id = filepath.Clean(name)
	}
	if slices.Contains(l.open, id) {
		return &RuleError{File: name, Need: "rule files that don't extend one another in a circle", Found: strings.Join(append(l.open, id), " -> ")}
	}
	if l.done[id] {
		return nil
	}
	if len(l.open) >= maxExtends {
		return &RuleError{File: name, Need: fmt.Sprintf("at most %d files that extend one another", maxExtends), Found: "one more"}
	}
	l.open = append(l.open, id)
	defer func() { l.open = l.open[:len(l.open)-1] }()
	f := &ruleFile{l: l, name: name, builtin: builtin}
	if err := f.read(text); err != nil {
		return err
	}
	l.done[id] = true
	l.rules.names = append(l.rules.names, strings.TrimSuffix(filepath.Base(name), ".yaml"))
	return nil
}

// ruleFile is one file while it is read.
type ruleFile struct {
	l       *loader
	name    string
	builtin bool
}

func (f *ruleFile) fail(n *yaml.Node, need, found, fix string) error {
	return &RuleError{File: f.name, Line: n.Line, Column: n.Column, Need: need, Found: found, Fix: fix}
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)

func (f *ruleFile) read(text []byte) error {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return &RuleError{File: f.name, Need: "a rule file", Found: "nothing", Fix: "begin with: extends: [secrets]"}
		}
		e := &RuleError{File: f.name, Need: "YAML", Found: strings.TrimPrefix(err.Error(), "yaml: "), Err: err}
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			e.Line, _ = strconv.Atoi(m[1])
			e.Column, e.Found = 1, m[2]
		}
		return e
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return &RuleError{File: f.name, Need: "one YAML document", Found: "more than one", Fix: "remove what follows ---"}
	}
	root := doc.Content[0]
	var later []func() error
	// What is extended is read first, wherever it stands in the file.
	err := f.each(root, "sections of a rule file", func(key, value *yaml.Node) error {
		switch key.Value {
		case "extends":
			return f.extends(value)
		case "detectors", "classes", "unknown", "argon2id", "fields":
		default:
			if !slices.Contains(kindNames[:], key.Value) {
				return f.fail(key, "a section of a rule file", strconv.Quote(key.Value), didYouMean(key.Value, sectionNames()))
			}
		}
		later = append(later, func() error { return f.section(key, value) })
		return nil
	})
	if err != nil {
		return err
	}
	f.l.layer++
	for _, do := range later {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

func sectionNames() []string {
	return append([]string{"extends", "detectors", "classes", "unknown", "argon2id", "fields"}, kindNames[:]...)
}

func didYouMean(name string, known []string) string {
	if n := typo.Nearest(name, known); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return "known are " + strings.Join(known, ", ")
}

// each walks over a mapping, in which no key may stand twice.
func (f *ruleFile) each(n *yaml.Node, what string, do func(key, value *yaml.Node) error) error {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return f.fail(n, "a mapping: "+what, kindOf(n), "")
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			return f.fail(key, "a name", kindOf(key), "")
		}
		if line, twice := seen[key.Value]; twice {
			return f.fail(key, "each name once", fmt.Sprintf("%q, which stands at line %d too", key.Value, line), "remove one of them")
		}
		seen[key.Value] = key.Line
		if value.Kind == yaml.AliasNode {
			return f.fail(value, "a value written out", "a YAML alias", "")
		}
		if err := do(key, value); err != nil {
			return err
		}
	}
	return nil
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return strconv.Quote(n.Value)
}

func (f *ruleFile) extends(n *yaml.Node) error {
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	for _, item := range list {
		if item.Kind != yaml.ScalarNode || item.Value == "" {
			return f.fail(item, "the name of a rule set or the path of a rule file", kindOf(item), "")
		}
		if !strings.ContainsAny(item.Value, "/.") {
			if err := f.l.builtin(item.Value, item); err != nil {
				return err
			}
			continue
		}
		if f.builtin {
			return f.fail(item, "the name of a rule set", kindOf(item), "")
		}
		path := item.Value
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(f.name), path)
		}
		if err := f.l.file(path, item); err != nil {
			return err
		}
	}
	return nil
}
