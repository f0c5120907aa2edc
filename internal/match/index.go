package match

import (
	"sync"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/order"
	"github.com/tapedeck-dev/tapedeck/internal/volatile"
)

// Options of an index. The zero value is strict.
type Options struct {
	// Order says which of several equal exchanges is meant, and what counts as
	// reordered: by Total, whatever was recorded before one that was taken; by
	// Session, only on the same recorded connection; by Any, nothing.
	Order   order.Mode
	Rules   *volatile.Rules // fields that are left out of the comparison; or nil
	Lenient bool            // answer a miss with the nearest exchange
}

// Index finds exchanges by request. It may be used by several goroutines.
type Index struct {
	opt Options

	mu       sync.Mutex
	entries  []entry
	exact    []uint64 // with rules: of each entry, the key of the request as it stands, or 0
	table    *table
	stubs    bool             // some leave the fields open
	near     *near            // for misses; made by the first
	sessions map[string]int32 // live connection to the recorded one
	holders  map[int32]string // and back; by Session only
	last     map[int32]int32  // the highest id that was taken, of a connection; by Total under 0
	used     []bool           // rules
	counts   Counts
}

// entry is an exchange. The request is not kept: it is made again for a miss.
type entry struct {
	exchange *cassette.Exchange
	id, conn int32
	next     int32 // number of the next entry with this key, plus 1
	taken    bool
}

// Counts of a replay.
type Counts struct {
	Matched     int      `json:"matched"`
	Missed      int      `json:"missed"`
	Guessed     int      `json:"guessed,omitempty"` // of those missed, how many got the nearest answer
	ByRule      int      `json:"by_rule,omitempty"` // of those matched, how many needed a rule
	UnusedRules []string `json:"unused_rules,omitempty"`
	Reordered   int      `json:"reordered"`
	Ambiguous   int      `json:"ambiguous"`
	Unused      []string `json:"unused,omitempty"`
}

// NewIndex returns an index of those exchanges whose request the program made.
func NewIndex(exchanges []*cassette.Exchange, o Options) (*Index, error) {
	x := &Index{opt: o, entries: make([]entry, len(exchanges)), table: newTable(len(exchanges)),
		sessions: map[string]int32{}, holders: map[int32]string{}, last: map[int32]int32{}}
	if o.Rules != nil {
		x.exact, x.used = make([]uint64, len(exchanges)), make([]bool, len(o.Rules.List))
	}
	for i, e := range exchanges {
		r, err := Of(e.Scheme, e.Authority, e.Request)
		if err != nil {
			return nil, err
		}
		x.entries[i] = entry{exchange: e, id: int32(e.ID), conn: int32(e.Conn)}
		k := r.key()
		if o.Rules != nil {
			settled, told := settle(o.Rules, r)
			if told {
				x.exact[i] = k[0]
			}
			k = settled.key()
		}
		if e.Stub && len(r.Fields) == 0 {
			k, x.stubs = r.rule(), true
		}
		s := x.table.of(k)
		if s.last == 0 {
			*s = slot{key: k, head: int32(i + 1)}
		} else {
			x.entries[s.last-1].next = int32(i + 1)
		}
		s.last = int32(i + 1)
	}
	return x, nil
}

// Take returns the exchange that the request is. Of several equal ones it is
// the next of the recorded connection that the live one has stood for, or else
// the first that was not taken. The last of equal stubs answers again and again. A lenient index returns an exchange with a miss.
func (x *Index) Take(session string, r Request) (*cassette.Exchange, *Miss) {
	k, exact := r.key(), uint64(0)
	if x.opt.Rules != nil {
		settled, told := settle(x.opt.Rules, r)
		if told {
			exact = k[0]
		}
		k = settled.key()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.table.of(k)
	if s.last == 0 && x.stubs {
		s = x.table.of(r.rule())
	}
	for s.head != 0 && x.entries[s.head-1].taken {
		s.head = x.entries[s.head-1].next
	}
	if s.head == 0 && s.last != 0 && x.entries[s.last-1].exchange.Stub {
		x.counts.Matched++
		return x.entries[s.last-1].exchange, nil
	}
	if s.head == 0 {
		x.counts.Missed++
		m, nearest := x.miss(r, s.last)
		if !x.opt.Lenient || nearest < 0 {
			return nil, m
		}
		x.counts.Guessed++
		m.Served = m.Nearest
		return x.take(session, nearest), m
	}
	i := x.choose(session, s.head, exact)
	x.counts.Matched++
	if x.opt.Rules != nil {
		x.ruled(r, i)
	}
	return x.take(session, i), nil
}

// choose is which of the entries with one key is meant; head is the first that
// was not taken.
func (x *Index) choose(session string, head int32, exact uint64) int32 {
	pick := head - 1
	if x.entries[pick].next == 0 {
		return pick // as most often: there is no other
	}
	bound, known := x.sessions[session]
	best, others := 0, false
	const look = 1000 // entries, so that 100,000 equal ones cost no more
	for n, at := 0, head; at != 0 && n < look; n++ {
		e := &x.entries[at-1]
		if !e.taken {
			if g := x.grade(at-1, session, known && e.conn == bound, exact); g > best {
				pick, best = at-1, g
			}
			if first := &x.entries[head-1]; e.conn != first.conn && !others {
				others = !sameAnswer(e.exchange, first.exchange)
			}
			if best == sure || others && !known && exact == 0 && x.opt.Order != order.Session {
				break
			}
		}
		at = e.next
	}
	if others && best < own {
		x.counts.Ambiguous++ // answered in recorded order, and said
	}
	return pick
}

// Grades of how surely an entry is meant.
const (
	free = iota + 1 // by session: of a recorded connection that no live one stands for
	own             // of the connection that this live one has stood for
	same            // equal in what the rules leave out, too
	sure = own + same
)

func (x *Index) grade(i int32, session string, mine bool, exact uint64) (g int) {
	switch holder, held := x.holders[x.entries[i].conn]; {
	case x.opt.Order == order.Any:
	case mine:
		g = own
	case x.opt.Order == order.Session && (!held || holder == session):
		g = free
	}
	if exact != 0 && x.exact[i] == exact {
		g += same
	} else if exact == 0 && g == own {
		g = sure
	}
	return g
}

func (x *Index) take(session string, i int32) *cassette.Exchange {
	e := &x.entries[i]
	x.bind(session, e.conn)
	first := !e.taken
	e.taken = true
	group := int32(0)
	switch x.opt.Order {
	case order.Any:
		return e.exchange
	case order.Session:
		group = e.conn
	}
	if first && e.id < x.last[group] {
		x.counts.Reordered++
	}
	x.last[group] = max(x.last[group], e.id)
	return e.exchange
}

// bind has a live connection stand for a recorded one from now on.
func (x *Index) bind(session string, conn int32) {
	old, known := x.sessions[session]
	if known && old == conn {
		return
	}
	x.sessions[session] = conn
	if x.opt.Order == order.Session {
		if known && x.holders[old] == session {
			delete(x.holders, old)
		}
		x.holders[conn] = session
	}
}

// Leave tells that a live connection is no more.
func (x *Index) Leave(session string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if conn, ok := x.sessions[session]; ok && x.holders[conn] == session {
		delete(x.holders, conn)
	}
	delete(x.sessions, session)
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
	for i := range x.entries {
		if e := &x.entries[i]; !e.taken && !e.exchange.Stub {
			c.Unused = append(c.Unused, ID(e.exchange))
		}
	}
	for i, used := range x.used {
		if !used {
			c.UnusedRules = append(c.UnusedRules, x.opt.Rules.Name(i))
		}
	}
	return c
}
