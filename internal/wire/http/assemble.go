package http

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/spool"
)

// Cassette is what [Assemble] fills.
type Cassette interface {
	Conn(*cassette.Conn) error
	Exchange(*cassette.Exchange) error
	Stream(*cassette.Stream) error
	Query(*cassette.Query) error
	Event(cassette.Event) error
}

// Summary counts what a cassette holds.
type Summary struct{ Conns, Exchanges, Streams, Queries, Events int }

// Assemble makes a cassette of what recorders left in a spool. Damaged records
// are left out. scratch is a folder for bodies too large for memory.
func Assemble(spoolDir, scratch string, w Cassette) (Summary, error) {
	a := &assembly{w: w, scratch: scratch, conns: map[uint64]*cassette.Conn{}, streams: map[uint64]*stream{}, parts: map[uint64]*os.File{}, upgraded: map[uint64]*cassette.Exchange{}}
	defer a.close()
	for rec, err := range spool.Read(spoolDir) {
		var damaged *spool.DamagedError
		if errors.As(err, &damaged) {
			continue
		}
		if err == nil {
			err = a.take(rec)
		}
		if err != nil {
			return Summary{}, err
		}
	}
	return a.write()
}

// sequenced is an event that has no number yet.
type sequenced struct {
	tick  uint64
	event cassette.Event
	conn  *cassette.Conn
	id    func() string // numbers are given in the order of the events
	first func()        // gives the number
}

type stream struct {
	s        *cassette.Stream
	out, in  []byte
	numbered bool
}

type assembly struct {
	w        Cassette
	scratch  string
	conns    map[uint64]*cassette.Conn // by the tap's number
	streams  map[uint64]*stream
	parts    map[uint64]*os.File
	upgraded map[uint64]*cassette.Exchange
	all      struct {
		exchanges []*cassette.Exchange
		streams   []*stream
		queries   []*cassette.Query
		events    []*sequenced
	}
	sum Summary
}

func (a *assembly) close() {
	for _, f := range a.parts {
		f.Close()
		os.Remove(f.Name())
	}
}

// reader takes numbers and parts off a record.
type reader struct {
	numbers []uint64
	parts   [][]byte
	bad     bool
}

func (r *reader) n() uint64 {
	if len(r.numbers) == 0 {
		r.bad = true
		return 0
	}
	v := r.numbers[0]
	r.numbers = r.numbers[1:]
	return v
}

func (r *reader) part() []byte {
	if len(r.parts) == 0 {
		r.bad = true
		return nil
	}
	p := r.parts[0]
	r.parts = r.parts[1:]
	return p
}

func (r *reader) when() moment {
	return moment{r.n(), cassette.Time{Wall: int64(r.n()), Mono: int64(r.n())}}
}

func (a *assembly) take(rec spool.Record) error {
	var f func(*reader) error
	switch rec.Kind {
	case kindConn:
		f = a.conn
	case kindClose:
		f = a.closing
	case kindExchange:
		f = a.exchange
	case kindPart:
		f = a.part
	case kindData:
		f = a.data
	case kindDNS:
		f = a.dns
	default:
		return nil // somebody else's
	}
	numbers, parts, err := scrub.Split(rec.Data)
	if err != nil {
		return fmt.Errorf("record %d: %w", rec.Seq, err)
	}
	r := &reader{numbers: numbers, parts: parts}
	if err := f(r); err != nil {
		return fmt.Errorf("record %d: %w", rec.Seq, err)
	}
	if r.bad {
		return fmt.Errorf("record %d: %w", rec.Seq, errSpool)
	}
	return nil
}

func (a *assembly) add(m moment, c *cassette.Conn, e cassette.Event) *sequenced {
	e.Time = m.time
	s := &sequenced{tick: m.tick, event: e, conn: c}
	a.all.events = append(a.all.events, s)
	return s
}

func dirs(incoming bool) (ask, answer string) {
	if incoming {
		return "in", "out"
	}
	return "out", "in"
}

func (a *assembly) conn(r *reader) error {
	at, id := r.when(), r.n()
	c := &cassette.Conn{Port: uint16(r.n()), Incoming: r.n() == 1, TLS: r.n() == 1, Thread: int(r.n())}
	port, four := uint16(r.n()), r.n() == 1
	var ip [16]byte
	for i := range ip {
		ip[i] = byte(r.n())
	}
	addr := netip.AddrFrom16(ip)
	if four {
		addr = addr.Unmap()
	}
	c.Peer = netip.AddrPortFrom(addr, port)
	c.Proto, c.Name, c.ALPN, c.Refused = string(r.part()), string(r.part()), string(r.part()), string(r.part())
	a.conns[id] = c
	dir, _ := dirs(c.Incoming)
	e := a.add(at, c, cassette.Event{Kind: cassette.ConnOpen, Dir: dir, Thread: c.Thread, Note: c.Refused})
	e.id, e.first = connID(c), func() { a.sum.Conns++; c.ID = a.sum.Conns }
	return nil
}

