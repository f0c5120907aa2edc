package volatile

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Place is the part of a request in which a field stands.
type Place string

// The places.
const (
	Query  Place = "query"
	Header Place = "header"
	Form   Place = "form"
	Path   Place = "path" // Index is the segment's number, from 1
	Body   Place = "body" // a JSON body; Steps lead to the value
)

// Field is where a value stands in a request, in the words in which a replay
// names what differs: query.ts, header.range, form.csrf, path[2],
// body.items[*].id.
type Field struct {
	Place Place
	Name  string // of query, header and form; as it is decoded
	Index int    // of path
	Steps []Step // of body
}

// Step is one step into a JSON document.
type Step struct {
	Name  string // of an object's member, if Index is -1
	Index int    // in an array
	All   bool   // every member, every index
}

const fieldForms = "query.NAME, header.NAME, form.NAME, path[N] or body.PATH such as body.items[*].id"

// ParseField reads what [Field.String] writes.
func ParseField(text string) (Field, error) {
	bad := func(why string) (Field, error) { return Field{}, fmt.Errorf("%s", why) }
	end := strings.IndexAny(text, ".[")
	if end < 0 {
		end = len(text)
	}
	f := Field{Place: Place(text[:end])}
	steps, err := parseSteps(text[end:])
	if err != nil {
		return Field{}, err
	}
	switch f.Place {
	case Query, Header, Form:
		if len(steps) == 0 {
			return bad("no name")
		}
		if steps[0].Index >= 0 || steps[0].All {
			return bad("a number or * where the name should be")
		}
		f.Name = steps[0].Name
		if len(steps) > 1 { // a name with dots in it, as many have
			f.Name = strings.TrimPrefix(text[end:], ".")
			if strings.HasPrefix(text[end:], "[") {
				return bad("more than a name")
			}
		}
		if f.Place == Header {
			f.Name = strings.ToLower(f.Name)
		}
	case Path:
		if len(steps) != 1 || steps[0].Index < 1 || steps[0].All {
			return bad("no number of a segment, from 1")
		}
		f.Index = steps[0].Index
	case Body:
		if len(steps) == 0 {
			return bad("no path into the body")
		}
		f.Steps = steps
	default:
		return bad(fmt.Sprintf("the place %q", f.Place))
	}
	return f, nil
}

func parseSteps(s string) ([]Step, error) {
	var steps []Step
	for s != "" {
		if s[0] == '.' {
			end := strings.IndexAny(s[1:], ".[")
			if end < 0 {
				end = len(s) - 1
			}
			name := s[1 : 1+end]
			if name == "" {
				return nil, fmt.Errorf("a dot without a name")
			}
			steps = append(steps, Step{Name: name, Index: -1, All: name == "*"})
			s = s[1+end:]
			continue
		}
		if s[0] != '[' {
			return nil, fmt.Errorf("%q behind a bracket", s)
		}
		if quoted, err := strconv.QuotedPrefix(s[1:]); err == nil && s[1] == '"' {
			name, err := strconv.Unquote(quoted)
			if s = s[1+len(quoted):]; err != nil || !strings.HasPrefix(s, "]") {
				return nil, fmt.Errorf("a bracket that does not close")
			}
			steps, s = append(steps, Step{Name: name, Index: -1}), s[1:]
			continue
		}
		inner, rest, ok := strings.Cut(s[1:], "]")
		if !ok {
			return nil, fmt.Errorf("a bracket that does not close")
		}
		s = rest
		if inner == "*" {
			steps = append(steps, Step{All: true})
			continue
		}
		n, err := strconv.ParseUint(inner, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("[%s]", inner)
		}
		steps = append(steps, Step{Index: int(n)})
	}
	return steps, nil
}

// plain are names that need no quotes.
var plain = regexp.MustCompile(`^[^.\["*\]\s][^.\["\]]*$`)

// Member is the step to an object's member, as it is written.
func Member(name string) string {
	if plain.MatchString(name) {
		return "." + name
	}
	return "[" + strconv.Quote(name) + "]"
}

func (f Field) String() string {
	switch f.Place {
	case Path:
		return fmt.Sprintf("path[%d]", f.Index)
	case Body:
		var b strings.Builder
		b.WriteString("body")
		for _, s := range f.Steps {
			switch {
			case s.All && s.Index < 0:
				b.WriteString(".*")
			case s.All:
				b.WriteString("[*]")
			case s.Index >= 0:
				fmt.Fprintf(&b, "[%d]", s.Index)
			default:
				b.WriteString(Member(s.Name))
			}
		}
		return b.String()
	}
	return string(f.Place) + Member(f.Name)
}

// Replace calls with for each value of a JSON document to which the steps lead,
// and puts what it returns in the value's place.
func (f Field) Replace(doc any, with func(any) any) any { return replace(doc, f.Steps, with) }

func replace(v any, steps []Step, with func(any) any) any {
	if len(steps) == 0 {
		return with(v)
	}
	s, rest := steps[0], steps[1:]
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if s.Index < 0 && (s.All || s.Name == k) {
				v[k] = replace(e, rest, with)
			}
		}
	case []any:
		for i, e := range v {
			if s.Index >= 0 && (s.All || s.Index == i) {
				v[i] = replace(e, rest, with)
			}
		}
	}
	return v
}
