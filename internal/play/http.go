package play

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/match"
	"github.com/tapedeck-dev/tapedeck/internal/wire"
	"github.com/tapedeck-dev/tapedeck/internal/wire/http"
)

var background = context.Background()

// http answers the requests of one connection, one after the other.
func (p *Player) http(c net.Conn, scheme string, dst netip.AddrPort, session string) {
	defer p.index.Leave(session)
	r := http.NewReader(c, true)
	r.Continue = func() { _, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n") }
	w := bufio.NewWriterSize(c, 64<<10)
	for {
		m, err := r.Next()
		if err != nil {
			return
		}
		clean := p.scrubbed(m)
		authority := clean.Get("Host")
		if authority == "" {
			authority = dst.String()
		}
		req, err := match.Of(scheme, authority, clean)
		if err != nil {
			return
		}
		x, miss := p.take(session, req)
		if x == nil {
			if !refuseHTTP(w, miss) {
				return
			}
			continue
		}
		s := p.of(match.ID(x))
		p.gate.Happened(append([]uint64{p.opened[x.Conn]}, s.request()...)...)
		if key := m.Get("Sec-WebSocket-Key"); key != "" && x.Upgrade > 0 {
			x = acceptedBy(key, x)
		}
		if !p.answer(c, w, x, s) {
			return
		}
		if x.Upgrade > 0 && x.Upgrade <= len(p.opt.Cassette.Streams) {
			p.stream(&wire.Prefixed{Conn: c, Head: r.Rest()}, nil, p.opt.Cassette.Streams[x.Upgrade-1])
			return
		}
		if strings.EqualFold(m.Get("Connection"), "close") || x.Response == nil || strings.EqualFold(x.Response.Get("Connection"), "close") {
			return
		}
	}
}

// scrubbed is a live message as the recorder would have kept it.
func (p *Player) scrubbed(m *cassette.Message) *cassette.Message {
	if p.opt.Scrub == nil {
		return m
	}
	body, _ := m.Body.(cassette.Bytes)
	b := p.opt.Scrub(append(m.Head[:len(m.Head):len(m.Head)], body...))
	n := bytes.Index(b, []byte("\r\n\r\n"))
	if n < 0 {
		return m
	}
	return &cassette.Message{Head: b[:n+4], Body: cassette.Bytes(b[n+4:]), Truncated: m.Truncated}
}

// scrubbedBody is a live body of no stated type as the recorder would have kept it.
func (p *Player) scrubbedBody(b []byte) []byte {
	m := p.scrubbed(&cassette.Message{Head: []byte("body\r\n\r\n"), Body: cassette.Bytes(b)})
	return []byte(m.Body.(cassette.Bytes))
}

// answer writes a recorded answer as it came: byte for byte, piece by piece. It
// tells whether the connection goes on.
func (p *Player) answer(c net.Conn, w *bufio.Writer, x *cassette.Exchange, s *sequence) bool {
	what := p.whatif[x.ID]
	switch what.Kind {
	case "reset":
		_ = p.gate.Wait(background, s.answer)
		p.skipAnswer(s)
		wire.Abort(c)
		return false
	case "timeout": // nothing comes, ever; the program gives up
		_ = p.gate.Wait(background, s.answer)
		p.skipAnswer(s)
		_, _ = io.Copy(io.Discard, c)
		return false
	case "slow":
		time.Sleep(what.Delay)
	case "status":
		_ = p.gate.Wait(background, s.answer)
		fmt.Fprintf(w, "HTTP/1.1 %d What If\r\nContent-Length: 0\r\n\r\n", what.Status)
		err := w.Flush()
		p.skipAnswer(s)
		return err == nil
	}
	m := x.Response
	if m != nil && isHTTP2(m) { // its pieces are not those of a coding in chunks
		for _, e := range s.data {
			p.gate.Skip(e.Seq)
		}
		m, s = asHTTP1(m), &sequence{answer: s.answer, end: s.end}
	}
	if m == nil {
		p.skipAnswer(s)
		if x.End == "reset" {
			wire.Abort(c)
		}
		return false
	}
	_ = p.gate.Wait(background, s.answer)
	for _, e := range m.Early {
		_, _ = w.Write(e)
	}
	_, _ = w.Write(fitted(m))
	last := s.answer
	p.gate.Done(s.answer)
	body, err := m.Body.Open()
	if err != nil {
		return false
	}
	defer body.Close()
	for _, e := range s.data {
		if e.Seq != last+1 { // something else happened in between
			if err := w.Flush(); err != nil {
				p.skipAnswer(s)
				return false
			}
			_ = p.gate.Wait(background, e.Seq)
		}
		if _, err := io.CopyN(w, body, e.Len); err != nil {
			break
		}
		p.gate.Done(e.Seq)
		last = e.Seq
	}
	_, _ = io.Copy(w, body) // what no event tells of
	if s.end != last+1 {
		if err := w.Flush(); err != nil {
			p.skipAnswer(s)
			return false
		}
		_ = p.gate.Wait(background, s.end)
	}
	err = w.Flush()
	p.gate.Done(s.end)
	p.skipAnswer(s)
	switch {
	case x.End == "reset":
		wire.Abort(c)
		return false
	case m.Truncated != "", x.End == "closed":
		return false
	}
	return err == nil && closesItself(m)
}

// closesItself tells whether the answer's end shows without the connection's.
func closesItself(m *cassette.Message) bool {
	if m.Status() == 101 {
		return true
	}
	return m.Get("Content-Length") != "" || m.Get("Transfer-Encoding") != "" || m.Body.Size() == 0
}

func (p *Player) skipAnswer(s *sequence) {
	skip := []uint64{s.answer, s.end}
	for _, e := range s.data {
		skip = append(skip, e.Seq)
	}
	p.gate.Skip(skip...)
}

// fitted is the head of an answer. Where the scrub changed a body that came in
// parts, the length that the head tells is made anew.
func fitted(m *cassette.Message) []byte {
	if !m.Rewritten || m.Get("Content-Length") == "" || m.Body.Size() == 0 {
		return m.Head
	}
	if m.Get("Content-Length") == strconv.FormatInt(m.Body.Size(), 10) {
		return m.Head
	}
	var out []byte
	for line := range bytes.SplitSeq(bytes.TrimSuffix(m.Head, []byte("\r\n\r\n")), []byte("\r\n")) {
		if name, _, ok := bytes.Cut(line, []byte(":")); ok && strings.EqualFold(string(name), "content-length") {
			line = fmt.Appendf(nil, "%s: %d", name, m.Body.Size())
		}
		out = append(append(out, line...), "\r\n"...)
	}
	return append(out, "\r\n"...)
}

// refuseHTTP answers a request that was not recorded.
func refuseHTTP(w *bufio.Writer, miss *match.Miss) bool {
	text, err := json.Marshal(map[string]any{"tapedeck": "no recorded answer", "miss": miss})
	if err != nil {
		return false
	}
	fmt.Fprintf(w, "HTTP/1.1 599 Not Recorded\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	return w.Flush() == nil
}