func (a *assembly) of(r *reader, id uint64) *cassette.Conn {
	c := a.conns[id]
	if c == nil {
		r.bad = true
		c = &cassette.Conn{}
	}
	return c
}

func (a *assembly) closing(r *reader) error {
	at := r.when()
	c, dir, reset := a.of(r, r.n()), r.n(), r.n()
	e := cassette.Event{Kind: cassette.ConnClose, Dir: "out"}
	if dir == 1 {
		e.Dir = "in"
	}
	if reset == 1 {
		e.Note = "reset"
	}
	a.add(at, c, e).id = connID(c)
	return nil
}

func connID(c *cassette.Conn) func() string {
	return func() string { return fmt.Sprintf("conn:%d", c.ID) }
}

func (a *assembly) exchange(r *reader) error {
	conn := r.n()
	c := a.of(r, conn)
	end, answered := r.n(), r.n() == 1
	if end >= uint64(len(ends)) {
		return errSpool
	}
	x := &cassette.Exchange{Scheme: "http", End: ends[end]}
	if c.TLS {
		x.Scheme = "https"
	}
	ask, answer := dirs(c.Incoming)
	id := func() string { return fmt.Sprintf("http:%d", x.ID) }
	message := func(dir, begin, more, end string) (*cassette.Message, error) {
		first, last := r.when(), r.when()
		m := &cassette.Message{}
		part, rewritten, trunc, early, trailer, pieces := r.n(), r.n(), r.n(), r.n(), r.n(), r.n()
		if trunc >= uint64(len(truncations)) || pieces > uint64(len(r.numbers)) {
			return nil, errSpool
		}
		m.Rewritten, m.Truncated = rewritten == 1, truncations[trunc]
		list := []piece{{0, 0, first}}
		for range pieces {
			p := piece{int64(r.n()), int64(r.n()), moment{}}
			p.at = r.when()
			list = append(list, p)
		}
		head := r.part()
		n := headEnd(head)
		m.Head, m.Body = slices.Clone(head[:n]), cassette.Body(cassette.Bytes(slices.Clone(head[n:])))
		for range early {
			m.Early = append(m.Early, slices.Clone(r.part()))
		}
		if trailer == 1 { // without the line before them
			_, fields, _ := bytes.Cut(r.part(), []byte("\r\n"))
			m.Trailer = slices.Clone(bytes.TrimSuffix(fields, []byte("\r\n")))
		}
		if part != 0 {
			f := a.parts[part]
			if f == nil {
				return nil, errSpool
			}
			m.Body = onDisk{f}
		}
		if pieces == 0 && m.Body.Size() > 0 { // its pieces are not known any more
			list = append(list, piece{0, m.Body.Size(), last})
		}
		for i, p := range list {
			kind := more
			if i == 0 {
				kind = begin
			}
			s := a.add(p.at, c, cassette.Event{Kind: kind, Dir: dir, Off: p.off, Len: p.len})
			s.id = id
		}
		a.add(last, c, cassette.Event{Kind: end, Dir: dir}).id = id
		return m, nil
	}
	start := len(a.all.events)
	var err error
	if x.Request, err = message(ask, cassette.Request, cassette.ReqData, cassette.ReqEnd); err != nil {
		return err
	}
	if answered {
		if x.Response, err = message(answer, cassette.Response, cassette.RespData, cassette.RespEnd); err != nil {
			return err
		}
	}
	x.Authority, x.TraceID, x.SpanID = string(r.part()), string(r.part()), string(r.part())
	for i := start; i < len(a.all.events); i++ {
		e := a.all.events[i]
		e.event.Trace, e.event.Span, e.event.Thread = x.TraceID, x.SpanID, c.Thread
	}
	a.all.events[start].first = func() { a.sum.Exchanges++; x.ID = a.sum.Exchanges; x.Conn = c.ID }
	a.all.exchanges = append(a.all.exchanges, x)
	if answered && (x.Response.Status() == 101 || x.Request.Method() == "CONNECT" && x.Response.Status() < 300) {
		a.upgraded[conn] = x
	}
	return nil
}

func headEnd(b []byte) int {
	for i := 0; i+4 <= len(b); i++ {
		if string(b[i:i+4]) == "\r\n\r\n" {
			return i + 4
		}
	}
	return len(b)
}

func (a *assembly) part(r *reader) error {
	id, chunk, b := r.n(), r.n() == 1, r.part()
	f := a.parts[id]
	if f == nil {
		var err error
		if f, err = os.CreateTemp(a.scratch, "body-"); err != nil {
			return err
		}
		a.parts[id] = f
	}
	if chunk {
		b = fmt.Appendf(nil, "%x\r\n%s\r\n", len(b), b)
	}
	_, err := f.Write(b)
	return err
}

