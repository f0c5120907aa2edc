package scrub

import (
	"embed"
	"slices"
	"strings"
)

// Rules are a schema and a choice of detectors. They don't change once made.
type Rules struct {
	names   []string
	detect  [numDetectors]bool
	actions map[Class]Action
	fields  [numKinds]nameSet
	text    nameSet // what key=value and "key": value in free text are looked up in
	paths   []pathRule
	unknown Action // what becomes of fields that the schema does not know
	closed  bool   // there is such an action
	argon   ArgonParams
	scanner *scanner // for SecretEnv
}

//go:embed rules/*.yaml
var ruleFiles embed.FS

// BuiltinNames are the rule sets that come with the program.
func BuiltinNames() []string {
	entries, err := ruleFiles.ReadDir("rules")
	if err != nil {
		panic("scrub: embedded rules: " + err.Error())
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Defaults are the rule sets that hold when nobody names others.
func Defaults() []string { return []string{"secrets", "pci", "gdpr_default"} }

// Builtin unites rule sets that come with the program: "secrets", "pci",
// "gdpr_default", "hipaa". An unknown name is a [RuleError].
func Builtin(names ...string) (*Rules, error) {
	l := newLoader()
	for _, name := range names {
		if err := l.builtin(name, nil); err != nil {
			return nil, err
		}
	}
	return l.finish()
}

// LoadRules reads a rule file. What is wrong with it is a [RuleError].
func LoadRules(file string) (*Rules, error) {
	l := newLoader()
	if err := l.file(file, nil); err != nil {
		return nil, err
	}
	return l.finish()
}

// ParseRules reads the text of a rule file; name stands in errors. Files that
// it extends are looked for beside name.
func ParseRules(name string, text []byte) (*Rules, error) {
	l := newLoader()
	if err := l.parse(name, text, false); err != nil {
		return nil, err
	}
	return l.finish()
}

// Names are the rule sets and files that the rules were made of.
func (r *Rules) Names() []string { return slices.Clone(r.names) }

// action is what the rules do to a class.
func (r *Rules) action(class Class) Action { return r.actions[class] }

// actionOf is what the rules do to a value of a field.
func (r *Rules) actionOf(f *field) Action {
	if f.set {
		return f.action
	}
	return r.actions[f.class]
}

// find returns what the schema says of a name, or nil.
func (r *Rules) find(kind Kind, name string) *field {
	return r.fields[kind].find([]byte(name))
}
