// Package nondet finds what differs between runs of one program: it lays the
// requests of the runs side by side, tells in which fields they differ and of
// what kind each of those is, with the evidence, and proposes rules for a replay
// to leave them out. [Compare] is the whole of it.
package nondet

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/match"
	"github.com/tapedeck-dev/tapedeck/internal/volatile"
)

// Run is what a program asked in one run, in its order.
type Run struct {
	Name  string
	Began time.Time // by the program's clock
	Asked []Asked
	Drift []Drift // in what the program answered otherwise than recorded
}

// Asked is one request.
type Asked struct {
	ID      string // event id
	Request match.Request
}

// Drift is an answer of the program, or a piece of a stream, that a replay has
// compared with the recorded one.
type Drift struct {
	ID      string
	Request match.Request // that it answers; zero if it answers none
	Fields  []match.Field
}

// Recorded is the run that a cassette holds; before goes before its event ids.
func Recorded(name, before string, c *cassette.Cassette) (*Run, error) {
	r := &Run{Name: name, Began: time.Unix(0, c.Began.Wall).UTC()}
	for _, x := range c.Exchanges {
		if x.Conn > 0 && x.Conn <= len(c.Conns) && c.Conns[x.Conn-1].Incoming {
			continue // a client's
		}
		req, err := match.Of(x.Scheme, x.Authority, x.Request)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", match.ID(x), err)
		}
		r.Asked = append(r.Asked, Asked{ID: before + match.ID(x), Request: req})
	}
	return r, nil
}

// Kinds of a finding beside those of package volatile.
const (
	Order = "order" // the same, in another order
	Other = "other"
)

// Report is what was found.
type Report struct {
	Runs     []RunInfo       `json:"runs"`
	Findings []*Finding      `json:"findings"`
	Rules    *volatile.Rules `json:"-"`
}

// RunInfo tells of a run that was compared.
type RunInfo struct {
	Name     string    `json:"name"`
	Began    time.Time `json:"began"` // by the program's clock
	Requests int       `json:"requests"`
	Differ   int       `json:"differ"` // from those of the first run
}

// Finding is one field that differs.
type Finding struct {
	Kind      string     `json:"kind"` // time, uuid, nonce, counter, order, other
	Why       string     `json:"why"`
	Method    string     `json:"method,omitempty"`
	Authority string     `json:"authority,omitempty"`
	Path      string     `json:"path,omitempty"` // a pattern
	Field     string     `json:"field"`          // as in a rule file; or "request", "sequence", "answer…"
	Requests  int        `json:"requests"`       // in which it differs
	Runs      []string   `json:"runs"`           // in which it differs from the first
	Evidence  []Evidence `json:"evidence"`       // the first of each run, and some more
	Rule      string     `json:"rule,omitempty"` // that is proposed

	pairs []pair
}

// Evidence is one place where a field differs.
type Evidence struct {
	First   string `json:"first"` // event id of the first run, "" if it has none
	Value   string `json:"value"`
	Run     string `json:"run"`
	Other   string `json:"other"` // event id of that run
	Differs string `json:"differs"`
}

const (
	maxEvidence = 4
	maxValue    = 200
)

// Differs tells whether anything does.
func (r *Report) Differs() bool { return len(r.Findings) > 0 }

// Compare lays runs beside the first one.
func Compare(first *Run, others ...*Run) *Report {
	c := &comparison{first: first, findings: []*Finding{}, byField: map[string]*Finding{}, paths: map[string]paths{}}
	rep := &Report{Runs: []RunInfo{{Name: first.Name, Began: first.Began, Requests: len(first.Asked)}}}
	for _, o := range others {
		n := c.compare(o)
		rep.Runs = append(rep.Runs, RunInfo{Name: o.Name, Began: o.Began, Requests: len(o.Asked), Differ: n})
	}
	for _, f := range c.findings {
		f.Path = c.paths[f.Path].String()
		if f.Kind == "" {
			classify(f)
		}
		f.Requests = len(f.pairs)
		f.evidence()
	}
	rep.Findings = c.findings
	rep.propose()
	return rep
}

// evidence keeps of each run the first pair, and some more while there is room.
func (f *Finding) evidence() {
	var first, more []pair
	for _, p := range f.pairs {
		if slices.Contains(f.Runs, p.run.Name) {
			more = append(more, p)
			continue
		}
		f.Runs = append(f.Runs, p.run.Name)
		first = append(first, p)
	}
	all := append(first, more...)
	for _, p := range all[:min(len(all), maxEvidence)] {
		f.Evidence = append(f.Evidence, Evidence{First: p.a.ID, Value: short(p.x), Run: p.run.Name, Other: p.b.ID, Differs: short(p.y)})
	}
}

func short(s string) string {
	if len(s) > maxValue {
		return strings.ToValidUTF8(s[:maxValue], "") + "…"
	}
	return s
}
