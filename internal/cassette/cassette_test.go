package cassette

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// sample is a cassette with one of everything.
func sample() *Cassette {
	began := Time{1_700_000_000_000_000_001, 5_000_000_000}
	at := func(n int) Time { return Time{began.Wall + int64(n)*1000, began.Mono + int64(n)*1000} }
	big := Bytes(bytes.Repeat([]byte("large "), 100_000))
	c := &Cassette{
		Began: began, Seed: bytes.Repeat([]byte{7}, 32),
		Conns: []*Conn{
			{ID: 1, Peer: netip.MustParseAddrPort("203.0.113.10:443"), Proto: "http/1.1", Name: "api.example.test", TLS: true, ALPN: "http/1.1", Thread: 12},
			{ID: 2, Peer: netip.MustParseAddrPort("[2001:db8::1]:81"), Proto: "tcp", Refused: "refused"},
			{ID: 3, Peer: netip.MustParseAddrPort("192.0.2.50:5000"), Port: 8080, Proto: "http/1.1", Incoming: true},
			{ID: 4, Peer: netip.MustParseAddrPort("192.0.2.53:53"), Proto: "dns"},
		},
		Exchanges: []*Exchange{
			{ID: 1, Conn: 1, Scheme: "https", Authority: "api.example.test", TraceID: "0af7651916cd43dd8448eb211c80319c", SpanID: "b7ad6b7169203331", Upgrade: 1,
				Request:  &Message{Head: []byte("GET /a?b=c HTTP/1.1\r\nHost: api.example.test\r\nX-A: 1\r\nx-a: 2\r\n\r\n"), Body: Bytes(nil)},
				Response: &Message{Early: [][]byte{[]byte("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")}, Head: []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Body: Bytes("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"), Rewritten: true}},
			{ID: 2, Conn: 3, Scheme: "http", Authority: "localhost:8080", End: "reset",
				Request:  &Message{Head: []byte("POST /up HTTP/1.1\r\nHost: localhost:8080\r\nContent-Length: 600000\r\n\r\n"), Body: big},
				Response: &Message{Head: []byte("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), Body: Bytes("\x00\xff\r\n"), Truncated: "disconnect"}},
			{ID: 3, Conn: 1, Scheme: "https", Authority: "api.example.test", End: "closed", Stub: true, Request: &Message{Head: []byte("GET / HTTP/1.1\r\n\r\n"), Body: Bytes(nil)}},
		},
		Streams: []*Stream{{ID: 1, Conn: 1, Exchange: 1, Out: Bytes("ping"), In: Bytes("pong"), End: "fin"}},
		Queries: []*Query{{ID: 1, Conn: 4, Server: netip.MustParseAddrPort("192.0.2.53:53"), Name: "api.example.test.", Type: "A", Question: []byte{0, 1, 2}, Answer: []byte{0, 1, 3}}},
	}
	event := func(kind, id, dir string, conn int, off, n int64) {
		seq := len(c.Events) + 1
		c.Events = append(c.Events, Event{Seq: uint64(seq), Kind: kind, ID: id, Dir: dir, Conn: conn, Off: off, Len: n, Time: at(seq)})
	}
	event(ConnOpen, "conn:1", "out", 1, 0, 0)
	c.Events[0].Thread = 12
	event(ConnOpen, "conn:2", "out", 2, 0, 0)
	event(ConnOpen, "conn:3", "in", 3, 0, 0)
	event(ConnOpen, "conn:4", "out", 4, 0, 0)
	event(Request, "http:1", "out", 1, 0, 0)
	event(Response, "http:1", "in", 1, 0, 0)
	event(RespData, "http:1", "in", 1, 0, 10)
	event(Data, "tcp:1", "out", 1, 0, 4)
	event(Data, "tcp:1", "in", 1, 0, 4)
	event(Request, "http:2", "in", 3, 0, 0)
	event(Request, "http:3", "out", 1, 0, 0)
	pieces := func(id, dir string) (all []Piece) {
		for _, e := range c.Events {
			if e.ID == id && e.Dir == dir {
				all = append(all, Piece{e.Off, e.Len, e.Seq})
			}
		}
		return all
	}
	for _, x := range c.Exchanges {
		dir := "out"
		if x.Conn == 3 {
			dir = "in"
		}
		id := fmt.Sprint("http:", x.ID)
		x.Request.Pieces = pieces(id, dir)
		if x.Response != nil {
			x.Response.Pieces = pieces(id, map[string]string{"in": "out", "out": "in"}[dir])
		}
	}
	c.Streams[0].OutPieces, c.Streams[0].InPieces = pieces("tcp:1", "out"), pieces("tcp:1", "in")
	return c
}

func write(t testing.TB, dir string, c *Cassette) {
	t.Helper()
	w, err := Create(dir, c.Began, c.Seed)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range c.Conns {
		err = errors.Join(err, w.Conn(x))
	}
	for _, x := range c.Events {
		err = errors.Join(err, w.Event(x))
	}
	for _, x := range c.Exchanges {
		err = errors.Join(err, w.Exchange(x))
	}
	for _, x := range c.Streams {
		err = errors.Join(err, w.Stream(x))
	}
	for _, x := range c.Queries {
		err = errors.Join(err, w.Query(x))
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
}

// inMemory reads the bodies, so that cassettes can be compared.
func inMemory(t *testing.T, c *Cassette) {
	read := func(b *Body) {
		r, err := (*b).Open()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		all, err := io.ReadAll(r)
		if err != nil || int64(len(all)) != (*b).Size() {
			t.Fatalf("body of %d bytes, %d were told: %v", len(all), (*b).Size(), err)
		}
		if want := Bytes(all).Digest(); (*b).Digest() != want {
			t.Errorf("digest %s, of the bytes %s", (*b).Digest(), want)
		}
		if all = slices.Clip(all); len(all) == 0 {
			all = nil
		}
		*b = Bytes(all)
	}
	for _, x := range c.Exchanges {
		read(&x.Request.Body)
		if x.Response != nil {
			read(&x.Response.Body)
		}
	}
	for _, s := range c.Streams {
		s.Out, s.In = must(t, s.Out), must(t, s.In)
	}
}

func must(t *testing.T, b Body) Body {
	r, err := b.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return Bytes(all)
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	want := sample()
	write(t, dir, want)
	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	inMemory(t, got)
	inMemory(t, want)
	for name, pair := range map[string][2]any{"conns": {got.Conns, want.Conns}, "exchanges": {got.Exchanges, want.Exchanges}, "streams": {got.Streams, want.Streams},
		"queries": {got.Queries, want.Queries}, "events": {got.Events, want.Events}, "rest": {[]any{got.Began, got.Seed}, []any{want.Began, want.Seed}}} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s differ:\n%+v\n%+v", name, pair[0], pair[1])
		}
	}
	if x := got.Exchanges[0]; x.Request.Method() != "GET" || x.Response.Status() != 200 || x.URL() != "https://api.example.test/a?b=c" || x.Request.Get("X-a") != "1" {
		t.Errorf("%s %s %d", x.Request.Method(), x.URL(), x.Response.Status())
	}
}

// TestOracle has gzip and a few lines of Python read what we wrote.
func TestOracle(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, sample())
	out, err := exec.Command("python3", "-c", `
import gzip, sys
data = gzip.open(sys.argv[1]).read()
while data:
    head, _, data = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"WARC/1.1", lines[0]
    fields = dict(l.split(b": ", 1) for l in lines[1:] if b": " in l)
    n = int(fields[b"Content-Length"])
    block, end, data = data[:n], data[n:n+4], data[n+4:]
    assert end == b"\r\n\r\n", end
    print(fields[b"WARC-Type"].decode(), fields[b"WARC-Target-URI"].decode(), n)
`, filepath.Join(dir, httpFile)).CombinedOutput()
	if err != nil || strings.Count(string(out), "\n") != 5 || !strings.Contains(string(out), "request https://api.example.test/a?b=c") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestDamaged(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		orderFile:  func(b []byte) []byte { return bytes.Replace(b, []byte(`"seq":3`), []byte(`"seq":4`), 1) },
		timeFile:   func(b []byte) []byte { return b[:len(b)/2] },
		httpFile:   func(b []byte) []byte { b[len(b)/2] ^= 0xff; return b },
		dnsFile:    func(b []byte) []byte { return b[:len(b)-3] },
		streamFile: func(b []byte) []byte { return append(b, "tail"...) },
		randomFile: func(b []byte) []byte { return []byte(`{"seed":"xx"}`) },
	} {
		dir := t.TempDir()
		write(t, dir, sample())
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), damage(b), 0o600); err != nil {
			t.Fatal(err)
		}
		var d *DamagedError
		if _, err := Load(dir); !errors.As(err, &d) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	dir := f.TempDir()
	write(f, dir, sample())
	names := []string{orderFile, timeFile, httpFile, dnsFile, streamFile, randomFile}
	for i, name := range names {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		dir := t.TempDir()
		write(t, dir, sample())
		name := names[int(which)%len(names)]
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(dir)
		if err != nil {
			return
		}
		for _, x := range c.Exchanges {
			_, _, _, _ = x.URL(), x.Request.Get("host"), x.Request.Method(), x.End
			if r, err := x.Request.Decoded(); err == nil {
				_, _ = io.Copy(io.Discard, r)
				r.Close()
			}
		}
	})
}
