package nondet

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/volatile"
)

// propose makes a rule of each finding that one can be made of.
func (r *Report) propose() {
	r.Rules = &volatile.Rules{}
	for _, f := range r.Findings {
		rule, ok := f.rule()
		if !ok {
			continue
		}
		f.Rule = rule.String()
		rule.Note = []string{f.Why}
		for _, e := range f.Evidence[:min(len(f.Evidence), 2)] {
			rule.Note = append(rule.Note, fmt.Sprintf("%s %q, %s %q", e.First, e.Value, e.Other, e.Differs))
		}
		r.Rules.List = append(r.Rules.List, rule)
	}
}

// rule is the rule that a finding asks for, if it holds for all that was seen.
func (f *Finding) rule() (volatile.Rule, bool) {
	r := volatile.Rule{Method: f.Method, Authority: f.Authority, Path: f.Path, Kind: volatile.Kind(f.Kind)}
	var err error
	if r.Field, err = volatile.ParseField(f.Field); err != nil || !slices.Contains(volatile.Kinds(), r.Kind) {
		return r, false
	}
	if !strings.HasPrefix(r.Path, "/") || strings.Contains(r.Path, "?") {
		r.Path = ""
	}
	fits := func() bool { return every(f.pairs, func(p pair) bool { return r.Fits(p.x) && r.Fits(p.y) }) }
	if fits() {
		return r, true
	}
	for _, re := range []*regexp.Regexp{uuids, dates} {
		if r.Shape = around(f.pairs[0].x, re); r.Shape != nil && fits() {
			return r, true
		}
	}
	return r, false
}

// around is the shape of values that are the same but for what an expression finds.
func around(value string, re *regexp.Regexp) *regexp.Regexp {
	var b strings.Builder
	end := 0
	for _, at := range re.FindAllStringIndex(value, -1) {
		b.WriteString(regexp.QuoteMeta(value[end:at[0]]) + re.String())
		end = at[1]
	}
	if end == 0 {
		return nil
	}
	shape, err := regexp.Compile("^(?:" + b.String() + regexp.QuoteMeta(value[end:]) + ")$")
	if err != nil {
		return nil
	}
	return shape
}

// RuleFile is the proposal as a file. What no rule can say stands in it as comment.
func (r *Report) RuleFile() ([]byte, error) {
	comment := []string{"Proposed by tapedeck nondet: fields that differed between " + r.names() + ".",
		"Read it before you use it (tapedeck replay --rules): what a rule leaves out is compared no more."}
	for _, f := range r.Findings {
		if f.Rule == "" {
			comment = append(comment, "No rule for: "+f.Where()+" ("+f.Kind+": "+f.Why+")")
		}
	}
	return r.Rules.Encode(comment...)
}

func (r *Report) names() string {
	var names []string
	for _, run := range r.Runs {
		names = append(names, run.Name)
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// Where is the endpoint and the field.
func (f *Finding) Where() string {
	return strings.Join(strings.Fields(f.Method+" "+f.Authority+f.Path+" "+f.Field), " ")
}
