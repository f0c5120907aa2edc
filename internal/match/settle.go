package match

import (
	"encoding/json"
	"io"
	"mime"
	"net/url"
	"slices"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/volatile"
)

// settle puts a mark in the place of each field that a rule declares, if what
// stands there looks as the rule says. told tells whether a field was among
// them that tells requests apart even so: equal UUIDs are no chance, but a
// counter may stand at the same number for another request.
func settle(rules *volatile.Rules, r Request) (settled Request, told bool) {
	settled = r
	for i := range rules.List {
		rule := &rules.List[i]
		if !rule.Applies(r.Method, r.Authority, r.Path) {
			continue
		}
		var found []string
		if settled, found = settled.settle(rule); len(found) > 0 && rule.Kind != volatile.Counter && rule.Kind != volatile.Any {
			told = true
		}
	}
	return settled, told
}

// settle marks the field of one rule, and returns the values that stood there.
func (r Request) settle(rule *volatile.Rule) (Request, []string) {
	var found []string
	f, mark := rule.Field, "‹"+string(rule.Kind)+"›"
	swap := func(value string) (string, bool) {
		if !rule.Fits(value) {
			return value, false
		}
		found = append(found, value)
		return mark, true
	}
	pairs := func(list []string) []string {
		list = slices.Clone(list)
		for i, pair := range list {
			name, value, ok := strings.Cut(pair, "=")
			if ok && decoded(name) == f.Name {
				if v, ok := swap(decoded(value)); ok {
					list[i] = name + "=" + v
				}
			}
		}
		slices.Sort(list)
		return list
	}
	switch f.Place {
	case volatile.Query:
		r.Query = pairs(r.Query)
	case volatile.Form:
		if r.media() == "application/x-www-form-urlencoded" {
			r.Body = strings.Join(pairs(strings.Split(r.Body, "&")), "&")
		}
	case volatile.Header:
		r.Fields = slices.Clone(r.Fields)
		for i, field := range r.Fields {
			if name, value, _ := strings.Cut(field, ": "); name == f.Name {
				v, _ := swap(value)
				r.Fields[i] = name + ": " + v
			}
		}
		slices.Sort(r.Fields)
	case volatile.Path:
		parts := strings.Split(r.Path, "/")
		if f.Index < len(parts) { // the first is what stands before the first /
			if v, ok := swap(decodedPath(parts[f.Index])); ok {
				parts[f.Index] = v
				r.Path = strings.Join(parts, "/")
			}
		}
	case volatile.Body:
		doc, ok := document(r.Body)
		if !ok {
			return r, nil
		}
		doc = f.Replace(doc, func(v any) any {
			text, simple := leaf(v)
			if !simple && rule.Kind != volatile.Any {
				return v
			}
			if m, ok := swap(text); ok {
				return m
			}
			return v
		})
		if len(found) > 0 {
			if b, err := json.Marshal(doc); err == nil {
				r.Body = string(b)
			}
		}
	}
	return r, found
}

// media is the content type, without its parameters.
func (r Request) media() string {
	for _, f := range r.Fields {
		if value, ok := strings.CutPrefix(f, "content-type: "); ok {
			base, _, _ := mime.ParseMediaType(value)
			return base
		}
	}
	return ""
}

func decoded(s string) string {
	if d, err := url.QueryUnescape(s); err == nil {
		return d
	}
	return s
}

func decodedPath(s string) string {
	if d, err := url.PathUnescape(s); err == nil {
		return d
	}
	return s
}

// document is a body as JSON, if it is an object or an array.
func document(text string) (any, bool) {
	if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
		return nil, false
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber() // a large number keeps its digits
	var doc any
	if d.Decode(&doc) != nil {
		return nil, false
	}
	_, err := d.Token()
	return doc, err == io.EOF
}

// leaf is a value as a text, and whether it is neither an object nor an array.
func leaf(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case map[string]any, []any:
		b, _ := json.Marshal(v) // of what was JSON
		return string(b), false
	}
	b, _ := json.Marshal(v)
	return string(b), true
}

// ruled counts a match that needed a rule, and marks the rules that it needed.
func (x *Index) ruled(live Request, i int32) {
	e := x.entries[i].exchange
	recorded, err := Of(e.Scheme, e.Authority, e.Request)
	if err != nil || recorded.key() == live.key() {
		return
	}
	x.counts.ByRule++
	for n := range x.opt.Rules.List {
		rule := &x.opt.Rules.List[n]
		if x.used[n] || !rule.Applies(live.Method, live.Authority, live.Path) {
			continue
		}
		_, a := recorded.settle(rule)
		_, b := live.settle(rule)
		x.used[n] = !slices.Equal(a, b)
	}
}