// onDisk is a body in a file.
type onDisk struct{ f *os.File }

func (d onDisk) Open() (io.ReadCloser, error) { return os.Open(d.f.Name()) }
func (d onDisk) Digest() string               { return "" }
func (d onDisk) Size() int64 {
	fi, err := d.f.Stat()
	if err != nil {
		return 0
	}
	return fi.Size()
}

func (a *assembly) data(r *reader) error {
	at, conn, dir, frame := r.when(), r.n(), r.n(), r.n()
	c, b := a.of(r, conn), r.part()
	note := ""
	if frame != 0 { // of a WebSocket
		f := Frame{Fin: frame>>8&1 == 1, Op: byte(frame >> 1 & 15), Payload: b}
		b, note = f.Append(nil, false), f.Kind()
	}
	s := a.streams[conn]
	if s == nil {
		s = &stream{s: &cassette.Stream{End: "closed"}}
		a.streams[conn] = s
		a.all.streams = append(a.all.streams, s)
	}
	side, name := &s.out, "out"
	if dir == 1 {
		side, name = &s.in, "in"
	}
	e := a.add(at, c, cassette.Event{Kind: cassette.Data, Dir: name, Off: int64(len(*side)), Len: int64(len(b)), Note: note})
	e.id = func() string { return fmt.Sprintf("tcp:%d", s.s.ID) }
	if !s.numbered {
		s.numbered = true
		x := a.upgraded[conn]
		e.first = func() {
			a.sum.Streams++
			s.s.ID, s.s.Conn = a.sum.Streams, c.ID
			if x != nil {
				s.s.Exchange, x.Upgrade = x.ID, s.s.ID
			}
		}
	}
	*side = append(*side, b...)
	return nil
}

func (a *assembly) dns(r *reader) error {
	asked, answered, conn := r.when(), r.when(), r.n()
	_ = r.n()
	c := a.of(r, conn)
	q := &cassette.Query{Question: slices.Clone(r.part()), Answer: slices.Clone(r.part()), Server: c.Peer}
	var ok bool
	if q.Name, q.Type, ok = Question(q.Question); !ok {
		q.Name, q.Type = ".", "?"
	}
	id := func() string { return fmt.Sprintf("dns:%d", q.ID) }
	e := a.add(asked, c, cassette.Event{Kind: cassette.Question, Dir: "out"})
	e.id, e.first = id, func() { a.sum.Queries++; q.ID, q.Conn = a.sum.Queries, c.ID }
	a.add(answered, c, cassette.Event{Kind: cassette.Answer, Dir: "in"}).id = id
	a.all.queries = append(a.all.queries, q)
	return nil
}

// Question names what a DNS message asks: the name in lower case, and the type.
func Question(b []byte) (name, kind string, ok bool) {
	var p dnsmessage.Parser
	if _, err := p.Start(b); err != nil {
		return "", "", false
	}
	q, err := p.Question()
	if err != nil {
		return "", "", false
	}
	return strings.ToLower(q.Name.String()), strings.TrimPrefix(q.Type.String(), "Type"), true
}

// write numbers the events and hands everything over.
func (a *assembly) write() (Summary, error) {
	events := a.all.events
	slices.SortStableFunc(events, func(x, y *sequenced) int { return cmp.Compare(x.tick, y.tick) })
	for _, s := range events {
		if s.first != nil {
			s.first()
		}
	}
	for i, s := range events {
		s.event.Seq, s.event.ID, s.event.Conn = uint64(i+1), s.id(), s.conn.ID
		if s.event.Kind == cassette.ConnOpen {
			if err := a.w.Conn(s.conn); err != nil {
				return a.sum, err
			}
		}
		if err := a.w.Event(s.event); err != nil {
			return a.sum, err
		}
	}
	a.sum.Events = len(events)
	slices.SortFunc(a.all.exchanges, func(x, y *cassette.Exchange) int { return cmp.Compare(x.ID, y.ID) })
	for _, x := range a.all.exchanges {
		if err := a.w.Exchange(x); err != nil {
			return a.sum, err
		}
	}
	slices.SortFunc(a.all.streams, func(x, y *stream) int { return cmp.Compare(x.s.ID, y.s.ID) })
	for _, s := range a.all.streams {
		s.s.Out, s.s.In = cassette.Bytes(s.out), cassette.Bytes(s.in)
		if err := a.w.Stream(s.s); err != nil {
			return a.sum, err
		}
	}
	slices.SortFunc(a.all.queries, func(x, y *cassette.Query) int { return cmp.Compare(x.ID, y.ID) })
	for _, q := range a.all.queries {
		if err := a.w.Query(q); err != nil {
			return a.sum, err
		}
	}
	return a.sum, nil
}
