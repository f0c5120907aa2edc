package exporter

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httputil"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/har"
	"github.com/tapedeck-dev/tapedeck/internal/warc"
)

func zipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(text))
	z.Close()
	return b.String()
}

func head(lines ...string) []byte { return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n") }

// sample has one of everything that a recording may have.
func sample(t testing.TB) *cassette.Cassette {
	t.Helper()
	name := dnsmessage.MustNewName("api.example.test.")
	answer, err := (&dnsmessage.Message{Header: dnsmessage.Header{Response: true}, Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
		Answers: []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 60}, Body: &dnsmessage.AResource{A: [4]byte{203, 0, 113, 10}}}}}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano()
	c := &cassette.Cassette{Began: cassette.Time{Wall: began}, Seed: make([]byte, 32),
		Conns: []*cassette.Conn{
			{ID: 1, Peer: netip.MustParseAddrPort("203.0.113.10:443"), Proto: "http/1.1", Name: "api.example.test", TLS: true},
			{ID: 2, Peer: netip.MustParseAddrPort("192.0.2.50:5000"), Port: 8080, Proto: "http/1.1", Incoming: true},
			{ID: 3, Peer: netip.MustParseAddrPort("203.0.113.11:80"), Proto: "tcp", Refused: "refused"},
		},
		Streams: []*cassette.Stream{{ID: 1, Conn: 1, Exchange: 1, Out: cassette.Bytes("x"), In: cassette.Bytes("y")}},
		Queries: []*cassette.Query{
			{ID: 1, Server: netip.MustParseAddrPort("192.0.2.53:53"), Name: "api.example.test.", Type: "A", Question: []byte{1}, Answer: answer},
			{ID: 2, Server: netip.MustParseAddrPort("192.0.2.53:53"), Name: "none.example.test.", Type: "A", Question: []byte{1}},
		}}
	add := func(conn int, end string, request *cassette.Message, response *cassette.Message) {
		x := &cassette.Exchange{ID: len(c.Exchanges) + 1, Conn: conn, Scheme: "https", Authority: "api.example.test", End: end, Request: request, Response: response}
		id := fmt.Sprint("http:", x.ID)
		event := func(kind, dir string, ms, off, n int64) {
			c.Events = append(c.Events, cassette.Event{Seq: uint64(len(c.Events) + 1), Kind: kind, ID: id, Dir: dir, Conn: conn, Off: off, Len: n, Time: cassette.Time{Wall: began + ms*1e6}})
		}
		if len(c.Exchanges) != 3 { // of one, nobody knows when it was
			event(cassette.Request, "out", 1, 0, 0)
			event(cassette.ReqEnd, "out", 3, 0, 0)
			if response != nil {
				event(cassette.Response, "in", 10, 0, 0)
				n := response.Body.Size()
				event(cassette.RespData, "in", 11, 0, n/3)
				event(cassette.RespData, "in", 15, n/3, n-n/3)
				event(cassette.RespEnd, "in", 20, 0, 0)
			}
		}
		c.Exchanges = append(c.Exchanges, x)
	}
	add(1, "", &cassette.Message{Head: head("GET /a?b=%20c&d HTTP/1.1", "Host: api.example.test", "Cookie: k=v"), Body: cassette.Bytes(nil)},
		&cassette.Message{Early: [][]byte{[]byte("HTTP/1.1 103 Early Hints\r\n\r\n")}, Head: head("HTTP/1.1 200 OK", "Content-Type: text/plain", "Set-Cookie: s=1; Path=/", "Transfer-Encoding: chunked"), Body: cassette.Bytes("4\r\nfour\r\n4\r\nmore\r\n0\r\nX-Sum: 1\r\n\r\n")})
	add(1, "", &cassette.Message{Head: head("POST /b HTTP/1.1", "Host: api.example.test", "Content-Type: application/octet-stream", "Content-Length: 3"), Body: cassette.Bytes("\x00\xff\xfe")},
		&cassette.Message{Head: head("HTTP/1.1 200 OK", "Content-Type: application/json", "Content-Encoding: gzip"), Body: cassette.Bytes(zipped(`{"a":1}`))})
	add(2, "", &cassette.Message{Head: head("GET /health HTTP/1.1", "Host: localhost:8080"), Body: cassette.Bytes(nil)},
		&cassette.Message{Head: head("HTTP/1.1 302 Found", "Location: /other", "Content-Encoding: br"), Body: cassette.Bytes("\x8b\x00\xff")})
	add(1, "cut", &cassette.Message{Head: head("GET /never HTTP/1.1", "Host: api.example.test"), Body: cassette.Bytes(nil)}, nil)
	add(1, "reset", &cassette.Message{Head: head("GET /half HTTP/1.1", "Host: api.example.test"), Body: cassette.Bytes(nil)},
		&cassette.Message{Head: head("HTTP/1.1 200 OK", "Content-Length: 100"), Body: cassette.Bytes("only"), Truncated: "disconnect"})
	return c
}

