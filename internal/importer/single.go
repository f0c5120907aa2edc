package importer

import (
	"maps"
	"net/url"
	"regexp/syntax"
	"slices"
	"strings"
)

// What a stub leaves open.
const (
	noteQuery = "stubs that take any query; imported as requests without one"
	noteBody  = "stubs that take any body; imported as requests without one"
	noteDelay = "stubs that answer after a delay, which is not kept"
)

// names are the keys of a map, in an order that is always the same.
func names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// literal is the one text that a regular expression matches as a whole, if there
// is just one. With anchored it has to say by ^ and $ that it is the whole.
func literal(expr string, anchored bool) (string, bool) {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return "", false
	}
	parts := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		parts = re.Sub
	}
	var text strings.Builder
	begun, ended := false, false
	for i, p := range parts {
		switch {
		case p.Op == syntax.OpBeginText && i == 0:
			begun = true
		case p.Op == syntax.OpEndText && i == len(parts)-1:
			ended = true
		case p.Op == syntax.OpLiteral && p.Flags&syntax.FoldCase == 0:
			text.WriteString(string(p.Rune))
		case p.Op == syntax.OpEmptyMatch && len(parts) == 1:
		default:
			return "", false
		}
	}
	return text.String(), !anchored || begun && ended
}

// queryOf writes a query: the pairs that a stub asks for, sorted by name, since
// the order does not count when requests are compared.
func queryOf(pairs []Field) string {
	var all []string
	for _, p := range pairs {
		all = append(all, escape(p.Name)+"="+escape(p.Value))
	}
	return strings.Join(all, "&")
}

// escape spells as most programs do: a space as %20.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
