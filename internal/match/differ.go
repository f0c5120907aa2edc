package match

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/volatile"
)

// Differences are the fields in which two requests differ, in the words in which
// a rule file names them: query.ts, body.items[0].id.
func Differences(a, b Request) []Field {
	var d []Field
	add := func(name, x, y string) {
		if x != y {
			d = append(d, Field{name, x, y})
		}
	}
	each := func(place string, x, y map[string]string) {
		names := maps.Clone(x)
		maps.Copy(names, y)
		for _, n := range slices.Sorted(maps.Keys(names)) {
			add(place+n, x[n], y[n])
		}
	}
	add("method", a.Method, b.Method)
	add("scheme", a.Scheme, b.Scheme)
	add("host", a.Authority, b.Authority)
	p, q := strings.Split(a.Path, "/"), strings.Split(b.Path, "/")
	if len(p) == len(q) && len(p) > 1 {
		for i := range p {
			add(fmt.Sprintf("path[%d]", i), p[i], q[i])
		}
	} else {
		add("path", a.Path, b.Path)
	}
	each("query", named(a.Query, "="), named(b.Query, "="))
	each("header", named(a.Fields, ": "), named(b.Fields, ": "))
	if a.Body == b.Body {
		return d
	}
	before := len(d)
	if x, ok := document(a.Body); ok {
		if y, ok := document(b.Body); ok {
			each("body", leaves(x), leaves(y))
		}
	} else if form := "application/x-www-form-urlencoded"; a.media() == form && b.media() == form {
		each("form", named(strings.Split(a.Body, "&"), "="), named(strings.Split(b.Body, "&"), "="))
	}
	if len(d) == before {
		add("body", a.Body, b.Body)
	}
	return d
}

// named are the values of a list of fields by the way their names are written;
// equal names share one value.
func named(list []string, sep string) map[string]string {
	out := map[string]string{}
	for _, field := range list {
		name, value, _ := strings.Cut(field, sep)
		if sep == "=" {
			name, value = decoded(name), decoded(value)
		}
		name = volatile.Member(name)
		if old, ok := out[name]; ok {
			value = old + "&" + value
		}
		out[name] = value
	}
	return out
}

// leaves are the values of a JSON document by their paths.
func leaves(doc any) map[string]string {
	out := map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				walk(path+volatile.Member(k), e)
			}
		case []any:
			for i, e := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), e)
			}
		default:
			out[path], _ = leaf(v)
		}
	}
	walk("", doc)
	return out
}
