package http

import (
	"bytes"
	"net/netip"
	"strings"

	"golang.org/x/net/http2"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/wire"
)

// moment is when something happened.
type moment struct {
	tick uint64
	time cassette.Time
}

// half is what came from one side of a connection and is not yet decoded.
type half struct {
	buf   []byte
	start int64  // of buf, in the bytes of this side
	marks []mark // when they came
	fin   bool
	reset bool
}

type mark struct {
	off int64 // of the first byte that came then
	at  moment
}

func (h *half) add(b []byte, at moment) {
	if len(b) == 0 {
		return // two marks at one place would be one too many
	}
	h.marks = append(h.marks, mark{h.start + int64(len(h.buf)), at})
	h.buf = append(h.buf, b...)
}

// at is when the byte at off came.
func (h *half) at(off int64) moment {
	var m moment
	for _, k := range h.marks {
		if k.off > off {
			break
		}
		m = k.at
	}
	return m
}

// take removes n bytes.
func (h *half) take(n int) []byte {
	b := h.buf[:n:n]
	h.buf = h.buf[n:]
	h.start += int64(n)
	keep := 0
	for keep+1 < len(h.marks) && h.marks[keep+1].off <= h.start {
		keep++
	}
	h.marks = h.marks[keep:]
	return b
}

// conn decodes one connection.
type conn struct {
	info      *wire.Conn
	opened    moment
	proto     string // "" until it is known
	written   bool   // the record of its opening
	sides     [2]half
	request   wire.Dir   // the side that asks
	parsers   [2]*parser // by side, while it is HTTP
	waiting   []*exchange
	frames    *frames       // while it is HTTP/2
	ws        *[2]WebSocket // by side, while it is one
	closed    bool
	questions map[string]*datagram // by the number that the program gave them
}

// datagram is a DNS question that waits for its answer.
type datagram struct {
	data []byte
	at   moment
}

// exchange is a request, and its answer when it comes.
type exchange struct {
	request  *message
	response *message
	end      string
}

func newConn(c *wire.Conn, at moment) *conn {
	n := &conn{info: c, opened: at}
	if c.Incoming {
		n.request = wire.In
	}
	if c.Datagram || !c.Incoming && (c.Peer.Port() == 53 && !c.TLS || c.Peer.Port() == 853 && c.TLS) {
		n.proto, n.questions = "dns", map[string]*datagram{}
	}
	if c.ALPN == "h2" {
		n.proto, n.frames = "h2", newFrames(n.request)
	}
	return n
}

// detect looks whether the connection speaks HTTP/1, as soon as that shows.
func (c *conn) detect() {
	q := c.sides[c.request].buf
	switch {
	case bytes.HasPrefix(q, []byte(http2.ClientPreface)):
		c.proto, c.frames = "h2", newFrames(c.request)
	case strings.HasPrefix(http2.ClientPreface, string(q)) && len(q) > 0, len(q) == 0 && settings(c.sides[1-c.request].buf):
	case len(c.sides[1-c.request].buf) > 0 && len(q) == 0:
		c.proto = "tcp" // the one that is asked spoke first
	case looksHTTP(q):
		c.proto = "http/1.1"
		c.parsers[c.request], c.parsers[1-c.request] = &parser{request: true}, &parser{}
	case len(q) > maxLine || bytes.IndexByte(q, '\n') >= 0 || !couldBeHTTP(q):
		c.proto = "tcp"
	}
}

// settings tells whether a side begins as one of HTTP/2 that did not wait for
// the other.
func settings(b []byte) bool {
	return len(b) >= frameHead && b[0] == 0 && b[1] == 0 && b[2]%6 == 0 && b[3] == byte(http2.FrameSettings) && bytes.Equal(b[4:frameHead], make([]byte, 5))
}

// couldBeHTTP tells whether more bytes might make it a request.
func couldBeHTTP(b []byte) bool {
	for i, c := range b {
		if c == ' ' && i > 0 {
			return true
		}
		if c < 'A' || c > 'Z' || i == 16 { // no method is as long
			return false
		}
	}
	return true
}

func looksHTTP(b []byte) bool {
	method, rest, ok := bytes.Cut(b, []byte(" "))
	if !ok || len(method) == 0 || len(method) > 16 || !couldBeHTTP(method) {
		return false
	}
	line, _, whole := bytes.Cut(rest, []byte("\n"))
	return whole && bytes.Contains(line, []byte(" HTTP/1.")) && !bytes.HasPrefix(b, []byte("PRI * HTTP/2"))
}

// cleanPeer is an address that may stand in a bundle. That of a client is about
// a person: one that the rules would take out is replaced by another one, the
// same each time.
func cleanPeer(s *scrub.Scrubber, c *wire.Conn) netip.AddrPort {
	if !c.Incoming {
		return c.Peer
	}
	text := c.Peer.Addr().String()
	clean := s.Text([]byte(text)).Bytes()
	if string(clean) == text {
		return c.Peer
	}
	var sum [2]byte // of the token, which is as good as random
	for i, b := range clean {
		sum[i%2] = sum[i%2]*31 + b
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, sum[0], sum[1]}), c.Peer.Port()) // RFC 2544: nobody's
}
