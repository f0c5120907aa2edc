// Package http decodes what a [tap] copied: HTTP/1 messages, DNS messages, and
// the bytes of what is neither. Everything is scrubbed, and appended to a spool as
// soon as it is complete; [Assemble] makes a cassette of that.
package http

import (
	"bytes"
	"errors"
	"io"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/spool"
	"github.com/tapedeck-dev/tapedeck/internal/wire"
)

// Recorder is a [wire.Sink] that decodes, scrubs and spools. It may be used by
// one goroutine at a time.
type Recorder struct {
	spool  *spool.Spool
	scrub  *scrub.Scrubber
	conns  map[uint64]*conn
	serial uint64 // of exchanges
	mu     sync.Mutex
	err    error // the first one: after it nothing is recorded
}

// NewRecorder returns a recorder that appends to sp.
func NewRecorder(sp *spool.Spool, s *scrub.Scrubber) *Recorder {
	return &Recorder{spool: sp, scrub: s, conns: map[uint64]*conn{}}
}

// The kinds of the spool's records.
const (
	kindConn     = "conn"
	kindClose    = "close"
	kindExchange = "http"
	kindPart     = "http.part"
	kindData     = "tcp"
	kindDNS      = "dns"
)

// maxWhole is the size of a body up to which it is scrubbed as a whole.
const maxWhole = 8 << 20

// Err is what ended the recording early, or nil.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *Recorder) append(kind string, numbers []uint64, parts ...scrub.Clean) {
	if r.Err() != nil {
		return
	}
	if _, err := r.spool.Append(kind, scrub.Join(numbers, parts...)); err != nil {
		r.mu.Lock()
		r.err = err
		r.mu.Unlock()
	}
}

func (r *Recorder) text(s string) scrub.Clean { return r.scrub.Text([]byte(s)) }

// when is a moment as numbers.
func when(m moment) []uint64 { return []uint64{m.tick, uint64(m.time.Wall), uint64(m.time.Mono)} }

