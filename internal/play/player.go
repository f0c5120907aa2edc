// Package play gives a replayed program what it got when it was recorded. It
// answers the program's connections from a cassette, and connects to the program
// as its clients did, in the recorded order.
package play

import (
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/match"
	"github.com/tapedeck-dev/tapedeck/internal/order"
	"github.com/tapedeck-dev/tapedeck/internal/wire"
)

// Options of a replay.
type Options struct {
	Cassette    *cassette.Cassette
	Certificate func(name string) (*tls.Certificate, error)
	Scrub       func(b []byte) []byte // a live message, as the recorded ones were; nil: not at all
	ScrubText   func(b []byte) []byte // live bytes that are no HTTP
	Order       order.Mode
	Gate        order.Options
	WhatIf      []WhatIf
	Match       match.Options // but for Order, which is that of above
	Asked       func(Asked)   // is told of each request of the program; or nil
}

// Asked is a request that the program made at replay.
type Asked struct {
	Session string // the live connection
	Request match.Request
	ID      string // of the exchange that it got; "" if none
	Missed  bool
}

// Report is what a replay showed.
type Report struct {
	match.Counts
	Order       string             `json:"order"`
	Lenient     bool               `json:"lenient,omitempty"` // misses got the nearest answer
	Misses      []*match.Miss      `json:"misses,omitempty"`
	Drift       []Drift            `json:"drift,omitempty"`
	Divergences []order.Divergence `json:"divergences,omitempty"`
	Opaque      int                `json:"opaque,omitempty"` // streams that nobody decoded
	WhatIf      []string           `json:"what_if,omitempty"`
}

// Drift is something that the program sent otherwise than recorded.
type Drift struct {
	ID     string        `json:"id"`
	Fields []match.Field `json:"fields"`
}

// Diverged tells whether the replay differs from the recording.
func (r *Report) Diverged() bool {
	return r.Missed > 0 || len(r.Unused) > 0 || len(r.Drift) > 0 || len(r.Divergences) > 0
}

// Player plays one cassette once.
type Player struct {
	opt     Options
	gate    *order.Gate
	index   *match.Index
	seqs    map[string]*sequence
	opened  map[int]uint64 // by connection: the event of its opening
	dests   map[netip.AddrPort]*dest
	queries map[string]*answers
	whatif  map[int]WhatIf
	again   map[int]bool // queries that were answered as one before them

	open map[string][]*cassette.Exchange // that were answered before they were asked to the end

	mu       sync.Mutex
	streamed int // of them, those that were taken
	misses   []*match.Miss
	drift    []Drift
	opaque   int
	lives    int
}

// sequence are the events of one exchange or stream.
type sequence struct {
	asked  []cassette.Event // the asking side's, first to last
	answer uint64           // first byte
	data   []cassette.Event
	end    uint64
}

// dest is what was recorded of one address that the program dialled.
type dest struct {
	conns   []*cassette.Conn
	streams []*cassette.Stream
	http    bool
	tls     bool
	dns     bool
	next    int // connection
	stream  int
}

type answers struct {
	all  []*cassette.Query
	next int
}

