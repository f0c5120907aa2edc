package exporter

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/har"
)

// HAR writes an archive, entry by entry.
func HAR(w io.Writer, s Source) (*Report, error) {
	e := &harWriter{lost: losses{}, c: s.Cassette, at: timeline(s.Cassette)}
	b := bufio.NewWriterSize(w, 64<<10)
	creator, err := json.Marshal(har.Creator{Name: "tapedeck", Version: s.Version})
	if err != nil {
		return nil, err
	}
	b.WriteString(`{"log":{"version":"1.2","creator":` + string(creator) + `,"entries":[`)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	for i, x := range s.Cassette.Exchanges {
		entry, err := e.entry(x)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString("\n")
		if err := enc.Encode(entry); err != nil {
			return nil, err
		}
	}
	b.WriteString("]}}\n")
	e.lost.add("heads as they were on the wire, byte by byte", e.heads)
	e.lost.add("DNS queries", len(s.Cassette.Queries))
	e.lost.common(s.Cassette)
	return &Report{len(s.Cassette.Exchanges), e.lost}, b.Flush()
}

type harWriter struct {
	c     *cassette.Cassette
	at    map[string]*moments
	lost  losses
	heads int
}

func (w *harWriter) entry(x *cassette.Exchange) (*har.Entry, error) {
	at := of(w.at, "http:"+strconv.Itoa(x.ID), w.c)
	e := &har.Entry{Started: at.asked.Format("2006-01-02T15:04:05.000000Z07:00"), Error: x.End}
	if x.Conn > 0 {
		conn := w.c.Conns[x.Conn-1]
		e.Connection = strconv.Itoa(x.Conn)
		if conn.Incoming {
			e.Direction = "in"
		} else if a := conn.Peer.Addr(); a.IsValid() && !a.IsUnspecified() {
			e.ServerIP = a.String()
		}
	}
	if at.ended.IsZero() {
		w.lost.add("times of exchanges, which the recording does not have", 1)
	}
	timings(e, at)
	if err := w.request(&e.Request, x); err != nil {
		return nil, err
	}
	e.Response = har.Response{Cookies: []har.Pair{}, Headers: []har.Pair{}, HeadersSize: -1, BodySize: -1, Content: har.Content{Mime: "x-unknown"}}
	if x.Response == nil {
		return e, nil
	}
	return e, w.response(&e.Response, x, at)
}

// timings are of what the events tell. How long the name and the connection took
// is not among it.
func timings(e *har.Entry, at *moments) {
	between := func(a, b time.Time) float64 {
		if a.IsZero() || b.Before(a) {
			return 0
		}
		return float64(b.Sub(a).Microseconds()) / 1000
	}
	sent := at.sent
	if sent.IsZero() {
		sent = at.asked
	}
	e.Timings = har.Timings{Blocked: -1, DNS: -1, Connect: -1, SSL: -1, Send: between(at.asked, sent), Wait: between(sent, at.answered), Receive: between(at.answered, at.ended)}
	e.Time = e.Timings.Send + e.Timings.Wait + e.Timings.Receive
}

func (w *harWriter) request(q *har.Request, x *cassette.Exchange) error {
	m := x.Request
	w.heads++
	*q = har.Request{Method: m.Method(), URL: x.URL(), Version: "HTTP/1.1", Cookies: []har.Pair{}, Headers: pairs(m), Query: []har.Pair{}, HeadersSize: int64(len(m.Head)), BodySize: m.Body.Size()}
	if _, version, ok := strings.Cut(m.StartLine(), " HTTP/"); ok {
		q.Version = "HTTP/" + version
	}
	head := http.Header{"Cookie": {m.Get("Cookie")}}
	for _, c := range (&http.Request{Header: head}).Cookies() {
		q.Cookies = append(q.Cookies, har.Pair{Name: c.Name, Value: c.Value})
	}
	_, query, _ := strings.Cut(m.Target(), "?")
	for p := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(p, "=")
		if p != "" {
			q.Query = append(q.Query, har.Pair{Name: unescape(name), Value: unescape(value)})
		}
	}
	wire, ok, err := read(m)
	if err != nil {
		return err
	}
	if !ok {
		w.lost.add("bodies that are too large for an archive", 1)
		return nil
	}
	if m.Truncated != "" {
		w.lost.add("that a body was cut, and why", 1)
	}
	b := body{plain: wire}
	if chunked(m) { // a content coding stays: the field that names it does, too
		b = dechunk(wire)
	}
	q.Trailers = append(b.trailers, trailers(m)...)
	q.BodySize = int64(len(b.plain))
	if len(b.plain) == 0 {
		return nil
	}
	q.PostData = &har.PostData{Mime: m.Get("Content-Type"), Text: string(b.plain)}
	if !utf8.Valid(b.plain) {
		q.PostData.Text, q.PostData.Encoding = base64.StdEncoding.EncodeToString(b.plain), "base64"
	}
	return nil
}

