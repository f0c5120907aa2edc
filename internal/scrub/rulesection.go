package scrub

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (f *ruleFile) section(key, value *yaml.Node) error {
	r := f.l.rules
	switch key.Value {
	case "detectors":
		return f.each(value, "detectors and on or off", func(key, value *yaml.Node) error {
			d, ok := detectorByName(key.Value)
			if !ok {
				return f.fail(key, "the name of a detector", strconv.Quote(key.Value), didYouMean(key.Value, detectorNames[:]))
			}
			switch value.Value {
			case "on":
				r.detect[d] = true
			case "off":
				r.detect[d] = false
			default:
				return f.fail(value, "on or off", kindOf(value), "what becomes of a class stands under classes")
			}
			return nil
		})
	case "classes":
		return f.each(value, "classes and actions", func(key, value *yaml.Node) error {
			if !validClass(key.Value) {
				return f.fail(key, classShape, strconv.Quote(key.Value), "")
			}
			action, err := f.action(value)
			if err != nil {
				return err
			}
			r.actions[Class(key.Value)] = action
			return nil
		})
	case "unknown":
		action, err := f.action(value)
		if err != nil {
			return err
		}
		r.unknown, r.closed = action, action != Keep
		return nil
	case "argon2id":
		return f.argon(value)
	}
	return f.each(value, "names and classes", func(name, value *yaml.Node) error {
		return f.field(key.Value, name, value)
	})
}

const classShape = "a class: 2 to 24 lower-case letters, digits and single underscores"

func (f *ruleFile) action(n *yaml.Node) (Action, error) {
	a, ok := parseAction(n.Value)
	if !ok || n.Kind != yaml.ScalarNode {
		return 0, f.fail(n, "an action", kindOf(n), didYouMean(n.Value, actionNames[:]))
	}
	return a, nil
}

// field reads one line of a schema: a class, the word scan, or a mapping of
// class and action.
func (f *ruleFile) field(section string, name, value *yaml.Node) error {
	e := &field{rule: section + ":" + name.Value}
	switch value.Kind {
	case yaml.ScalarNode:
		switch value.Value {
		case "scan":
			e.scan = true
		case "keep":
			e.class, e.action, e.set = "kept", Keep, true
		default:
			if !validClass(value.Value) {
				return f.fail(value, classShape+", or scan, or keep", kindOf(value), "")
			}
			e.class = Class(value.Value)
		}
	case yaml.MappingNode:
		err := f.each(value, "class and action", func(key, value *yaml.Node) (err error) {
			switch key.Value {
			case "class":
				if !validClass(value.Value) {
					return f.fail(value, classShape, kindOf(value), "")
				}
				e.class = Class(value.Value)
			case "action":
				e.set = true
				e.action, err = f.action(value)
			default:
				return f.fail(key, "class or action", strconv.Quote(key.Value), didYouMean(key.Value, []string{"class", "action"}))
			}
			return err
		})
		if err != nil {
			return err
		}
		if e.class == "" {
			return f.fail(value, "a class", "none", "write it as {class: NAME, action: mask}")
		}
	default:
		return f.fail(value, "a class", kindOf(value), "write it as NAME: CLASS")
	}
	if len(name.Value) > maxName || len(appendName(nil, name.Value)) == 0 {
		return f.fail(name, fmt.Sprintf("a name of 1 to %d characters", maxName), kindOf(name), "")
	}
	r := f.l.rules
	if section == kindNames[JSONKey] && strings.ContainsAny(name.Value, ".[") {
		p, err := parsePath(name.Value)
		if err != nil {
			return f.fail(name, "a path such as $.user.cards[*].number", kindOf(name), err.Error())
		}
		p.field = e
		r.paths = append(r.paths, p)
		return nil
	}
	for kind := range numKinds {
		// The environment has habits of its own: KEY says much there, and
		// little in JSON.
		if kindNames[kind] == section || section == "fields" && Kind(kind) != Env {
			r.fields[kind].add(name.Value, f.l.layer, e)
		}
	}
	return nil
}
