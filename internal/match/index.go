package match

import (
	"sync"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
)

// Index finds exchanges by request. It may be used by several goroutines.
type Index struct {
	mu       sync.Mutex
	entries  []*entry
	byKey    map[[32]byte]*queue
	byRule   map[[32]byte]*queue // stubs that leave the fields open
	byPlace  map[string][]*entry // method, authority and path without digits: for a miss
	last     int                 // the highest id that was taken
	counts   Counts
	sessions map[string]int // live connection to the recorded one
}

type entry struct {
	exchange *cassette.Exchange
	request  Request
	taken    bool
}

// queue are the exchanges with one key, in recorded order.
type queue struct {
	entries []*entry
	from    int // all before it are taken
}

// Counts of a replay.
type Counts struct {
	Matched   int      `json:"matched"`
	Missed    int      `json:"missed"`
	Reordered int      `json:"reordered"`
	Ambiguous int      `json:"ambiguous"`
	Unused    []string `json:"unused,omitempty"`
}

// NewIndex returns an index of those exchanges whose request the program made.
func NewIndex(exchanges []*cassette.Exchange) (*Index, error) {
	x := &Index{byKey: map[[32]byte]*queue{}, byRule: map[[32]byte]*queue{}, byPlace: map[string][]*entry{}, sessions: map[string]int{}}
	for _, e := range exchanges {
		r, err := Of(e.Scheme, e.Authority, e.Request)
		if err != nil {
			return nil, err
		}
		n := &entry{exchange: e, request: r}
		x.entries = append(x.entries, n)
		queues, k := x.byKey, r.key()
		if e.Stub && len(r.Fields) == 0 {
			queues, k = x.byRule, r.rule()
		}
		if queues[k] == nil {
			queues[k] = &queue{}
		}
		queues[k].entries = append(queues[k].entries, n)
		p := r.place()
		x.byPlace[p] = append(x.byPlace[p], n)
	}
	return x, nil
}

// Take returns the exchange that the request is. Of several equal ones it is
// the next of the recorded connection that the live one has stood for, or else
// the first that was not taken. The last of equal stubs answers again and again.
func (x *Index) Take(session string, r Request) (*cassette.Exchange, *Miss) {
	x.mu.Lock()
	defer x.mu.Unlock()
	q := x.byKey[r.key()]
	if q == nil && len(x.byRule) > 0 {
		q = x.byRule[r.rule()]
	}
	if q != nil {
		for q.from < len(q.entries) && q.entries[q.from].taken {
			q.from++
		}
	}
	if q != nil && q.from == len(q.entries) {
		if last := q.entries[q.from-1]; last.exchange.Stub {
			x.counts.Matched++
			return last.exchange, nil
		}
	}
	if q == nil || q.from == len(q.entries) {
		x.counts.Missed++
		return nil, x.miss(r, q)
	}
	pick := q.entries[q.from]
	others := false
	bound, known := x.sessions[session]
	const look = 1000 // entries, so that 100,000 equal ones cost no more
	for _, e := range q.entries[q.from:min(len(q.entries), q.from+look)] {
		if e.taken {
			continue
		}
		if known && e.exchange.Conn == bound {
			pick, others = e, false
			break
		}
		if e.exchange.Conn != pick.exchange.Conn && !sameAnswer(e.exchange, pick.exchange) {
			others = true
			if !known {
				break
			}
		}
	}
	if others {
		x.counts.Ambiguous++ // answered in recorded order, and said
	}
	x.sessions[session] = pick.exchange.Conn
	pick.taken = true
	x.counts.Matched++
	if pick.exchange.ID < x.last && !pick.exchange.Stub {
		x.counts.Reordered++
	}
	x.last = max(x.last, pick.exchange.ID)
	return pick.exchange, nil
}

func sameAnswer(a, b *cassette.Exchange) bool {
	if a.Response == nil || b.Response == nil {
		return a.Response == b.Response
	}
	return string(a.Response.Head) == string(b.Response.Head) && a.Response.Body.Digest() == b.Response.Body.Digest()
}

// Counts are the counts up to now, and the exchanges that were not taken.
func (x *Index) Counts() Counts {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.counts
	for _, e := range x.entries {
		if !e.taken && !e.exchange.Stub { // a rule need not be used
			c.Unused = append(c.Unused, ID(e.exchange))
		}
	}
	return c
}