func (w *harWriter) response(a *har.Response, x *cassette.Exchange, at *moments) error {
	m := x.Response
	w.heads++
	a.Status, a.Version, a.Headers, a.HeadersSize, a.BodySize = m.Status(), "HTTP/1.1", pairs(m), int64(len(m.Head)), m.Body.Size()
	version, rest, _ := strings.Cut(m.StartLine(), " ")
	if strings.HasPrefix(version, "HTTP/") {
		a.Version = version
	}
	_, a.StatusText, _ = strings.Cut(rest, " ")
	a.RedirectURL = m.Get("Location")
	for name, value := range m.Fields() {
		if c, err := http.ParseSetCookie(value); err == nil && strings.EqualFold(name, "Set-Cookie") {
			a.Cookies = append(a.Cookies, har.Pair{Name: c.Name, Value: c.Value})
		}
	}
	if mime := m.Get("Content-Type"); mime != "" {
		a.Content.Mime = mime
	}
	if m.Truncated != "" {
		w.lost.add("that a body was cut, and why", 1)
	}
	wire, ok, err := read(m)
	if err != nil {
		return err
	}
	if !ok {
		a.Content.Size, a.Content.Comment = m.Body.Size(), "the body is too large for an archive"
		w.lost.add("bodies that are too large for an archive", 1)
		return nil
	}
	b := decode(m, wire)
	a.Trailers = append(b.trailers, trailers(m)...)
	a.Content.Size = int64(len(b.plain))
	if b.packed {
		saved := a.Content.Size - int64(len(wire))
		a.Content.Compression = &saved
		w.lost.add("bodies as they were compressed", 1)
	}
	if b.coded != "" {
		a.Content.Comment = "in the content coding that the header names"
		w.lost.add("bodies without their content coding, which is not known here", 1)
	}
	text := string(b.plain)
	if !utf8.Valid(b.plain) {
		text, a.Content.Encoding = base64.StdEncoding.EncodeToString(b.plain), "base64"
	}
	a.Content.Text = &text
	w.chunks(a, &b, at)
	return nil
}

// chunks tells when the parts of a body came, if it came in parts.
func (w *harWriter) chunks(a *har.Response, b *body, at *moments) {
	if len(at.parts) < 2 {
		return
	}
	if b.packed {
		w.lost.add("times of parts of compressed bodies", len(at.parts))
		return
	}
	next := int64(0)
	for _, e := range at.parts {
		off, n := b.within(e.Off, e.Len)
		if n == 0 {
			continue
		}
		ms := float64(time.Unix(0, e.Time.Wall).Sub(at.asked).Microseconds()) / 1000
		a.Chunks = append(a.Chunks, har.Chunk{At: max(ms, 0), Off: off, Len: n})
		next = off + n
	}
	if next != int64(len(b.plain)) || len(a.Chunks) < 2 {
		a.Chunks = nil // it does not add up: better none
	}
}

func pairs(m *cassette.Message) []har.Pair {
	all := []har.Pair{}
	for name, value := range m.Fields() {
		all = append(all, har.Pair{Name: name, Value: value})
	}
	return all
}

// trailers are those of HTTP/2, which are not within the body.
func trailers(m *cassette.Message) []har.Pair {
	return pairs(&cassette.Message{Head: append([]byte("\n"), m.Trailer...)})
}

func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}
