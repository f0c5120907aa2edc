package match

import (
	"regexp"
	"slices"
	"strings"
)

// near finds what a missed request is nearest to. It is made by the first miss:
// a replay without any does not pay for it.
type near struct {
	places   map[string][]int32 // entries by method, authority and path without digits
	requests map[int32]*Request // that were compared, with their rules applied; nil if they can't be read
}

var digits = regexp.MustCompile(`[0-9a-fA-F-]{8,}|[0-9]+`)

// Place groups requests to one endpoint: method, authority, and the path without
// what looks like a number or an id.
func (r Request) Place() string {
	return r.Method + " " + r.Authority + digits.ReplaceAllString(r.Path, "#")
}

func (x *Index) newNear() *near {
	n := &near{places: map[string][]int32{}, requests: map[int32]*Request{}}
	for i := range x.entries {
		e := x.entries[i].exchange
		r, _ := line(e.Scheme, e.Authority, e.Request)
		n.places[r.Place()] = append(n.places[r.Place()], int32(i))
	}
	return n
}

func (x *Index) requestOf(i int32) *Request {
	r, ok := x.near.requests[i]
	if !ok {
		e := x.entries[i].exchange
		if made, err := Of(e.Scheme, e.Authority, e.Request); err == nil {
			made = x.settled(made)
			r = &made
		}
		x.near.requests[i] = r
	}
	return r
}

func (x *Index) settled(r Request) Request {
	if x.opt.Rules != nil {
		r, _ = settle(x.opt.Rules, r)
	}
	return r
}

// miss tells of a request that was not recorded, and which entry is nearest, or
// -1. same is the number of the last entry of this very request, or 0.
func (x *Index) miss(r Request, same int32) (*Miss, int32) {
	url := r.Scheme + "://" + r.Authority + r.Path
	if len(r.Query) > 0 {
		url += "?" + strings.Join(r.Query, "&")
	}
	m := &Miss{Request: r.Method + " " + short(url), Cause: NewCall}
	if same != 0 {
		m.Cause, m.Nearest = ExtraRepeat, ID(x.entries[same-1].exchange)
		return m, same - 1
	}
	if x.near == nil {
		x.near = x.newNear()
	}
	r = x.settled(r)
	here := x.near.places[r.Place()]
	best, least := int32(-1), 0
	for _, i := range x.candidates(r, here) {
		of := x.requestOf(i)
		if of == nil || x.opt.Lenient && (of.Method != r.Method || of.Authority != r.Authority) {
			continue
		}
		d := Differences(*of, r)
		far := len(d)
		if x.entries[i].taken { // one that was not used yet is more likely meant
			if far++; x.opt.Lenient {
				far += 1 << 20
			}
		}
		if best < 0 || far < least {
			best, least, m.Nearest, m.Fields = i, far, ID(x.entries[i].exchange), d
		}
	}
	if best >= 0 && slices.Contains(here, best) {
		m.Cause = cause(m.Fields)
	}
	m.Fields = m.Fields[:min(len(m.Fields), maxFields)]
	for i := range m.Fields {
		m.Fields[i].Recorded, m.Fields[i].Live = short(m.Fields[i].Recorded), short(m.Fields[i].Live)
	}
	return m, best
}

// candidates are the entries among which the nearest is looked for: those of the
// place, or, if there are none that will do, others of the authority.
func (x *Index) candidates(r Request, here []int32) []int32 {
	fresh := func(i int32) bool { return !x.entries[i].taken }
	if len(here) > 0 && (!x.opt.Lenient || slices.ContainsFunc(here, fresh)) {
		return limited(x, here)
	}
	all := slices.Clone(limited(x, here))
	for i := range x.entries {
		if len(all) >= 2*maxSearch {
			break
		}
		e := x.entries[i].exchange
		if host(e.Scheme, e.Authority) != r.Authority {
			continue
		}
		if _, has := slices.BinarySearch(here, int32(i)); !has {
			all = append(all, int32(i))
		}
	}
	return all
}

// limited are at most maxSearch entries, those that were not taken first.
func limited(x *Index, list []int32) []int32 {
	if len(list) <= maxSearch {
		return list
	}
	var some []int32
	for _, taken := range []bool{false, true} {
		for _, i := range list {
			if x.entries[i].taken == taken && len(some) < maxSearch {
				some = append(some, i)
			}
		}
	}
	return some
}
