// Package volatile reads rule files that declare which fields of a program's
// requests differ from run to run: times, UUIDs, nonces, counters. A replay
// leaves such a field out of the comparison, if what stands there still looks
// as it should. [Parse] reads a file; [Rules.Encode] writes one.
package volatile

import (
	"fmt"
	"regexp"
	"strings"
)

// Kind is what a field holds. It says what the field must look like.
type Kind string

// The kinds.
const (
	Time    Kind = "time"    // RFC 3339, the date of HTTP, or a count since 1970
	UUID    Kind = "uuid"    // 8-4-4-4-12 hexadecimal digits
	Nonce   Kind = "nonce"   // 6 or more letters, digits and _ . ~ + / = : -
	Counter Kind = "counter" // a whole number
	Any     Kind = "any"     // whatever it is, a whole object too
)

// Kinds are all of them.
func Kinds() []Kind { return []Kind{Time, UUID, Nonce, Counter, Any} }

// UUIDPattern is a UUID within an expression.
const UUIDPattern = `[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`

var shapes = map[Kind]*regexp.Regexp{
	Time: regexp.MustCompile(`^(\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?( ?(Z|UTC|[+-]\d\d:?\d\d))?)?` +
		`|(Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*, .{5,}(GMT|UTC|[+-]\d{4})|\d{9,10}(\.\d+)?|\d{12,13}(\.\d+)?|\d{15,16}|\d{18,19})$`),
	UUID:    regexp.MustCompile(`^` + UUIDPattern + `$`),
	Nonce:   regexp.MustCompile(`^[0-9A-Za-z_.~+/=:-]{6,}$`),
	Counter: regexp.MustCompile(`^[+-]?\d+$`),
}

// Rule declares one field of some requests.
type Rule struct {
	Method    string // "": any
	Authority string // a pattern in which * stands for anything; "": any
	Path      string // a pattern of segments: * in one, ** for any number of them; "": any
	Field     Field
	Kind      Kind
	Shape     *regexp.Regexp // of the whole value, instead of what the kind asks for; or nil
	Line      int            // in its file
	Note      []string       // comment, to write above it
}

// Rules are those of one file.
type Rules struct {
	File string
	List []Rule
}

// Name tells which rule it is.
func (r *Rules) Name(i int) string {
	rule := &r.List[i]
	return fmt.Sprintf("%s:%d: %s", r.File, rule.Line, rule)
}

func (r *Rule) String() string {
	var parts []string
	for _, s := range []string{r.Method, r.Authority, r.Path} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(append(parts, r.Field.String(), "is "+string(r.Kind)), " ")
}

// Applies tells whether the rule is for a request.
func (r *Rule) Applies(method, authority, path string) bool {
	return (r.Method == "" || r.Method == method) && (r.Authority == "" || glob(strings.ToLower(r.Authority), authority)) &&
		(r.Path == "" || segments(strings.Split(r.Path, "/"), strings.Split(path, "/")))
}

// Fits tells whether a value looks as the rule says.
func (r *Rule) Fits(value string) bool { return fits(r.Kind, r.Shape, value) }

func fits(k Kind, shape *regexp.Regexp, value string) bool {
	if shape == nil {
		shape = shapes[k]
	}
	return shape == nil || shape.MatchString(value)
}

// Looks tells whether a value looks like one of a kind.
func Looks(k Kind, value string) bool { return fits(k, nil, value) }

// glob matches a text with a pattern in which * stands for anything.
func glob(pattern, s string) bool {
	first, rest, many := strings.Cut(pattern, "*")
	if !many {
		return pattern == s
	}
	if !strings.HasPrefix(s, first) {
		return false
	}
	s = s[len(first):]
	parts := strings.Split(rest, "*")
	last := parts[len(parts)-1]
	for _, p := range parts[:len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, last)
}

// segments matches a path with a pattern, segment by segment. It goes back only
// to the last **, so that a long pattern costs no more than its length times the
// path's.
func segments(pattern, path []string) bool {
	p, back, from := 0, -1, 0
	for i := 0; i < len(path); {
		switch {
		case p < len(pattern) && pattern[p] == "**":
			back, from = p, i
			p++
		case p < len(pattern) && glob(pattern[p], path[i]):
			p, i = p+1, i+1
		case back >= 0:
			from++
			p, i = back+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == "**" {
		p++
	}
	return p == len(pattern)
}
