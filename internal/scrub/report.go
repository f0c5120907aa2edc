package scrub

import (
	"cmp"
	"slices"
	"sync"
)

// Report tells how much was found and what became of it. It never holds a
// value, nor a name that data could have chosen.
type Report struct {
	Salt   string   `json:"salt"`  // the reference
	Rules  []string `json:"rules"` // names of the rule sets, and the base names of rule files
	Counts []Count  `json:"counts"`
}

// Count is how often one rule acted.
type Count struct {
	Rule   string `json:"rule"` // a detector, e.g. "pan", or a line of the schema, e.g. "json:card_number"
	Class  Class  `json:"class"`
	Action string `json:"action"`
	Count  int64  `json:"count"`
}

type tally struct {
	mu sync.Mutex
	n  map[tallyKey]int64
}

type tallyKey struct {
	rule   string
	class  Class
	action Action
}

func (t *tally) add(rule string, class Class, action Action) {
	t.mu.Lock()
	t.n[tallyKey{rule, class, action}]++
	t.mu.Unlock()
}

// Report returns the counts up to now, in a fixed order.
func (s *Scrubber) Report() Report {
	r := Report{Salt: s.salt.Ref, Rules: slices.Clone(s.rules.names), Counts: []Count{}}
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	for k, n := range s.tally.n {
		r.Counts = append(r.Counts, Count{k.rule, k.class, k.action.String(), n})
	}
	slices.SortFunc(r.Counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Action, b.Action))
	})
	return r
}