// schema is that of HAR 1.2.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	files, err := filepath.Glob("testdata/har-schema/*.json")
	if err != nil || len(files) != 18 {
		t.Fatalf("%d files of the schema: %v", len(files), err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource("http://har.test/"+filepath.Base(file), doc); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile("http://har.test/har.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchema(t *testing.T) {
	s := schema(t)
	for name, c := range map[string]*cassette.Cassette{"sample": sample(t), "empty": {}} {
		var b bytes.Buffer
		if _, err := HAR(&b, Source{Cassette: c, Version: "test"}); err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(doc); err != nil {
			t.Errorf("%s: %v\n%s", name, err, b.String())
		}
	}
	if s.Validate(map[string]any{"log": map[string]any{"version": "1.2"}}) == nil {
		t.Error("the schema takes anything")
	}
}

func TestHAR(t *testing.T) {
	var b bytes.Buffer
	rep, err := HAR(&b, Source{Cassette: sample(t), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	a, err := har.Read(&b, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	e := a.Log.Entries
	first := e[0]
	if len(e) != 5 || first.Started != "2026-01-02T03:04:05.001000Z" || first.Connection != "1" || first.ServerIP != "203.0.113.10" ||
		first.Timings != (har.Timings{Blocked: -1, DNS: -1, Connect: -1, SSL: -1, Send: 2, Wait: 7, Receive: 10}) || first.Time != 19 {
		t.Errorf("%+v", first)
	}
	if q := first.Request.Query; len(q) != 2 || q[0] != (har.Pair{Name: "b", Value: " c"}) || first.Request.Cookies[0] != (har.Pair{Name: "k", Value: "v"}) || first.Response.Cookies[0] != (har.Pair{Name: "s", Value: "1"}) {
		t.Errorf("%+v", first.Request)
	}
	if r := first.Response; *r.Content.Text != "fourmore" || r.Content.Size != 8 || r.Trailers[0] != (har.Pair{Name: "X-Sum", Value: "1"}) ||
		len(r.Chunks) != 2 || r.Chunks[0].Off != 0 || r.Chunks[0].Len+r.Chunks[1].Len != 8 || r.Chunks[0].At != 10 || r.Chunks[1].At != 14 {
		t.Errorf("%+v", r)
	}
	if p := e[1].Request.PostData; p.Encoding != "base64" || p.Text != base64.StdEncoding.EncodeToString([]byte("\x00\xff\xfe")) {
		t.Errorf("%+v", p)
	}
	if c := e[1].Response.Content; *c.Text != `{"a":1}` || *c.Compression != 7-e[1].Response.BodySize || len(e[1].Response.Chunks) != 0 {
		t.Errorf("%+v", c)
	}
	if r := e[2]; r.Direction != "in" || r.ServerIP != "" || r.Response.RedirectURL != "/other" || r.Response.Content.Encoding != "base64" || r.Response.Content.Comment == "" {
		t.Errorf("%+v", r)
	}
	if e[3].Response.Status != 0 || e[3].Error != "cut" || e[4].Error != "reset" {
		t.Errorf("%+v %+v", e[3], e[4])
	}
	checkLosses(t, rep, map[string]int{"heads as": 9, "DNS queries": 2, "1xx": 1, "streams": 1, "refused": 1, "events": 24, "seed": 1, "compressed": 1, "times of parts": 2, "times of exchanges": 1, "content coding": 1, "was cut": 1})
}

func checkLosses(t *testing.T, rep *Report, want map[string]int) {
	t.Helper()
	if len(rep.Lost) != len(want) {
		t.Errorf("%d kinds of losses, want %d: %+v", len(rep.Lost), len(want), rep.Lost)
	}
	for text, n := range want {
		found := 0
		for _, l := range rep.Lost {
			if strings.Contains(l.What, text) && l.Count == n {
				found++
			}
		}
		if found == 0 {
			t.Errorf("%q is not lost %d times: %+v", text, n, rep.Lost)
		}
	}
}

// TestWARC reads the file with this module's reader; bench reads it with another.
func TestWARC(t *testing.T) {
	c := sample(t)
	var b bytes.Buffer
	rep, err := WARC(&b, Source{Cassette: c, Bundle: "id", Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ids, kinds := map[string]bool{}, ""
	var blocks []string
	for r := warc.NewReader(&b); ; {
		rec, err := r.Next(1 << 20)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds += rec.Header.Get("WARC-Type") + " "
		blocks = append(blocks, string(rec.Start))
		if id := rec.Header.Get("WARC-Record-ID"); ids[id] || id == "" {
			t.Errorf("id %q twice", id)
		} else {
			ids[id] = true
		}
		if d := rec.Header.Get("WARC-Block-Digest"); d != digest(rec.Start) && rec.Header.Get("WARC-Type") != "warcinfo" {
			t.Errorf("block digest %s", d)
		}
		if _, err := time.Parse(time.RFC3339, rec.Header.Get("WARC-Date")); err != nil {
			t.Error(err)
		}
		for _, f := range rec.Header {
			if strings.HasPrefix(f.Name, "WARC-X-") {
				t.Errorf("%s is a field of our own", f.Name)
			}
		}
	}
	if kinds != "warcinfo resource request response request response request request response " {
		t.Errorf("records %s", kinds)
	}
	if want := "20260102030405\r\napi.example.test.\t60\tIN\tA\t203.0.113.10\r\n"; blocks[1] != want {
		t.Errorf("%q, want %q", blocks[1], want)
	}
	if want := string(c.Exchanges[0].Response.Head) + string(c.Exchanges[0].Response.Body.(cassette.Bytes)); blocks[3] != want {
		t.Errorf("%q, want %q", blocks[3], want)
	}
	checkLosses(t, rep, map[string]int{"was asked": 1, "without an answer": 1, "1xx": 1, "streams": 1, "refused": 1, "events": 24, "seed": 1, "times of parts": 6})
	var again bytes.Buffer
	if _, err := WARC(&again, Source{Cassette: c, Bundle: "id", Version: "test"}); err != nil || !bytes.Equal(again.Bytes(), exportWARC(t, c)) {
		t.Errorf("the same recording gives other bytes: %v", err)
	}
}

func exportWARC(t *testing.T, c *cassette.Cassette) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := WARC(&b, Source{Cassette: c, Bundle: "id", Version: "test"}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// FuzzDechunk compares with the standard library, which fails where a body was cut.
func FuzzDechunk(f *testing.F) {
	f.Add([]byte("4\r\nfour\r\n0\r\nA: b\r\n\r\n"))
	f.Add([]byte("4;x=y\r\nfour\r\n4\r\nfo"))
	f.Add([]byte("ffffffffffffffff\r\n"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		b := dechunk(wire)
		n := int64(0)
		for _, s := range b.spans {
			if s.plain != n || s.n < 0 || s.wire+s.n > int64(len(wire)) || !bytes.Equal(wire[s.wire:s.wire+s.n], b.plain[s.plain:s.plain+s.n]) {
				t.Fatalf("span %+v", s)
			}
			n += s.n
		}
		if n != int64(len(b.plain)) {
			t.Fatalf("spans of %d bytes, a body of %d", n, len(b.plain))
		}
		if off, size := b.within(0, int64(len(wire))); size != n || off != 0 {
			t.Fatalf("within all is %d bytes at %d", size, off)
		}
		if want, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(wire))); err == nil && !bytes.Equal(want, b.plain) {
			t.Fatalf("%q, want %q", b.plain, want)
		}
		_, _ = json.Marshal(b.trailers)
	})
}
