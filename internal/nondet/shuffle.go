package nondet

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/match"
	"github.com/tapedeck-dev/tapedeck/internal/volatile"
)

// shuffles are the arrays of two JSON bodies that hold the same in another order.
func shuffles(a, b string) []match.Field {
	var x, y any
	if a == b || !decode(a, &x) || !decode(b, &y) {
		return nil
	}
	var out []match.Field
	var walk func(path string, x, y any)
	walk = func(path string, x, y any) {
		switch x := x.(type) {
		case map[string]any:
			y, ok := y.(map[string]any)
			if !ok {
				return
			}
			for k, e := range x {
				if other, ok := y[k]; ok {
					walk(path+volatile.Member(k), e, other)
				}
			}
		case []any:
			y, ok := y.([]any)
			if !ok || len(x) != len(y) {
				return
			}
			p, q := texts(x), texts(y)
			if slices.Equal(p, q) {
				return
			}
			f := match.Field{Name: path, Recorded: "[" + strings.Join(p, ",") + "]", Live: "[" + strings.Join(q, ",") + "]"}
			slices.Sort(p)
			slices.Sort(q)
			if slices.Equal(p, q) {
				out = append(out, f)
				return
			}
			for i := range x {
				walk(fmt.Sprintf("%s[%d]", path, i), x[i], y[i])
			}
		}
	}
	walk("body", x, y)
	slices.SortFunc(out, func(a, b match.Field) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func decode(text string, v *any) bool {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	return d.Decode(v) == nil
}

func texts(list []any) []string {
	var out []string
	for _, e := range list {
		b, _ := json.Marshal(e) // of what was JSON
		out = append(out, string(b))
	}
	return out
}
