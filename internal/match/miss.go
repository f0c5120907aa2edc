package match

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
)

// Miss is a request that was not recorded.
type Miss struct {
	Request string  `json:"request"` // method and URL
	Cause   string  `json:"cause"`
	Nearest string  `json:"nearest,omitempty"` // event id
	Fields  []Field `json:"fields,omitempty"`  // in which the nearest one differs
}

// Field is one difference.
type Field struct {
	Name     string `json:"name"`
	Recorded string `json:"recorded"`
	Live     string `json:"live"`
}

// The causes.
const (
	NewCall     = "new call"
	ExtraRepeat = "extra repeat"
	Drifted     = "drifted field"
	TokenDrift  = "token mismatch"
	ClockDrift  = "clock"
)

const (
	maxFields = 25
	maxValue  = 200
	maxSearch = 2000 // candidates for the nearest
)

func (m *Miss) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s was not recorded (%s)", m.Request, m.Cause)
	if m.Nearest != "" {
		fmt.Fprintf(&b, "; nearest is %s", m.Nearest)
	}
	for _, f := range m.Fields {
		fmt.Fprintf(&b, "\n  %s: recorded %q, now %q", f.Name, f.Recorded, f.Live)
	}
	return b.String()
}

// ID is an exchange's event id.
func ID(e *cassette.Exchange) string { return fmt.Sprintf("http:%d", e.ID) }

var digits = regexp.MustCompile(`[0-9a-fA-F-]{8,}|[0-9]+`)

// place groups requests to one endpoint.
func (r Request) place() string {
	return r.Method + " " + r.Authority + digits.ReplaceAllString(r.Path, "#")
}

func (x *Index) miss(r Request, same *queue) *Miss {
	url := r.Scheme + "://" + r.Authority + r.Path
	if len(r.Query) > 0 {
		url += "?" + strings.Join(r.Query, "&")
	}
	m := &Miss{Request: r.Method + " " + short(url), Cause: NewCall}
	if same != nil {
		m.Cause, m.Nearest = ExtraRepeat, ID(same.entries[len(same.entries)-1].exchange)
		return m
	}
	candidates := x.byPlace[r.place()]
	if len(candidates) == 0 {
		for _, e := range x.entries[:min(len(x.entries), maxSearch)] {
			if e.request.Authority == r.Authority {
				candidates = append(candidates, e)
			}
		}
	}
	best := -1
	for _, e := range candidates[:min(len(candidates), maxSearch)] {
		d := Differences(e.request, r)
		if e.taken { // one that was not used yet is more likely meant
			d = append(d, Field{})
		}
		if best < 0 || len(d) < best {
			best, m.Nearest = len(d), ID(e.exchange)
			m.Fields = slices.DeleteFunc(d, func(f Field) bool { return f.Name == "" })
		}
	}
	if best >= 0 && len(x.byPlace[r.place()]) > 0 {
		m.Cause = cause(m.Fields)
	}
	m.Fields = m.Fields[:min(len(m.Fields), maxFields)]
	for i := range m.Fields {
		m.Fields[i].Recorded, m.Fields[i].Live = short(m.Fields[i].Recorded), short(m.Fields[i].Live)
	}
	return m
}

var times = regexp.MustCompile(`^\d{4}-\d\d-\d\d[T ]\d\d:\d\d|^1[5-9]\d{8}(\.\d+|\d{3}|\d{6}|\d{9})?$|GMT$`)

func cause(fields []Field) string {
	all := func(f func(Field) bool) bool {
		return len(fields) > 0 && !slices.ContainsFunc(fields, func(x Field) bool { return !f(x) })
	}
	switch {
	case all(func(f Field) bool { return times.MatchString(f.Recorded) && times.MatchString(f.Live) }):
		return ClockDrift
	case all(func(f Field) bool { return strings.Contains(f.Recorded, "tok_") || strings.Contains(f.Live, "tok_") }):
		return TokenDrift
	}
	return Drifted
}

func short(s string) string {
	if len(s) > maxValue {
		return s[:maxValue] + "…"
	}
	return s
}

// Differences are the fields in which two requests differ, at most all of them.
func Differences(a, b Request) []Field {
	var d []Field
	add := func(name, x, y string) {
		if x != y {
			d = append(d, Field{name, x, y})
		}
	}
	add("method", a.Method, b.Method)
	add("scheme", a.Scheme, b.Scheme)
	add("host", a.Authority, b.Authority)
	add("path", a.Path, b.Path)
	add("query", strings.Join(a.Query, "&"), strings.Join(b.Query, "&"))
	add("header", strings.Join(a.Fields, ", "), strings.Join(b.Fields, ", "))
	if a.Body == b.Body {
		return d
	}
	x, ok1 := flat(a.Body)
	y, ok2 := flat(b.Body)
	if !ok1 || !ok2 {
		add("body", a.Body, b.Body)
		return d
	}
	names := map[string]bool{}
	for n := range x {
		names[n] = true
	}
	for n := range y {
		names[n] = true
	}
	var sorted []string
	for n := range names {
		sorted = append(sorted, n)
	}
	sort.Strings(sorted)
	for _, n := range sorted {
		add("body"+n, x[n], y[n])
	}
	return d
}

// flat are the leaves of a JSON document by their paths.
func flat(text string) (map[string]string, bool) {
	var v any
	if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") || json.Unmarshal([]byte(text), &v) != nil {
		return nil, false
	}
	leaves := map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				walk(path+"."+k, e)
			}
		case []any:
			for i, e := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), e)
			}
		case string:
			leaves[path] = v
		default:
			leaves[path] = fmt.Sprint(v)
		}
	}
	walk("", v)
	return leaves, true
}