// New returns a player.
func New(o Options) (*Player, error) {
	p := &Player{opt: o, seqs: map[string]*sequence{}, opened: map[int]uint64{}, dests: map[netip.AddrPort]*dest{}, queries: map[string]*answers{}, whatif: map[int]WhatIf{}, again: map[int]bool{}, open: map[string][]*cassette.Exchange{}}
	c := o.Cassette
	used := make([]bool, len(c.Conns)+1)
	var outgoing []*cassette.Exchange
	both := interleaved(c)
	for _, x := range c.Exchanges {
		used[x.Conn] = true
		if both[match.ID(x)] && !c.Conns[x.Conn-1].Incoming {
			k := openKey(x.Scheme, x.Request)
			p.open[k] = append(p.open[k], x)
			continue
		}
		if x.Conn == 0 || !c.Conns[x.Conn-1].Incoming {
			outgoing = append(outgoing, x)
		}
	}
	for _, s := range c.Streams {
		used[s.Conn] = true
	}
	for _, conn := range c.Conns {
		if conn.Incoming || conn.Proto == "dns" && !conn.TLS { // TCP need not be used again
			continue
		}
		d := p.dests[conn.Peer]
		if d == nil {
			d = &dest{}
			p.dests[conn.Peer] = d
		}
		d.conns = append(d.conns, conn)
		d.http = d.http || conn.Proto == "http/1.1" || conn.Proto == "h2"
		d.tls = d.tls || conn.TLS
		d.dns = d.dns || conn.Proto == "dns"
	}
	for _, s := range c.Streams {
		if d := p.dests[c.Conns[s.Conn-1].Peer]; d != nil && s.Exchange == 0 {
			d.streams = append(d.streams, s)
		}
	}
	first := map[string]string{} // answer to the first query of a kind, but for its number
	for _, q := range c.Queries {
		k := q.Name + " " + q.Type
		// How often a resolver asks depends on what it has in its cache, and on
		// which of its callers are together: the same answer again is no input.
		answer := string(q.Answer[min(2, len(q.Answer)):])
		if old, ok := first[k]; !ok {
			first[k] = answer
		} else if old == answer {
			p.again[q.ID] = true
		}
		if p.queries[k] == nil {
			p.queries[k] = &answers{}
		}
		p.queries[k].all = append(p.queries[k].all, q)
	}
	var skip []uint64
	for _, e := range c.Events {
		switch e.Kind {
		case cassette.ConnOpen:
			p.opened[e.Conn] = e.Seq
			if conn := c.Conns[e.Conn-1]; !used[e.Conn] && conn.Refused == "" {
				skip = append(skip, e.Seq) // nothing came of it
			}
		case cassette.ConnClose:
			skip = append(skip, e.Seq) // when a side lets go of a connection is nobody's input
		default:
			p.sequence(e)
		}
	}
	for _, w := range o.WhatIf {
		if w.ID < 1 || w.ID > len(c.Exchanges) {
			return nil, fmt.Errorf("--what-if: need an exchange of the recording, from http:1 to http:%d, found http:%d", len(c.Exchanges), w.ID)
		}
		p.whatif[w.ID] = w
	}
	var err error
	o.Match.Order = o.Order
	if p.index, err = match.NewIndex(outgoing, o.Match); err != nil {
		return nil, err
	}
	for id := range p.again {
		s := p.of(fmt.Sprintf("dns:%d", id))
		skip = append(append(skip, s.request()...), s.end, p.opened[c.Queries[id-1].Conn])
	}
	p.gate = order.New(c.Events, o.Order, o.Gate)
	p.gate.Skip(skip...)
	return p, nil
}

// interleaved are the exchanges of HTTP/2 that were answered before their request
// was whole, as calls are that stream both ways.
func interleaved(c *cassette.Cassette) map[string]bool {
	begun, found := map[string]bool{}, map[string]bool{}
	for _, e := range c.Events {
		switch {
		case e.Kind == cassette.Response && e.Conn > 0 && c.Conns[e.Conn-1].Proto == "h2":
			begun[e.ID] = true
		case (e.Kind == cassette.ReqEnd || e.Kind == cassette.ReqData) && begun[e.ID]:
			found[e.ID] = true
		}
	}
	return found
}

func (p *Player) sequence(e cassette.Event) {
	s := p.seqs[e.ID]
	if s == nil {
		s = &sequence{}
		p.seqs[e.ID] = s
	}
	switch e.Kind {
	case cassette.Request, cassette.ReqData, cassette.ReqEnd, cassette.Question:
		s.asked = append(s.asked, e)
	case cassette.Response:
		s.answer = e.Seq
	case cassette.RespData, cassette.Data:
		s.data = append(s.data, e)
	case cassette.RespEnd, cassette.Answer:
		s.end = e.Seq
	}
}

// request are the numbers of what the asking side did.
func (s *sequence) request() []uint64 {
	seqs := make([]uint64, len(s.asked))
	for i, e := range s.asked {
		seqs[i] = e.Seq
	}
	return seqs
}

func (p *Player) of(id string) *sequence {
	if s := p.seqs[id]; s != nil {
		return s
	}
	return &sequence{}
}

