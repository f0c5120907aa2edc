package importer

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/exporter"
)

// recorded is a cassette with what formats stumble over: chunks with times,
// trailers, bytes that are no text, repeated fields, a reset, no answer.
func recorded() *cassette.Cassette {
	c := &cassette.Cassette{Began: cassette.Time{Wall: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano()}}
	peer := netip.MustParseAddrPort("203.0.113.10:443")
	c.Conns = []*cassette.Conn{{ID: 1, Peer: peer, Proto: "http/1.1", Name: "api.example.test", TLS: true, ALPN: "http/1.1"}, {ID: 2, Peer: peer, Proto: "http/1.1", Name: "api.example.test", TLS: true, ALPN: "http/1.1"}}
	at := c.Began.Wall
	event := func(kind, id, dir string, conn int, off, n int64) {
		at += 1_500_000
		c.Events = append(c.Events, cassette.Event{Seq: uint64(len(c.Events) + 1), Kind: kind, ID: id, Dir: dir, Conn: conn, Off: off, Len: n, Time: cassette.Time{Wall: at}})
	}
	opened := map[int]bool{}
	add := func(conn int, end, request, requestBody, response, responseBody string, parts ...int64) {
		x := &cassette.Exchange{ID: len(c.Exchanges) + 1, Conn: conn, Scheme: "https", Authority: "api.example.test", End: end,
			Request: &cassette.Message{Head: []byte(strings.ReplaceAll(request, "\n", "\r\n") + "\r\n\r\n"), Body: cassette.Bytes(requestBody)}}
		id := fmt.Sprint("http:", x.ID)
		if !opened[conn] {
			opened[conn] = true
			event(cassette.ConnOpen, fmt.Sprint("conn:", conn), "out", conn, 0, 0)
		}
		event(cassette.Request, id, "out", conn, 0, 0)
		event(cassette.ReqEnd, id, "out", conn, 0, 0)
		if response != "" {
			x.Response = &cassette.Message{Head: []byte(strings.ReplaceAll(response, "\n", "\r\n") + "\r\n\r\n"), Body: cassette.Bytes(responseBody)}
			event(cassette.Response, id, "in", conn, 0, 0)
			off := int64(0)
			for _, n := range append(parts, int64(len(responseBody))-sum(parts)) {
				if n > 0 {
					event(cassette.RespData, id, "in", conn, off, n)
					off += n
				}
			}
			event(cassette.RespEnd, id, "in", conn, 0, 0)
		}
		if end != "" && x.Response != nil {
			x.Response.Truncated = "disconnect"
		}
		c.Exchanges = append(c.Exchanges, x)
	}
	add(1, "", "GET /a?b=c%20d&b=e HTTP/1.1\nHost: api.example.test\nX-One: 1\nx-one: 2\nCookie: k=v; l=w", "",
		"HTTP/1.1 200 Fine\nSet-Cookie: a=1\nSet-Cookie: b=2\nContent-Type: text/event-stream\nTransfer-Encoding: chunked\nTrailer: X-Sum",
		"9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\nX-Sum: 7\r\n\r\n", 14, 14)
	add(2, "", "POST /b HTTP/1.1\nHost: api.example.test\nContent-Type: application/octet-stream\nContent-Length: 4", "\x00\xff\x01\xfe",
		"HTTP/1.1 201 Created\nContent-Type: image/png\nContent-Length: 5", "\x89PNG\x00")
	add(1, "", "GET /a?b=c%20d&b=e HTTP/1.1\nHost: api.example.test", "", "HTTP/1.1 204 No Content\nX-Some: thing", "")
	add(1, "reset", "GET /cut HTTP/1.1\nHost: api.example.test", "", "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 100", "only this")
	add(2, "closed", "DELETE /never HTTP/1.1\nHost: api.example.test", "", "", "")
	add(2, "", "HEAD /b HTTP/1.1\nHost: api.example.test", "", "HTTP/1.1 200 OK\nContent-Length: 5000", "")
	return c
}

func sum(all []int64) (n int64) {
	for _, v := range all {
		n += v
	}
	return n
}

func bytesOf(t *testing.T, m *cassette.Message) []byte {
	t.Helper()
	r, err := m.Body.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return append(bytes.Clone(m.Head), b...)
}