// Put takes a chunk.
func (r *Recorder) Put(k wire.Chunk) {
	at := moment{k.Tick, k.Time}
	if k.Op == wire.Open {
		c := newConn(k.Conn, at)
		r.conns[k.ID] = c
		if c.info.Refused != "" || c.proto != "" {
			r.writeConn(c)
		}
		if c.info.Refused != "" {
			delete(r.conns, k.ID)
		}
		return
	}
	c := r.conns[k.ID]
	if c == nil {
		return
	}
	h := &c.sides[k.Dir]
	switch k.Op {
	case wire.Data:
		if c.info.Datagram {
			r.datagram(c, k.Dir, k.Data, at)
			return
		}
		h.add(k.Data, at)
		if c.proto == "dns" {
			r.lengths(c, k.Dir)
			return
		}
	case wire.Fin:
		h.fin = true
	case wire.Reset:
		h.reset = true
	}
	r.decode(c)
	if k.Op != wire.Data && !c.closed {
		c.closed = true
		r.writeConn(c)
		r.append(kindClose, append(when(at), k.ID, uint64(k.Dir), bit(k.Op == wire.Reset)))
	}
	if a, b := &c.sides[0], &c.sides[1]; (a.fin || a.reset) && (b.fin || b.reset) || a.reset || b.reset {
		r.finish(c, "closed")
		delete(r.conns, k.ID)
	}
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// writeConn writes the record of the connection's opening, once.
func (r *Recorder) writeConn(c *conn) {
	if c.written {
		return
	}
	c.written = true
	i, peer := c.info, cleanPeer(r.scrub, c.info)
	a := peer.Addr().As16()
	numbers := append(when(c.opened), i.ID, uint64(i.Port), bit(i.Incoming), bit(i.TLS), uint64(i.Thread), uint64(peer.Port()), bit(peer.Addr().Is4()))
	for _, b := range a {
		numbers = append(numbers, uint64(b))
	}
	proto := c.proto
	if proto == "" {
		proto = "tcp"
	}
	r.append(kindConn, numbers, r.text(proto), r.text(i.Name), r.text(i.ALPN), r.text(i.Refused))
}

// datagram takes a DNS message. A question waits for its answer.
func (r *Recorder) datagram(c *conn, dir wire.Dir, b []byte, at moment) {
	number := string(b[:min(2, len(b))])
	if dir == wire.Out {
		if len(c.questions) < maxQuestions {
			c.questions[number] = &datagram{b, at}
		}
		return
	}
	q := c.questions[number]
	if q == nil {
		return
	}
	delete(c.questions, number)
	r.append(kindDNS, append(append(when(q.at), when(at)...), c.info.ID, 1), r.scrub.Text(q.data), r.scrub.Text(b))
}

// maxQuestions are those of one connection that may wait.
const maxQuestions = 10_000

// lengths takes DNS messages off a connection, in which each comes behind its length.
func (r *Recorder) lengths(c *conn, dir wire.Dir) {
	for h := &c.sides[dir]; len(h.buf) >= 2; {
		n := 2 + int(h.buf[0])<<8 + int(h.buf[1])
		if len(h.buf) < n {
			return
		}
		at := h.at(h.start + int64(n) - 1)
		r.datagram(c, dir, h.take(n)[2:], at)
	}
}

// decode goes as far as the bytes that are there allow.
func (r *Recorder) decode(c *conn) {
	if c.proto == "" {
		c.detect()
		if c.proto == "" && (c.sides[0].fin || c.sides[0].reset || c.sides[1].fin || c.sides[1].reset) {
			c.proto = "tcp"
		}
		if c.proto == "" {
			return
		}
		r.writeConn(c)
	}
	for c.proto == "http/1.1" {
		if !r.messages(c) {
			break
		}
	}
	if c.proto == "h2" {
		r.allFrames(c)
	}
	if c.proto == "tcp" {
		r.data(c)
	}
}

// messages takes one message, if it is complete; it tells whether to go on.
func (r *Recorder) messages(c *conn) bool {
	ask, answer := &c.sides[c.request], &c.sides[1-c.request]
	m, err := c.parsers[c.request].next(ask, nil)
	if err == nil && m != nil {
		c.waiting = append(c.waiting, &exchange{request: m})
		return true
	}
	if err != nil {
		r.opaque(c)
		return true
	}
	r.stream(c, c.parsers[c.request].msg)
	first := c.first()
	if first == nil && len(answer.buf) > 0 && c.parsers[c.request].msg == nil {
		r.opaque(c) // an answer to nothing
		return true
	}
	m, err = c.parsers[1-c.request].next(answer, func() string {
		if first != nil {
			return first.method()
		}
		return "" // the answer to a request that is still being sent
	})
	if err != nil {
		r.opaque(c)
		return true
	}
	r.stream(c, c.parsers[1-c.request].msg)
	if m == nil {
		return false
	}
	if first == nil { // answered before it was sent to its end
		early := c.parsers[c.request].msg
		if early == nil {
			return false
		}
		early.truncated = "unspecified"
		first = &exchange{request: early}
		c.waiting = append(c.waiting, first)
		c.parsers[c.request].msg = &message{head: nil, mode: early.mode, left: early.left, state: early.state, truncated: "rest"}
	}
	first.response = m
	if m.truncated != "" {
		first.end = "closed"
		if answer.reset {
			first.end = "reset"
		}
	}
	c.waiting = c.waiting[1:]
	r.exchange(c, first)
	if s := m.status(); s == 101 || s < 300 && first.method() == "CONNECT" {
		c.proto = "tcp"
		if IsWebSocket(m.head) {
			c.ws = &[2]WebSocket{}
		}
	}
	return true
}

func (c *conn) first() *exchange {
	for len(c.waiting) > 0 && c.waiting[0].request.truncated == "rest" { // its beginning was answered already
		c.waiting = c.waiting[1:]
	}
	if len(c.waiting) == 0 {
		return nil
	}
	return c.waiting[0]
}

func (x *exchange) method() string {
	line, _, _ := strings.Cut(string(x.request.head[:min(len(x.request.head), 64)]), " ")
	return line
}

// opaque gives up decoding: what is left goes as it is.
func (r *Recorder) opaque(c *conn) {
	r.unanswered(c, "closed")
	for i, p := range c.parsers {
		if p != nil && p.msg != nil { // its bytes come before those in the buffer
			h := &c.sides[i]
			whole := append(append(p.msg.head, p.msg.body...), h.buf...)
			h.start -= int64(len(whole) - len(h.buf))
			h.buf = whole
			h.marks = append([]mark{{h.start, p.msg.begin}}, h.marks...)
		}
	}
	c.proto = "tcp"
}

// data spools what nobody decodes, as it came.
func (r *Recorder) data(c *conn) {
	if c.ws != nil && r.webSocket(c) {
		return
	}
	for {
		// In the order of the ticks, over both sides.
		dir := wire.Out
		a, b := &c.sides[wire.Out], &c.sides[wire.In]
		if len(a.buf) == 0 || len(b.buf) > 0 && b.at(b.start).tick < a.at(a.start).tick {
			dir = wire.In
		}
		h := &c.sides[dir]
		if len(h.buf) == 0 {
			return
		}
		at, n := h.at(h.start), len(h.buf)
		if len(h.marks) > 1 && h.marks[1].off-h.start < int64(n) && h.marks[1].off > h.start {
			n = int(h.marks[1].off - h.start)
		}
		r.append(kindData, append(when(at), c.info.ID, uint64(dir), 0), r.scrub.Text(h.take(n)))
	}
}

// stream hands on the body of a long message before it ends.
func (r *Recorder) stream(c *conn, m *message) {
	if m != nil && m.mode == byChunks && m.state == chunkData && !m.rechunk && len(m.body) > maxWhole {
		// The scrub may change the length of what it scrubs, and so the chunks.
		m.body, _ = io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(m.body))) // up to where it ends, within a chunk
		m.rechunk = true
	}
	for m != nil && (m.mode != byChunks || m.rechunk) && len(m.body) > 1<<20 && (m.part > 0 || len(m.body) > maxWhole || m.rechunk) {
		n := cut(m.body[:1<<20])
		r.part(m, m.body[:n])
		m.body = m.body[n:]
	}
}