// Complete tells whether all that was recorded has been played.
func (p *Player) Complete() bool { return p.gate.Complete() }

// Report is the state of things.
func (p *Player) Report() Report {
	r := Report{Counts: p.index.Counts(), Order: p.opt.Order.String(), Lenient: p.opt.Match.Lenient, Divergences: p.gate.Divergences()}
	p.mu.Lock()
	defer p.mu.Unlock()
	r.Misses, r.Drift, r.Opaque = p.misses, p.drift, p.opaque
	r.Missed = len(p.misses)
	r.Matched += p.streamed
	for _, k := range slices.Sorted(maps.Keys(p.open)) {
		for _, x := range p.open[k] {
			r.Unused = append(r.Unused, match.ID(x))
		}
	}
	for _, w := range p.opt.WhatIf {
		r.WhatIf = append(r.WhatIf, w.String())
	}
	return r
}

func (p *Player) missed(m *match.Miss) {
	p.mu.Lock()
	p.misses = append(p.misses, m)
	p.mu.Unlock()
}

// take finds the answer of a request; nil if there is none.
func (p *Player) take(session string, r match.Request) (*cassette.Exchange, *match.Miss) {
	x, miss := p.index.Take(session, r)
	if miss != nil {
		p.missed(miss)
	}
	p.asked(session, r, x, miss != nil)
	return x, miss
}

// asked tells whoever wants to know of a request.
func (p *Player) asked(session string, r match.Request, x *cassette.Exchange, missed bool) {
	if p.opt.Asked == nil {
		return
	}
	a := Asked{Session: session, Request: r, Missed: missed}
	if x != nil {
		a.ID = match.ID(x)
	}
	p.opt.Asked(a)
}

// Serve answers a connection that the program opened to dst.
func (p *Player) Serve(c net.Conn, dst netip.AddrPort) {
	defer c.Close()
	dst = netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port())
	d := p.dests[dst]
	if d == nil && dst.Port() == 53 {
		p.questions(c)
		return
	}
	if d == nil {
		p.missed(&match.Miss{Request: "connect to " + dst.String(), Cause: match.NewCall})
		wire.Abort(c)
		return
	}
	p.mu.Lock()
	conn := d.conns[min(d.next, len(d.conns)-1)]
	d.next++
	p.lives++
	session := fmt.Sprint(p.lives)
	p.mu.Unlock()
	if conn.Refused == "refused" || conn.Refused == "unreachable" || conn.Refused == "timeout" {
		p.gate.Happened(p.opened[conn.ID])
		wire.Abort(c)
		return
	}
	if !d.http && !d.tls {
		p.stream(c, d, nil)
		return
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		return
	}
	live := net.Conn(&wire.Prefixed{Conn: c, Head: first})
	scheme, name := "http", dst.Addr().String()
	if first[0] == 22 {
		if conn.Refused == "tls" {
			p.gate.Happened(p.opened[conn.ID])
			wire.Abort(c)
			return
		}
		scheme = "https"
		server := tls.Server(live, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			if h.ServerName != "" {
				name = h.ServerName
			}
			cert, err := p.opt.Certificate(name)
			if err != nil {
				return nil, err
			}
			t := &tls.Config{Certificates: []tls.Certificate{*cert}}
			if conn.ALPN != "" {
				t.NextProtos = []string{conn.ALPN}
			}
			return t, nil
		}})
		if err := server.Handshake(); err != nil {
			return
		}
		live = server
		if server.ConnectionState().NegotiatedProtocol == "h2" && d.http {
			p.http2(live, scheme, dst, session)
			return
		}
	} else if first[0] == 'P' && conn.Proto == "h2" {
		more := make([]byte, 2)
		if _, err := io.ReadFull(c, more); err != nil {
			return
		}
		live = &wire.Prefixed{Conn: c, Head: append(first, more...)}
		if string(more) == "RI" {
			p.http2(live, scheme, dst, session)
			return
		}
	}
	if d.dns {
		p.questions(live)
		return
	}
	if !d.http {
		p.stream(live, d, nil)
		return
	}
	p.http(live, scheme, dst, session)
}