// TestRoundTrip exports a cassette and imports it again. Both formats bring back
// the same messages, byte by byte, since these have nothing that HAR loses.
func TestRoundTrip(t *testing.T) {
	want := recorded()
	for format, export := range map[string]func(io.Writer, exporter.Source) (*exporter.Report, error){"har": exporter.HAR, "warc": exporter.WARC} {
		t.Run(format, func(t *testing.T) {
			var b bytes.Buffer
			if _, err := export(&b, exporter.Source{Cassette: want, Bundle: "b", Version: "test"}); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "tape")
			if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			got, w := load(t, format, Options{}, file)
			exchanges := want.Exchanges
			if format == "warc" { // has no word for a request that got no answer
				exchanges = append(exchanges[:4:4], exchanges[5])
				if len(w.Skipped) != 1 || !strings.Contains(w.Skipped[0].Reason, "no answer") {
					t.Errorf("skipped %+v", w.Skipped)
				}
			}
			if len(got.Exchanges) != len(exchanges) {
				t.Fatalf("%d exchanges, want %d; skipped %+v", len(got.Exchanges), len(exchanges), w.Skipped)
			}
			for i, x := range exchanges {
				y := got.Exchanges[i]
				if a, b := bytesOf(t, x.Request), bytesOf(t, y.Request); !bytes.Equal(a, b) {
					t.Errorf("request\n%q\nwant\n%q", b, a)
				}
				if (x.Response == nil) != (y.Response == nil) {
					t.Errorf("http:%d: an answer, or none", i+1)
					continue
				}
				if x.Response == nil {
					continue
				}
				if a, b := bytesOf(t, x.Response), bytesOf(t, y.Response); !bytes.Equal(a, b) {
					t.Errorf("answer\n%q\nwant\n%q", b, a)
				}
				if y.Response.Truncated != x.Response.Truncated || y.Scheme != "https" || y.URL() != x.URL() {
					t.Errorf("%s %q, want %s %q", y.URL(), y.Response.Truncated, x.URL(), x.Response.Truncated)
				}
				if format == "har" && y.End != x.End {
					t.Errorf("ended %q, want %q", y.End, x.End)
				}
			}
			if got.Began.Wall != want.Events[1].Time.Wall || got.Conns[0].Peer != want.Conns[0].Peer {
				t.Errorf("began %d, want %d; peer %s", got.Began.Wall, want.Events[1].Time.Wall, got.Conns[0].Peer)
			}
			if format == "har" {
				sameTimes(t, want, got)
			}
			resolves(t, got)
		})
	}
}

// sameTimes compares the parts of the first answer: their times are exact to a
// microsecond.
func sameTimes(t *testing.T, want, got *cassette.Cassette) {
	t.Helper()
	parts := func(c *cassette.Cassette) (all []string) {
		for _, e := range c.Events {
			if e.ID == "http:1" && (e.Kind == cassette.RespData || e.Kind == cassette.Response) {
				all = append(all, fmt.Sprint(e.Kind, " ", e.Off, " ", e.Len, " ", e.Time.Wall/1000))
			}
		}
		return all
	}
	a, b := parts(want), parts(got)
	// The last chunk and the trailers are no body: an archive has them with the last part.
	if len(a) != 4 || len(b) != 3 || a[0] != b[0] || a[1] != b[1] {
		t.Errorf("parts %q, want %q", b, a)
	}
}

// TestNothingPrivateOnDisk plants private data wherever a tape can have it.
func TestNothingPrivateOnDisk(t *testing.T) {
	const secret, mail = "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "grace.hopper@example.com"
	tape := &Tape{Format: "har"}
	for i, place := range []func(*Exchange){
		func(x *Exchange) { x.Target = "/?key=" + secret },
		func(x *Exchange) {
			x.Request.Fields = append(x.Request.Fields, Field{"Authorization", "Bearer " + secret})
		},
		func(x *Exchange) { x.Request.Body = []byte(`{"email":"` + mail + `"}`) },
		func(x *Exchange) { x.Response.Body = []byte("to " + mail) },
		func(x *Exchange) {
			x.Response.Trailers, x.Response.Fields = []Field{{"X-Mail", mail}}, []Field{{"Transfer-Encoding", "chunked"}}
		},
		func(x *Exchange) {
			x.Response = &Message{Raw: []byte("HTTP/1.1 200 OK\r\nX-Mail: " + mail + "\r\n\r\n" + mail)}
		},
		func(x *Exchange) { x.Response.Reason = mail },
	} {
		x := &Exchange{Where: fmt.Sprint(i), Scheme: "https", Authority: "api.example.test", Method: "POST", Target: "/", Response: &Message{Status: 200}}
		place(x)
		tape.Exchanges = append(tape.Exchanges, x)
	}
	dir := filepath.Join(t.TempDir(), "inputs")
	if w, err := tape.Write(dir, clean(t), imported); err != nil || w.Exchanges != len(tape.Exchanges) {
		t.Fatalf("%+v %v", w, err)
	}
	c, err := cassette.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range c.Exchanges {
		for _, m := range []*cassette.Message{x.Request, x.Response} {
			if b := bytesOf(t, m); bytes.Contains(b, []byte(secret)) || bytes.Contains(b, []byte(mail)) {
				t.Errorf("%s: %q", x.URL(), b)
			}
		}
	}
	for _, name := range []string{"order.ndjson", "time.ndjson"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || bytes.Contains(b, []byte(secret)) || bytes.Contains(b, []byte(mail)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