// cut is where a part may end: not within a word, if possible.
func cut(b []byte) int {
	for i := len(b) - 1; i > len(b)-(64<<10); i-- {
		if c := b[i]; c == '\n' || c == ' ' || c == ',' || c == '&' || c == '>' {
			return i + 1
		}
	}
	return len(b)
}

func (r *Recorder) part(m *message, b []byte) {
	if m.part == 0 {
		r.serial++
		m.part = int(r.serial)
	}
	m.streamed += int64(len(b))
	r.append(kindPart, []uint64{uint64(m.part), bit(m.rechunk)}, r.scrub.Text(b))
}

// finish ends what is left of a connection.
func (r *Recorder) finish(c *conn, end string) {
	for c.proto == "http/1.1" && r.messages(c) {
	}
	if c.proto == "h2" {
		r.endFrames(c, end)
		return // a part of a frame is nothing
	}
	if c.sides[1-c.request].reset {
		end = "reset"
	}
	r.unanswered(c, end)
	if c.proto != "dns" {
		r.data(c)
	}
}

// unanswered writes requests to which no whole answer came.
func (r *Recorder) unanswered(c *conn, end string) {
	if c.parsers[c.request] == nil {
		return
	}
	if m := c.parsers[c.request].msg; m != nil && m.head != nil {
		m.truncated = "disconnect"
		c.waiting = append(c.waiting, &exchange{request: m})
		c.parsers[c.request].msg = nil
	}
	for _, x := range c.waiting {
		x.end = end
		if m := c.parsers[1-c.request].msg; m != nil {
			m.truncated = "disconnect"
			x.response = m
			c.parsers[1-c.request].msg = nil
		}
		r.exchange(c, x)
	}
	c.waiting = nil
}

