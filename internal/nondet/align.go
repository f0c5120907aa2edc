package nondet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/match"
)

// aligned are a request of the first run and one of another that stand for each
// other: their numbers, or -1 where there is none.
type aligned struct {
	a, b  int
	equal bool
}

const maxCandidates = 50 // of one request

// align pairs the requests of two runs: equal ones first, then those to one
// endpoint that differ least, then those whose paths differ in one segment.
// Among the equally near the first counts.
func align(a, b []Asked) []aligned {
	var pairs []aligned
	byText := map[string][]int{}
	for i, x := range a {
		byText[text(x.Request)] = append(byText[text(x.Request)], i)
	}
	usedA, usedB := make([]bool, len(a)), make([]bool, len(b))
	pair := func(i, j int, equal bool) {
		pairs = append(pairs, aligned{i, j, equal})
		usedA[i], usedB[j] = true, true
	}
	for j, y := range b {
		if list := byText[text(y.Request)]; len(list) > 0 {
			pair(list[0], j, true)
			byText[text(y.Request)] = list[1:]
		}
	}
	for _, group := range []struct {
		of   func(match.Request) string
		most int // differences
	}{
		{match.Request.Place, 1 << 30},
		{func(r match.Request) string {
			return fmt.Sprint(r.Method, " ", r.Authority, " ", strings.Count(r.Path, "/"))
		}, 1},
	} {
		left := map[string][]int{}
		for i, x := range a {
			if !usedA[i] {
				left[group.of(x.Request)] = append(left[group.of(x.Request)], i)
			}
		}
		for j, y := range b {
			if usedB[j] {
				continue
			}
			k := group.of(y.Request)
			best, least := -1, group.most+1
			for _, i := range left[k][:min(len(left[k]), maxCandidates)] {
				if d := segments(a[i].Request, y.Request, group.most); d < least {
					best, least = i, d
				}
			}
			if best >= 0 {
				pair(best, j, false)
				left[k] = slices.DeleteFunc(left[k], func(i int) bool { return i == best })
			}
		}
	}
	slices.SortFunc(pairs, func(p, q aligned) int { return p.b - q.b })
	for i := range a {
		if !usedA[i] {
			pairs = append(pairs, aligned{i, -1, false})
		}
	}
	for j := range b {
		if !usedB[j] {
			pairs = append(pairs, aligned{-1, j, false})
		}
	}
	return pairs
}

// segments counts in how many fields two requests differ; with a limit, only
// segments of their paths are counted against it.
func segments(a, b match.Request, most int) int {
	d := match.Differences(a, b)
	if most > 1 {
		return len(d)
	}
	return len(slices.DeleteFunc(d, func(f match.Field) bool { return !strings.HasPrefix(f.Name, "path") }))
}

// text is a request in one line: equal requests have the same.
func text(r match.Request) string {
	return strings.Join(slices.Concat([]string{r.Method, r.Scheme, r.Authority, r.Path, r.Body}, r.Query, []string{""}, r.Fields), "\x00")
}

// inversion is the first pair that comes before one that it came behind in the
// first run, and how many pairs do so.
func inversion(pairs []aligned) (before, behind aligned, n int) {
	highest := aligned{a: -1}
	for _, p := range pairs { // by the order of the other run
		if p.a < 0 || p.b < 0 {
			continue
		}
		if p.a < highest.a {
			if n++; n == 1 {
				before, behind = highest, p
			}
		} else {
			highest = p
		}
	}
	return before, behind, n
}
