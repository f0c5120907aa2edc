package cassette

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/warc"
)

// The files of a cassette, in its folder.
const (
	httpFile   = "http_vcr/http.warc.gz"
	dnsFile    = "dns.warc.gz"
	streamFile = "streams.warc.gz"
	orderFile  = "order.ndjson"
	timeFile   = "time.ndjson"
	randomFile = "random.json"
)

// File is a file of a cassette.
type File struct {
	Path  string // within the folder
	Media string
}

// Writer writes a cassette's files. Its methods are for one goroutine.
type Writer struct {
	dir   string
	began Time
	conns map[int]*Conn
	files map[string]*output
	list  []File
}

type output struct {
	f    *os.File
	b    *bufio.Writer
	warc *warc.Writer // nil if it is no WARC file
}

// Create begins a cassette in dir, which is made if need be. seed may be nil.
func Create(dir string, began Time, seed []byte) (*Writer, error) {
	w := &Writer{dir: dir, began: began, conns: map[int]*Conn{}, files: map[string]*output{}}
	if err := w.line(timeFile, timeLine{Seq: 0, Wall: stamp(began.Wall), Mono: stamp(began.Mono)}); err != nil {
		return nil, err
	}
	if seed != nil {
		if err := w.line(randomFile, map[string]string{"seed": hex.EncodeToString(seed)}); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// timeLine has the monotonic clock as if it had begun in 1970: a plain count of
// nanoseconds passes for a card's number now and then, and a later scrub changes it.
type timeLine struct {
	Seq    uint64 `json:"seq"`
	Wall   string `json:"wall"`
	Mono   string `json:"mono"`
	MonoNS *int64 `json:"mono_ns,omitempty"` // in its place, in older cassettes
}

func stamp(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }

func (w *Writer) open(name string) (*output, error) {
	if o := w.files[name]; o != nil {
		return o, nil
	}
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	media := "application/x-ndjson"
	switch {
	case strings.HasSuffix(name, ".warc.gz"):
		media = "application/warc+gzip"
	case strings.HasSuffix(name, ".json"):
		media = "application/json"
	}
	w.list = append(w.list, File{name, media})
	o := &output{f: f, b: bufio.NewWriterSize(f, 64<<10)}
	if media == "application/warc+gzip" {
		o.warc = warc.NewWriter(o.b)
	}
	w.files[name] = o
	return o, nil
}

func (w *Writer) line(name string, v any) error {
	o, err := w.open(name)
	if err != nil {
		return err
	}
	return json.NewEncoder(o.b).Encode(v)
}

// Conn tells of a connection, before the event of its opening.
func (w *Writer) Conn(c *Conn) error { w.conns[c.ID] = c; return nil }

// orderLine is a line of order.ndjson.
type orderLine struct {
	Event
	Peer    string `json:"peer,omitempty"` // of conn.open: the connection's own
	Port    uint16 `json:"port,omitempty"`
	Proto   string `json:"proto,omitempty"`
	Name    string `json:"name,omitempty"`
	TLS     bool   `json:"tls,omitempty"`
	ALPN    string `json:"alpn,omitempty"`
	Refused string `json:"refused,omitempty"`
}

// Event adds the next event.
func (w *Writer) Event(e Event) error {
	l := orderLine{Event: e}
	if c := w.conns[e.Conn]; c != nil && e.Kind == ConnOpen {
		l.Peer, l.Port, l.Proto, l.Name, l.TLS, l.ALPN, l.Refused = hexAddr(c.Peer), c.Port, c.Proto, c.Name, c.TLS, c.ALPN, c.Refused
	}
	if err := w.line(orderFile, l); err != nil {
		return err
	}
	return w.line(timeFile, timeLine{Seq: e.Seq, Wall: stamp(e.Time.Wall), Mono: stamp(e.Time.Mono)})
}

// hexAddr writes an address in hexadecimal: cb00710a:443. Rules that take
// addresses for private would replace another spelling when the bundle is
// scrubbed once more, and nobody could be dialled. It is no secret: the DNS
// answers have it, too.
func hexAddr(a netip.AddrPort) string {
	return hex.EncodeToString(a.Addr().AsSlice()) + ":" + strconv.Itoa(int(a.Port()))
}

// record writes a WARC record: a head, and a body that may be large.
func (w *Writer) record(file string, h warc.Header, head []byte, body Body) error {
	o, err := w.open(file)
	if err != nil {
		return err
	}
	r := io.Reader(bytes.NewReader(head))
	size := int64(len(head))
	if body != nil {
		b, err := body.Open()
		if err != nil {
			return err
		}
		defer b.Close()
		r, size = io.MultiReader(r, b), size+body.Size()
	}
	return o.warc.Write(h, r, size)
}

const ownField = "WARC-X-Tapedeck-"

func (w *Writer) header(kind, id, part, uri, media string) warc.Header {
	return warc.Header{{Name: "WARC-Type", Value: kind}, {Name: "WARC-Record-ID", Value: warc.ID(fmt.Sprint(w.began.Wall, id, part))},
		{Name: "WARC-Date", Value: stamp(w.began.Wall)}, {Name: "WARC-Target-URI", Value: uri}, {Name: "Content-Type", Value: media}, {Name: ownField + "Id", Value: id}}
}

// Exchange adds an exchange.
func (w *Writer) Exchange(x *Exchange) error {
	id := "http:" + strconv.Itoa(x.ID)
	uri := x.URL()
	h := w.header("request", id, "request", uri, "application/http;msgtype=request")
	own := func(name, value string) {
		if value != "" {
			h = append(h, warc.Field{Name: ownField + name, Value: value})
		}
	}
	own("Conn", strconv.Itoa(x.Conn))
	own("Scheme", x.Scheme)
	own("Authority", x.Authority)
	own("End", x.End)
	own("Trace", x.TraceID)
	own("Span", x.SpanID)
	if x.Upgrade != 0 {
		own("Upgrade", strconv.Itoa(x.Upgrade))
	}
	if x.Stub {
		own("Stub", "true")
	}
	h = message(h, x.Request)
	if err := w.record(httpFile, h, x.Request.Head, x.Request.Body); err != nil || x.Response == nil {
		return err
	}
	h = w.header("response", id, "response", uri, "application/http;msgtype=response")
	h = append(h, warc.Field{Name: "WARC-Concurrent-To", Value: warc.ID(fmt.Sprint(w.began.Wall, id, "request"))})
	h = message(h, x.Response)
	return w.record(httpFile, h, x.Response.Head, x.Response.Body)
}

func message(h warc.Header, m *Message) warc.Header {
	if m.Truncated != "" {
		h = append(h, warc.Field{Name: "WARC-Truncated", Value: m.Truncated})
	}
	if d := m.Body.Digest(); d != "" {
		h = append(h, warc.Field{Name: "WARC-Payload-Digest", Value: d})
	}
	if m.Rewritten {
		h = append(h, warc.Field{Name: ownField + "Rewritten", Value: "true"})
	}
	if m.Trailer != nil {
		h = append(h, warc.Field{Name: ownField + "Trailer", Value: base64.StdEncoding.EncodeToString(m.Trailer)})
	}
	for _, e := range m.Early {
		h = append(h, warc.Field{Name: ownField + "Early", Value: base64.StdEncoding.EncodeToString(e)})
	}
	return h
}

// Query adds a DNS query.
func (w *Writer) Query(q *Query) error {
	id := "dns:" + strconv.Itoa(q.ID)
	uri := "dns:" + strings.TrimSuffix(q.Name, ".") + "?type=" + q.Type
	for _, part := range []struct {
		name string
		b    []byte
	}{{"question", q.Question}, {"answer", q.Answer}} {
		if part.b == nil {
			continue
		}
		h := append(w.header("resource", id, part.name, uri, "application/dns-message"), warc.Field{Name: ownField + "Part", Value: part.name},
			warc.Field{Name: ownField + "Server", Value: q.Server.String()}, warc.Field{Name: ownField + "Conn", Value: strconv.Itoa(q.Conn)})
		if err := w.record(dnsFile, h, part.b, nil); err != nil {
			return err
		}
	}
	return nil
}

// Stream adds a stream.
func (w *Writer) Stream(s *Stream) error {
	id := "tcp:" + strconv.Itoa(s.ID)
	uri := "tcp:unknown"
	if c := w.conns[s.Conn]; c != nil {
		uri = "tcp://" + c.Peer.String()
	}
	for _, part := range []struct {
		name string
		b    Body
	}{{"out", s.Out}, {"in", s.In}} {
		h := append(w.header("resource", id, part.name, uri, "application/octet-stream"), warc.Field{Name: ownField + "Part", Value: part.name},
			warc.Field{Name: ownField + "Conn", Value: strconv.Itoa(s.Conn)}, warc.Field{Name: ownField + "End", Value: s.End},
			warc.Field{Name: ownField + "Exchange", Value: strconv.Itoa(s.Exchange)})
		if err := w.record(streamFile, h, nil, part.b); err != nil {
			return err
		}
	}
	return nil
}

// Files are those that were written.
func (w *Writer) Files() []File { return w.list }

// Close ends the files.
func (w *Writer) Close() error {
	var err error
	for _, o := range w.files {
		err = errors.Join(err, o.b.Flush(), o.f.Close())
	}
	return err
}