// Close ends what is open as cut off.
func (r *Recorder) Close() error {
	for id, c := range r.conns {
		r.writeConn(c)
		r.finish(c, "cut")
		delete(r.conns, id)
	}
	return r.Err()
}

// exchange spools a request and its answer.
func (r *Recorder) exchange(c *conn, x *exchange) {
	numbers := []uint64{c.info.ID, uint64(endCode(x.end)), bit(x.response != nil)}
	var parts []scrub.Clean
	authority, trace, span := "", "", ""
	for name, value := range cassette.Fields(x.request.head) {
		switch strings.ToLower(name) {
		case "host":
			authority = value
		case "traceparent":
			if f := strings.Split(value, "-"); len(f) == 4 && len(f[1]) == 32 && len(f[2]) == 16 {
				trace, span = f[1], f[2]
			}
		}
	}
	if _, target, ok := strings.Cut(string(x.request.head[:min(len(x.request.head), 4096)]), " "); ok {
		if u, err := url.Parse(strings.SplitN(target, " ", 2)[0]); err == nil && u.Host != "" {
			authority = u.Host
		}
	}
	if authority == "" {
		authority = c.info.Peer.String()
	}
	messages := []*message{x.request}
	if x.response != nil {
		messages = append(messages, x.response)
	}
	for _, m := range messages {
		clean, rewritten := r.message(m)
		numbers = append(numbers, when(m.begin)...)
		numbers = append(numbers, when(m.end)...)
		numbers = append(numbers, uint64(m.part), bit(rewritten), uint64(truncCode(m.truncated)), uint64(len(m.early)), bit(m.fields != ""))
		if rewritten {
			m.pieces = nil // their places are others now
		}
		numbers = append(numbers, uint64(len(m.pieces)))
		for _, p := range m.pieces {
			numbers = append(numbers, uint64(p.off), uint64(p.len))
			numbers = append(numbers, when(p.at)...)
		}
		parts = append(parts, clean)
		for _, e := range m.early {
			head, _ := r.scrub.HTTPMessage(e) // it has no body
			parts = append(parts, head)
		}
		if m.fields != "" {
			tail, _ := r.scrub.HTTPMessage([]byte("trailer\r\n" + m.fields + "\r\n"))
			parts = append(parts, tail)
		}
	}
	parts = append(parts, r.text(authority), r.scrub.Hex(trace), r.scrub.Hex(span))
	r.append(kindExchange, numbers, parts...)
}

// message scrubs a message, or the beginning of one whose body is in parts. A
// body that can't be read is taken out.
func (r *Recorder) message(m *message) (c scrub.Clean, rewritten bool) {
	if m.part > 0 {
		if len(m.body) > 0 {
			r.part(m, m.body)
		}
		if m.rechunk && m.truncated == "" {
			r.append(kindPart, []uint64{uint64(m.part), 0}, r.text("0\r\n"+string(m.trailer)))
		}
		m.body = nil
		c, _ = r.scrub.HTTPMessage(m.head)
		return c, true
	}
	whole := append(m.head[:len(m.head):len(m.head)], m.body...)
	c, err := r.scrub.HTTPMessage(whole)
	if err != nil {
		m.truncated = "unspecified"
		c, _ = r.scrub.HTTPMessage(m.head)
		return c, true
	}
	return c, string(c.Bytes()) != string(whole)
}

var ends = []string{"", "reset", "closed", "cut"}
var truncations = []string{"", "disconnect", "length", "time", "unspecified"}

func endCode(s string) int   { return index(ends, s) }
func truncCode(s string) int { return index(truncations, s) }

func index(all []string, s string) int {
	for i, t := range all {
		if t == s {
			return i
		}
	}
	return 0
}

var errSpool = errors.New("the spool holds a record that no recorder writes")
