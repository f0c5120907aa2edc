// Package httptape records what a program asks over HTTP, and answers it from the
// recording.
package httptape

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"syscall"

	"github.com/tapedeck-dev/tapedeck"
	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/match"
	"github.com/tapedeck-dev/tapedeck/internal/session"
	"github.com/tapedeck-dev/tapedeck/internal/wire"
)

// Transport returns a transport by which a session records, or from which it
// replays. base makes the real requests; nil is [http.DefaultTransport]. While
// the session is off, it is base itself.
//
// The fields of a header stand in the recording in the order in which net/http
// writes them. Nothing is asked of the network while replaying: a request that
// was not recorded is a [*NotRecordedError].
func Transport(s *tapedeck.Session, base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	e := s.Engine()
	switch {
	case e == nil:
		return base
	case e.Replaying():
		return player{e}
	}
	return recorder{e, base}
}

// NotRecordedError is a request that is not in the recording.
type NotRecordedError struct{ miss *match.Miss }

func (e *NotRecordedError) Error() string { return "httptape: " + e.miss.String() }

// head is a request as it stands on the wire, but for its body.
func head(r *http.Request, chunked bool) []byte {
	var b bytes.Buffer
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, r.URL.RequestURI(), host)
	if chunked {
		b.WriteString("Transfer-Encoding: chunked\r\n")
	} else if r.ContentLength > 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", r.ContentLength)
	}
	fields(&b, r.Header)
	b.WriteString("\r\n")
	return b.Bytes()
}

func fields(b *bytes.Buffer, h http.Header) {
	_ = h.WriteSubset(b, map[string]bool{"Content-Length": true, "Transfer-Encoding": true, "Host": true}) // into memory
}

type recorder struct {
	e    *session.Engine
	base http.RoundTripper
}

func (t recorder) RoundTrip(r *http.Request) (*http.Response, error) {
	// The address is not known here: a port of none stands for it.
	c := wire.Conn{Peer: netip.AddrPortFrom(netip.IPv4Unspecified(), port(r)), TLS: r.URL.Scheme == "https", Name: r.URL.Hostname()}
	id := t.e.Open(c)
	chunked := r.Body != nil && r.Body != http.NoBody && r.ContentLength <= 0
	out := &side{e: t.e, id: id, dir: wire.Out, chunked: chunked}
	out.raw(head(r, chunked))
	asked := r
	if r.Body != nil && r.Body != http.NoBody {
		asked = r.Clone(r.Context())
		asked.Body = &body{ReadCloser: r.Body, side: out, trailer: func() http.Header { return r.Trailer }}
	} else {
		out.ended = true
	}
	a, err := t.base.RoundTrip(asked)
	if err != nil {
		t.e.Put(wire.Chunk{ID: id, Op: wire.Reset, Dir: wire.In})
		return nil, err
	}
	in := &side{e: t.e, id: id, dir: wire.In, close: true}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %s\r\n", a.Status)
	in.chunked = a.ContentLength < 0
	if in.chunked {
		b.WriteString("Transfer-Encoding: chunked\r\n")
	} else if r.Method != http.MethodHead && a.StatusCode != http.StatusNoContent && a.StatusCode != http.StatusNotModified {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", a.ContentLength)
	}
	fields(&b, a.Header)
	in.raw(append(b.Bytes(), "\r\n"...))
	a.Body = &body{ReadCloser: a.Body, side: in, trailer: func() http.Header { return a.Trailer }}
	return a, nil
}

func port(r *http.Request) uint16 {
	if n, err := strconv.ParseUint(r.URL.Port(), 10, 16); err == nil {
		return uint16(n)
	}
	if r.URL.Scheme == "https" {
		return 443
	}
	return 80
}

// side is what one side of a recorded connection sends.
type side struct {
	e       *session.Engine
	id      uint64
	dir     wire.Dir
	chunked bool
	close   bool // its end is the connection's
	ended   bool
}

func (s *side) raw(b []byte) {
	if len(b) > 0 {
		s.e.Put(wire.Chunk{ID: s.id, Op: wire.Data, Dir: s.dir, Data: b})
	}
}

func (s *side) data(b []byte) {
	if s.chunked && len(b) > 0 {
		s.raw(fmt.Appendf(nil, "%x\r\n%s\r\n", len(b), b))
		return
	}
	s.raw(slices.Clone(b))
}

func (s *side) end(trailer http.Header, err error) {
	if s.ended {
		return
	}
	s.ended = true
	if err == nil && s.chunked {
		var b bytes.Buffer
		b.WriteString("0\r\n")
		fields(&b, trailer)
		s.raw(append(b.Bytes(), "\r\n"...))
	}
	if !s.close {
		return
	}
	op := wire.Fin
	if err != nil {
		op = wire.Reset
	}
	s.e.Put(wire.Chunk{ID: s.id, Op: op, Dir: s.dir})
	if op == wire.Fin {
		s.e.Put(wire.Chunk{ID: s.id, Op: op, Dir: 1 - s.dir})
	}
}

// body tells of what is read of it.
type body struct {
	io.ReadCloser
	side    *side
	trailer func() http.Header
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.side.data(p[:n])
	if err == io.EOF {
		b.side.end(b.trailer(), nil)
	} else if err != nil {
		b.side.end(nil, err)
	}
	return n, err
}

func (b *body) Close() error {
	b.side.end(nil, errNotRead)
	return b.ReadCloser.Close()
}

var errNotRead = errors.New("the body was closed before its end")

type player struct{ e *session.Engine }

func (t player) RoundTrip(r *http.Request) (*http.Response, error) {
	m := &cassette.Message{Head: head(r, false), Body: cassette.Bytes(nil)}
	if r.Body != nil {
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		m.Body = cassette.Bytes(b)
	}
	authority := r.Host
	if authority == "" {
		authority = r.URL.Host
	}
	x, miss, err := t.e.Take("", r.URL.Scheme, authority, m)
	if err != nil {
		return nil, err
	}
	if miss != nil {
		return nil, &NotRecordedError{miss}
	}
	if err := t.e.Release(r.Context(), x); err != nil && r.Context().Err() != nil {
		return nil, err
	}
	if x.Response == nil {
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	return answer(r, x)
}

func answer(r *http.Request, x *cassette.Exchange) (*http.Response, error) {
	wired, err := x.Response.Body.Open()
	if err != nil {
		return nil, err
	}
	first := x.Response.Head
	if rest, ok := bytes.CutPrefix(first, []byte("HTTP/2 ")); ok {
		first = append([]byte("HTTP/1.1 "), rest...)
	}
	// Go's own reader takes off the chunks, and finds the trailers behind them.
	a, err := http.ReadResponse(bufio.NewReader(io.MultiReader(bytes.NewReader(first), wired)), r)
	if err != nil {
		wired.Close()
		return nil, err
	}
	a.Body = struct {
		io.Reader
		io.Closer
	}{a.Body, wired}
	return a, nil
}
