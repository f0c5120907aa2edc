package nondet

import (
	"slices"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/match"
	"github.com/tapedeck-dev/tapedeck/internal/volatile"
)

// comparison collects what differs, by endpoint and field.
type comparison struct {
	first    *Run
	findings []*Finding
	byField  map[string]*Finding
	paths    map[string]paths // of an endpoint
}

// pair is a value in two runs.
type pair struct {
	a, b Asked
	run  *Run // of b
	gap  int64
	x, y string
}

// compare lays one run beside the first, and returns how many of its requests differ.
func (c *comparison) compare(o *Run) int {
	gap := o.Began.Sub(c.first.Began).Nanoseconds()
	pairs := align(c.first.Asked, o.Asked)
	n := 0
	for _, p := range pairs {
		if p.a >= 0 && p.b >= 0 {
			c.endpoint(c.first.Asked[p.a].Request, o.Asked[p.b].Request)
		}
		if p.equal {
			continue
		}
		if n++; p.a < 0 || p.b < 0 {
			c.alone(p, o)
			continue
		}
		a, b := c.first.Asked[p.a], o.Asked[p.b]
		for _, f := range differences(a.Request, b.Request) {
			c.add(a.Request, f.kind, f.Name, pair{a, b, o, gap, f.Recorded, f.Live})
		}
	}
	if before, behind, n := inversion(pairs); n > 0 {
		a, b := c.first.Asked[behind.a], c.first.Asked[before.a]
		f := c.add(match.Request{}, Order, "sequence", pair{a: a, b: o.Asked[behind.b], run: o, x: "before " + b.ID, y: "behind " + o.Asked[before.b].ID})
		f.Why = "requests came in another order"
	}
	for _, d := range o.Drift {
		for _, f := range d.Fields {
			name := "answer"
			if d.Request.Method == "" {
				name = "stream"
			}
			at := Asked{ID: d.ID, Request: d.Request}
			c.endpoint(d.Request, d.Request)
			c.add(d.Request, "", name+" "+general(f.Name), pair{at, Asked{ID: d.ID}, o, gap, f.Recorded, f.Live})
		}
	}
	return n
}

// alone is a request that only one of the runs made.
func (c *comparison) alone(p aligned, o *Run) {
	it := pair{run: o, x: "asked", y: "not asked"}
	r := match.Request{}
	if p.a >= 0 {
		it.a, r = c.first.Asked[p.a], c.first.Asked[p.a].Request
	} else {
		it.b, r, it.x, it.y = o.Asked[p.b], o.Asked[p.b].Request, "not asked", "asked"
	}
	c.endpoint(r, r)
	f := c.add(r, Other, "request", it)
	f.Why = "only one of the runs made this request"
}

func (c *comparison) add(r match.Request, kind, field string, p pair) *Finding {
	place := ""
	if r.Method != "" {
		place = r.Place()
	}
	key := place + "\x00" + field
	if kind != "" {
		key += "\x00" + kind
	}
	f := c.byField[key]
	if f == nil {
		f = &Finding{Kind: kind, Method: r.Method, Authority: r.Authority, Path: place, Field: field}
		if kind == Order {
			f.Why = "the same in another order"
		}
		c.byField[key] = f
		c.findings = append(c.findings, f)
	}
	f.pairs = append(f.pairs, p)
	return f
}

// paths are the segments that the paths of an endpoint have in common; "*" where
// they differ.
type paths []string

func (c *comparison) endpoint(requests ...match.Request) {
	for _, r := range requests {
		place, parts := requests[0].Place(), strings.Split(r.Path, "/")
		have := c.paths[place]
		if have == nil {
			c.paths[place] = parts
			continue
		}
		for i := range min(len(have), len(parts)) {
			if have[i] != parts[i] {
				have[i] = "*"
			}
		}
	}
}

func (p paths) String() string { return strings.Join(p, "/") }

// difference is a field, and its kind if that is known already.
type difference struct {
	match.Field
	kind string
}

// differences are the fields in which two requests differ, by general names. A
// list that holds the same in another order is one of them.
func differences(a, b match.Request) []difference {
	var out []difference
	shuffled := shuffles(a.Body, b.Body)
	for _, s := range shuffled {
		out = append(out, difference{s, Order})
	}
	for _, f := range match.Differences(a, b) {
		if slices.ContainsFunc(shuffled, func(s match.Field) bool { return strings.HasPrefix(f.Name, s.Name+"[") }) {
			continue
		}
		kind := ""
		if sameParts(f.Recorded, f.Live) {
			kind = Order
		}
		out = append(out, difference{f, kind})
	}
	for i := range out {
		out[i].Name = general(out[i].Name)
	}
	return out
}

// general is a field's name with every index as [*].
func general(name string) string {
	f, err := volatile.ParseField(name)
	if err != nil {
		return name
	}
	for i := range f.Steps {
		if f.Steps[i].Index >= 0 {
			f.Steps[i] = volatile.Step{All: true}
		}
	}
	return f.String()
}

// sameParts tells whether two lists with commas hold the same in another order.
func sameParts(a, b string) bool {
	x, y := strings.Split(a, ","), strings.Split(b, ",")
	slices.Sort(x)
	slices.Sort(y)
	return len(x) > 1 && a != b && slices.Equal(x, y)
}
