package http

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/spool"
	"github.com/tapedeck-dev/tapedeck/internal/wire"
)

// said is what one side of a connection said at one time.
type said struct {
	dir  wire.Dir
	text string
}

func scrubber(t testing.TB) *scrub.Scrubber {
	t.Helper()
	rules, err := scrub.Builtin("secrets", "pci", "gdpr_default")
	if err != nil {
		t.Fatal(err)
	}
	salt, err := scrub.NewSalt("test", []byte("a salt for the tests of decoding"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := scrub.New(rules, salt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// kept collects what Assemble makes.
type kept struct {
	conns     []*cassette.Conn
	exchanges []*cassette.Exchange
	streams   []*cassette.Stream
	queries   []*cassette.Query
	events    []cassette.Event
}

func (k *kept) Conn(c *cassette.Conn) error { k.conns = append(k.conns, c); return nil }
func (k *kept) Exchange(x *cassette.Exchange) error {
	k.exchanges = append(k.exchanges, x)
	for _, m := range []*cassette.Message{x.Request, x.Response} { // large ones are in files that go with Assemble
		if m == nil {
			continue
		}
		r, err := m.Body.Open()
		if err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return err
		}
		m.Body = cassette.Bytes(b)
	}
	return nil
}
func (k *kept) Stream(s *cassette.Stream) error { k.streams = append(k.streams, s); return nil }
func (k *kept) Query(q *cassette.Query) error   { k.queries = append(k.queries, q); return nil }
func (k *kept) Event(e cassette.Event) error    { k.events = append(k.events, e); return nil }

// record has a recorder decode a conversation, and returns the cassette and all
// bytes that reached the disk.
func record(t testing.TB, c wire.Conn, talk []said, end wire.Op) (*kept, []byte) {
	t.Helper()
	dir := t.TempDir()
	sp, err := spool.Open(dir, spool.Options{MaxBytes: 1 << 40, SegmentBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	r := NewRecorder(sp, scrubber(t))
	tick := uint64(0)
	put := func(k wire.Chunk) {
		tick++
		k.Tick, k.ID, k.Time = tick, 1, cassette.Time{Wall: int64(tick), Mono: int64(tick)}
		r.Put(k)
	}
	c.ID = 1
	if !c.Peer.IsValid() {
		c.Peer = netip.MustParseAddrPort("203.0.113.10:80")
	}
	put(wire.Chunk{Op: wire.Open, Conn: &c})
	for _, s := range talk {
		put(wire.Chunk{Op: wire.Data, Dir: s.dir, Data: []byte(s.text)})
	}
	if end != wire.Data {
		put(wire.Chunk{Op: end, Dir: wire.In})
		put(wire.Chunk{Op: end, Dir: wire.Out})
	}
	if err := errors.Join(r.Close(), sp.Close()); err != nil {
		t.Fatal(err)
	}
	var disk []byte
	for rec, err := range spool.Read(dir) {
		if err != nil {
			t.Fatal(err)
		}
		disk = append(disk, rec.Data...)
	}
	k := &kept{}
	if _, err := Assemble(dir, t.TempDir(), k); err != nil {
		t.Fatal(err)
	}
	for i, e := range k.events {
		if e.Seq != uint64(i+1) || e.ID == "" {
			t.Errorf("event %d: %+v", i+1, e)
		}
	}
	return k, disk
}

func text(t testing.TB, m *cassette.Message) string {
	t.Helper()
	if m == nil {
		return ""
	}
	r, err := m.Body.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(m.Head) + string(b)
}

const (
	get      = "GET /a?x=1 HTTP/1.1\r\nHost: api\r\nX-B: 2\r\nx-a:  1\r\n\r\n"
	post     = "POST /b HTTP/1.1\r\nHost: api\r\nContent-Length: 5\r\n\r\nhello"
	chunked  = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n"
	early    = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	empty204 = "HTTP/1.1 204 No Content\r\n\r\n"
	tillEnd  = "HTTP/1.1 200 OK\r\n\r\nuntil the end"
	head     = "HEAD /h HTTP/1.1\r\nHost: api\r\n\r\n"
	headsays = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
)

// TestSplit gives the same cassette however the bytes are cut into pieces.
func TestSplit(t *testing.T) {
	requests, answers := get+post+head+get, chunked+early+empty204+headsays+tillEnd
	for round := range 200 {
		r := rand.New(rand.NewPCG(uint64(round), 0))
		var talk []said
		cut := func(dir wire.Dir, s string) {
			for len(s) > 0 {
				n := 1 + r.IntN(min(len(s), 1+r.IntN(120)))
				talk = append(talk, said{dir, s[:n]})
				s = s[n:]
			}
		}
		cut(wire.Out, requests)
		cut(wire.In, answers)
		k, _ := record(t, wire.Conn{}, talk, wire.Fin)
		var got []string
		for _, x := range k.exchanges {
			got = append(got, text(t, x.Request), text(t, x.Response))
			if x.End != "" || x.Authority != "api" || x.Conn != 1 {
				t.Fatalf("round %d: %+v", round, x)
			}
		}
		want := []string{get, chunked, post, empty204, head, headsays, get, tillEnd}
		if !slices.Equal(got, want) || len(k.exchanges[1].Response.Early) != 1 || len(k.streams) != 0 {
			t.Fatalf("round %d: %q", round, got)
		}
	}
}

func TestEnds(t *testing.T) {
	for name, c := range map[string]struct {
		talk      []said
		op        wire.Op
		end       string
		truncated string
		answer    bool
	}{
		"no answer":        {[]said{{wire.Out, get}}, wire.Fin, "closed", "", false},
		"reset":            {[]said{{wire.Out, get}}, wire.Reset, "reset", "", false},
		"reset in a body":  {[]said{{wire.Out, get}, {wire.In, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"}}, wire.Reset, "reset", "disconnect", true},
		"recorder stopped": {[]said{{wire.Out, get}, {wire.In, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"}}, wire.Data, "cut", "disconnect", true},
	} {
		k, _ := record(t, wire.Conn{}, c.talk, c.op)
		if len(k.exchanges) != 1 {
			t.Errorf("%s: %d exchanges, %d streams", name, len(k.exchanges), len(k.streams))
			continue
		}
		x := k.exchanges[0]
		if x.End != c.end || (x.Response != nil) != c.answer || c.answer && x.Response.Truncated != c.truncated {
			t.Errorf("%s: %+v %+v", name, x, x.Response)
		}
	}
}

// TestOpaque loses nothing of what is no HTTP.
func TestOpaque(t *testing.T) {
	for name, talk := range map[string][]said{
		"server first":     {{wire.In, "HELLO\n"}, {wire.Out, "GET / HTTP/1.1\r\n\r\n"}, {wire.In, "BYE\n"}},
		"binary":           {{wire.Out, "\x00\x01\x02"}, {wire.In, "\xff\xfe"}},
		"a bad length":     {{wire.Out, "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\nx"}, {wire.In, "what\n"}},
		"no answer at all": {{wire.Out, get}, {wire.In, "220 this is SMTP\r\n"}},
	} {
		k, _ := record(t, wire.Conn{}, talk, wire.Fin)
		var want [2]string
		for _, s := range talk {
			want[s.dir] += s.text
		}
		got := [2]string{}
		for _, x := range k.exchanges {
			got[0] += text(t, x.Request)
		}
		for _, s := range k.streams {
			got[0] += string(s.Out.(cassette.Bytes))
			got[1] += string(s.In.(cassette.Bytes))
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestUpgrade(t *testing.T) {
	k, _ := record(t, wire.Conn{}, []said{{wire.Out, "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"}, {wire.In, "HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi"}, {wire.Out, "\x81\x02yo"}}, wire.Fin)
	if len(k.exchanges) != 1 || len(k.streams) != 1 || k.exchanges[0].Upgrade != 1 || k.streams[0].Exchange != 1 || string(k.streams[0].In.(cassette.Bytes)) != "\x81\x02hi" {
		t.Errorf("%+v %+v", k.exchanges, k.streams)
	}
}

func TestTraceAndOrder(t *testing.T) {
	k, _ := record(t, wire.Conn{TLS: true, Thread: 7}, []said{{wire.Out, "GET / HTTP/1.1\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n"}, {wire.In, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"}, {wire.In, "ab"}, {wire.In, "cd"}}, wire.Fin)
	x := k.exchanges[0]
	if x.TraceID != "0af7651916cd43dd8448eb211c80319c" || x.SpanID != "b7ad6b7169203331" || x.Scheme != "https" {
		t.Errorf("%+v", x)
	}
	var kinds []string
	for _, e := range k.events {
		kinds = append(kinds, fmt.Sprint(e.Kind, " ", e.Off, "+", e.Len))
	}
	want := []string{"conn.open 0+0", "http.request 0+0", "http.request.end 0+0", "http.response 0+0", "http.response.data 0+2", "http.response.data 2+2", "http.response.end 0+0", "conn.close 0+0"}
	if !reflect.DeepEqual(kinds, want) {
		t.Errorf("%q", kinds)
	}
}

// TestNothingPrivate looks for planted values in all that reached the disk.
func TestNothingPrivate(t *testing.T) {
	secrets := []string{"ada@example.com", "4111111111111111", "hunter2hunter2", "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "192.0.2.77"}
	body := `{"email":"ada@example.com","card":"4111111111111111","password":"hunter2hunter2"}`
	talk := []said{{wire.Out, fmt.Sprintf("POST /u?email=ada@example.com HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer sk_live_4eC39HqLyjWDarjtT1zdp7dc\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)},
		{wire.In, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n7\r\nada@exa\r\n8\r\nmple.com\r\n0\r\n\r\n"}}
	_, disk := record(t, wire.Conn{Incoming: true, Port: 80, Peer: netip.MustParseAddrPort("192.0.2.77:999")}, swap(talk), wire.Fin)
	_, more := record(t, wire.Conn{}, []said{{wire.In, "HELLO ada@example.com\n"}, {wire.Out, "password=hunter2hunter2 4111111111111111\n"}}, wire.Fin)
	disk = append(disk, more...)
	for _, s := range secrets {
		if bytes.Contains(disk, []byte(s)) {
			t.Errorf("%s is on the disk", s)
		}
	}
	if !bytes.Contains(disk, []byte("tok_email_")) {
		t.Error("there are no tokens either")
	}
}

func swap(talk []said) []said {
	for i := range talk {
		talk[i].dir = 1 - talk[i].dir
	}
	return talk
}

// TestLargeBody is one that does not fit in memory as a whole.
func TestLargeBody(t *testing.T) {
	part := strings.Repeat("line of a large body\n", 1000)
	n := 1000
	talk := []said{{wire.Out, get}, {wire.In, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", n*len(part))}}
	for range n {
		talk = append(talk, said{wire.In, part})
	}
	k, _ := record(t, wire.Conn{}, talk, wire.Fin)
	m := k.exchanges[0].Response
	if m.Body.Size() != int64(n*len(part)) || m.Truncated != "" {
		t.Errorf("%d bytes of %d, %q", m.Body.Size(), n*len(part), m.Truncated)
	}
}

// TestLargeChunked is one in chunks, with a trailer.
func TestLargeChunked(t *testing.T) {
	part := strings.Repeat("line of a large body\n", 2000)
	n := 600
	talk := []said{{wire.Out, get}, {wire.In, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"}}
	for range n {
		talk = append(talk, said{wire.In, fmt.Sprintf("%x\r\n%s", len(part), part[:100])}, said{wire.In, part[100:] + "\r\n"})
	}
	talk = append(talk, said{wire.In, "0\r\nX-Sum: 1\r\n\r\n"})
	k, _ := record(t, wire.Conn{}, talk, wire.Fin)
	m := k.exchanges[0].Response
	r, err := m.Decoded()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil || string(b) != strings.Repeat(part, n) || m.Truncated != "" {
		t.Errorf("%d bytes of %d, %q, %v", len(b), n*len(part), m.Truncated, err)
	}
	if !strings.HasSuffix(text(t, m), "0\r\nX-Sum: 1\r\n\r\n") {
		t.Error("no trailer")
	}
}

func TestReader(t *testing.T) {
	r := NewReader(strings.NewReader(get+"POST /c HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok"), true)
	for _, want := range []string{get, "POST /c HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok"} {
		m, err := r.Next()
		if err != nil || text(t, m) != want {
			t.Fatalf("%v, %v", m, err)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Error(err)
	}
	if _, err := NewReader(strings.NewReader("GET / HTT"), true).Next(); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
}

// FuzzRecorder never panics, and never loses a connection.
func FuzzRecorder(f *testing.F) {
	f.Add([]byte(get+post), []byte(chunked+empty204), uint8(7))
	f.Add([]byte(post), []byte{}, uint8(60)) // the other side says nothing, several times
	f.Add([]byte("\x00"), []byte("HTTP/1.1 200 OK\r\n\r\n"), uint8(1))
	f.Add([]byte(get), []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"), uint8(3))
	var sides [2]string
	for _, s := range talk2() {
		sides[s.dir] += s.text
	}
	f.Add([]byte(sides[wire.Out]), []byte(sides[wire.In]), uint8(49))
	f.Add([]byte("GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\x81\x02yo"), []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x02hi"), uint8(49))
	f.Fuzz(func(t *testing.T, out, in []byte, step uint8) {
		var talk []said
		n := int(step)%50 + 1
		for len(out) > 0 || len(in) > 0 {
			k := min(n, len(out))
			talk = append(talk, said{wire.Out, string(out[:k])})
			out = out[k:]
			k = min(n, len(in))
			talk = append(talk, said{wire.In, string(in[:k])})
			in = in[k:]
		}
		k, _ := record(t, wire.Conn{}, talk, wire.Fin)
		if len(k.conns) != 1 {
			t.Errorf("%d connections", len(k.conns))
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	sp, err := spool.Open(b.TempDir(), spool.Options{MaxBytes: 1 << 40, SegmentBytes: 256 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer sp.Close()
	r := NewRecorder(sp, scrubber(b))
	r.Put(wire.Chunk{ID: 1, Op: wire.Open, Conn: &wire.Conn{ID: 1, Peer: netip.MustParseAddrPort("203.0.113.10:80")}})
	body := `{"items":[` + strings.Repeat(`{"id":12,"name":"thing","price":9.5},`, 26) + `{"id":1}]}`
	q := []byte("GET /items?page=3 HTTP/1.1\r\nHost: api.example.test\r\nUser-Agent: bench/1.0\r\nAccept: application/json\r\n\r\n")
	a := []byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Wed, 25 Nov 2026 05:27:52 GMT\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	tick := uint64(0)
	for b.Loop() {
		tick += 2
		r.Put(wire.Chunk{Tick: tick, ID: 1, Op: wire.Data, Dir: wire.Out, Data: q})
		r.Put(wire.Chunk{Tick: tick + 1, ID: 1, Op: wire.Data, Dir: wire.In, Data: a})
	}
	if r.Err() != nil {
		b.Fatal(r.Err())
	}
}
