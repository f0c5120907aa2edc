package play

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/match"
	"github.com/tapedeck-dev/tapedeck/internal/order"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/spool"
	"github.com/tapedeck-dev/tapedeck/internal/tap"
	"github.com/tapedeck-dev/tapedeck/internal/trust"
	wirehttp "github.com/tapedeck-dev/tapedeck/internal/wire/http"
)

// network leads a client's connections to serve, whatever they are for.
type network struct {
	l     net.Listener
	serve func(net.Conn, netip.AddrPort)
	mu    sync.Mutex
	dsts  map[string]netip.AddrPort // by the client's own address
	wg    sync.WaitGroup
}

func newNetwork(t testing.TB, serve func(net.Conn, netip.AddrPort)) *network {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{l: l, serve: serve, dsts: map[string]netip.AddrPort{}}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.mu.Lock() // the dialler has it until it told where to
			dst := n.dsts[c.RemoteAddr().String()]
			n.mu.Unlock()
			n.wg.Add(1)
			go func() { defer n.wg.Done(); n.serve(c, dst) }()
		}
	}()
	return n
}

func (n *network) dial(ctx context.Context, dst string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c, err := net.Dial("tcp", n.l.Addr().String())
	if err == nil {
		n.dsts[c.LocalAddr().String()] = netip.MustParseAddrPort(dst)
	}
	return c, err
}

func (n *network) client(ca *trust.CA) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.PEM())
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return n.dial(ctx, addr) },
		TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "example.com"}}}
}

// recorded has use talk to real servers through a tap, and returns the cassette.
func recorded(t testing.TB, roots *x509.CertPool, use func(c *http.Client, n *network)) (*cassette.Cassette, *trust.CA) {
	t.Helper()
	ca, err := trust.New()
	if err != nil {
		t.Fatal(err)
	}
	rules, err := scrub.Builtin("secrets")
	if err != nil {
		t.Fatal(err)
	}
	salt, err := scrub.NewSalt("test", []byte("a salt for the tests of replaying"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := scrub.New(rules, salt)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sp, err := spool.Open(filepath.Join(dir, "spool"), spool.Options{MaxBytes: 1 << 40, SegmentBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	rec := wirehttp.NewRecorder(sp, s)
	q := tap.NewQueue(rec, 32<<20)
	tp := tap.New(tap.Options{Sink: q, CA: ca, Roots: roots, Now: func() cassette.Time { return cassette.Time{Wall: time.Now().UnixNano()} }})
	n := newNetwork(t, tp.Outgoing)
	client := n.client(ca)
	use(client, n)
	client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	tp.Close(ctx)
	q.Close()
	w, err := cassette.Create(filepath.Join(dir, "inputs"), cassette.Time{}, nil)
	err = errors.Join(err, rec.Close(), sp.Close())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wirehttp.Assemble(filepath.Join(dir, "spool"), dir, w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := cassette.Load(filepath.Join(dir, "inputs"))
	if err != nil {
		t.Fatal(err)
	}
	return c, ca
}

func player(t testing.TB, c *cassette.Cassette, ca *trust.CA, o Options) (*Player, *http.Client, *network) {
	t.Helper()
	o.Cassette, o.Certificate = c, ca.Certificate
	if o.Gate.Stall == 0 {
		o.Gate.Stall = 2 * time.Second
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	n := newNetwork(t, p.Serve)
	return p, n.client(ca), n
}

func body(r *http.Response, err error) string {
	if err != nil {
		return "error"
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return fmt.Sprint(r.StatusCode, r.Header["X-Many"], string(b), r.Trailer, err != nil)
}

func handler() http.Handler {
	m := http.NewServeMux()
	n := 0
	var mu sync.Mutex
	m.HandleFunc("/count", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		n++
		w.Header().Add("X-Many", "1")
		w.Header().Add("X-Many", "2")
		fmt.Fprint(w, n)
	})
	m.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	m.HandleFunc("/chunks", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		for i := range 5 {
			fmt.Fprintf(w, "piece %d\n", i)
			w.(http.Flusher).Flush()
		}
		w.Header().Set("X-Sum", "5")
	})
	m.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "only this")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	return m
}

// TestCircle records and replays, plain and over TLS: what the client sees is the
// same, and the server is asked nothing.
func TestCircle(t *testing.T) {
	for _, secure := range []bool{false, true} {
		server := httptest.NewUnstartedServer(handler())
		roots := x509.NewCertPool()
		if secure {
			server.StartTLS()
			roots.AddCert(server.Certificate())
		} else {
			server.Start()
		}
		use := func(c *http.Client) []string {
			var all []string
			for range 3 {
				all = append(all, body(c.Get(server.URL+"/count")))
			}
			all = append(all, body(c.Post(server.URL+"/echo", "application/json", strings.NewReader(`{"b":1,"a":2}`))), body(c.Get(server.URL+"/chunks")), body(c.Get(server.URL+"/cut")), body(c.Get(server.URL+"/none")))
			return all
		}
		var want []string
		c, ca := recorded(t, roots, func(client *http.Client, _ *network) { want = use(client) })
		server.Close()
		p, client, _ := player(t, c, ca, Options{})
		got := use(client)
		if strings.Join(got, "\n") != strings.Join(want, "\n") || !strings.Contains(want[0], "200 [1 2]1") {
			t.Errorf("TLS %v: recorded\n%s\nnow\n%s", secure, strings.Join(want, "\n"), strings.Join(got, "\n"))
		}
		if r := p.Report(); r.Diverged() || r.Matched != 7 {
			t.Errorf("TLS %v: %+v", secure, r)
		}
	}
}

func TestMisses(t *testing.T) {
	server := httptest.NewServer(handler())
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	c, ca := recorded(t, nil, func(client *http.Client, _ *network) {
		body(client.Get(server.URL + "/count"))
		body(client.Get("http://" + dead.Addr().String() + "/refused"))
	})
	server.Close()
	p, client, _ := player(t, c, ca, Options{})
	if got := body(client.Get("http://" + dead.Addr().String() + "/refused")); got != "error" {
		t.Errorf("what was refused answers %s", got)
	}
	if got := body(client.Get(server.URL + "/other")); !strings.HasPrefix(got, "599") || !strings.Contains(got, "nearest") {
		t.Error(got)
	}
	if got := body(client.Get("http://203.0.113.9:1/")); got != "error" {
		t.Error(got)
	}
	r := p.Report()
	if r.Missed != 2 || len(r.Unused) != 1 || !r.Diverged() || r.Misses[0].Cause != match.NewCall {
		t.Errorf("%+v", r)
	}
}

func TestWhatIf(t *testing.T) {
	server := httptest.NewServer(handler())
	defer server.Close()
	c, ca := recorded(t, nil, func(client *http.Client, _ *network) { body(client.Get(server.URL + "/count")) })
	for text, want := range map[string]string{"http:1 reset": "error", "http:1 status 503": "503", "http:1 slow 50ms": "200", "http:1 timeout": "error"} {
		w, err := ParseWhatIf(text)
		if err != nil || w.String() != text {
			t.Fatalf("%s: %v %v", text, w, err)
		}
		p, client, _ := player(t, c, ca, Options{WhatIf: []WhatIf{w}})
		client.Timeout = 500 * time.Millisecond
		client.Transport.(*http.Transport).DisableKeepAlives = true // a client asks again if a connection that it had is reset
		begin := time.Now()
		r, err := client.Post(server.URL+"/count", "", nil) // not repeated by the client itself, as a GET would be
		_ = p
		got := body(r, err)
		if !strings.HasPrefix(got, "599") { // a POST was not recorded
			t.Errorf("%s: %s", text, got)
		}
		if got := body(client.Get(server.URL + "/count")); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
		if w.Kind == "slow" && time.Since(begin) < w.Delay {
			t.Errorf("%s took %v", text, time.Since(begin))
		}
	}
	for _, bad := range []string{"", "http:1", "sql:1 reset", "http:0 reset", "http:1 slow", "http:1 slow -2s", "http:1 status 99", "http:x reset"} {
		if _, err := ParseWhatIf(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := New(Options{Cassette: c, WhatIf: []WhatIf{{ID: 9, Kind: "reset"}}}); err == nil {
		t.Error("an exchange that is not there is taken")
	}
}

// TestStream replays a protocol of which nothing is known.
func TestStream(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "HELLO\n")
			line, _ := bufio.NewReader(c).ReadString('\n')
			fmt.Fprintf(c, "%s %d\n", strings.TrimSpace(line), time.Now().UnixNano())
			c.Close()
		}
	}()
	talk := func(n *network, say string) string {
		c, err := n.dial(context.Background(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		r := bufio.NewReader(c)
		hello, _ := r.ReadString('\n')
		fmt.Fprintf(c, "%s\n", say)
		all, _ := io.ReadAll(r)
		return hello + string(all)
	}
	var want string
	c, ca := recorded(t, nil, func(_ *http.Client, n *network) { want = talk(n, "what is it") })
	l.Close()
	p, _, n := player(t, c, ca, Options{})
	if got := talk(n, "what is it"); got != want {
		t.Errorf("%q, recorded %q", got, want)
	}
	if r := p.Report(); r.Diverged() || r.Opaque != 1 {
		t.Errorf("%+v", r)
	}
	p, _, n = player(t, c, ca, Options{})
	talk(n, "what is IT")
	if r := p.Report(); len(r.Drift) != 1 || !bytes.Contains([]byte(r.Drift[0].Fields[0].Live), []byte("IT")) {
		t.Errorf("%+v", r)
	}
}

// TestManyOnOne are ten thousand requests on one connection.
func TestManyOnOne(t *testing.T) {
	const n = 10_000
	server := httptest.NewServer(handler())
	ask := func(c *http.Client) (last string) {
		for range n {
			last = body(c.Get(server.URL + "/count"))
		}
		return last
	}
	c, ca := recorded(t, nil, func(client *http.Client, _ *network) { ask(client) })
	server.Close()
	p, client, _ := player(t, c, ca, Options{})
	if got := ask(client); !strings.Contains(got, fmt.Sprint(n)) {
		t.Error(got)
	}
	if r := p.Report(); r.Matched != n || r.Diverged() || r.Ambiguous != 0 {
		t.Errorf("matched %d, missed %d, ambiguous %d", r.Matched, r.Missed, r.Ambiguous)
	}
}

// BenchmarkExchange is one exchange over a connection that stays, both ends in
// this process.
func BenchmarkExchange(b *testing.B) {
	head := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\r\n")
	c := &cassette.Cassette{Conns: []*cassette.Conn{{ID: 1, Peer: netip.MustParseAddrPort("203.0.113.1:80"), Proto: "http/1.1"}}}
	for i := range b.N {
		c.Exchanges = append(c.Exchanges, &cassette.Exchange{ID: i + 1, Conn: 1, Scheme: "http", Authority: "api",
			Request:  &cassette.Message{Head: []byte("GET /x HTTP/1.1\r\nHost: api\r\n\r\n"), Body: cassette.Bytes(nil)},
			Response: &cassette.Message{Head: head, Body: cassette.Bytes(bytes.Repeat([]byte("x"), 1024))}})
	}
	p, err := New(Options{Cassette: c, Order: order.Total})
	if err != nil {
		b.Fatal(err)
	}
	n := newNetwork(b, p.Serve)
	conn, err := n.dial(context.Background(), "203.0.113.1:80")
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	buf := make([]byte, len(head)+1024)
	b.ResetTimer()
	for range b.N {
		io.WriteString(conn, "GET /x HTTP/1.1\r\nHost: api\r\n\r\n")
		if _, err := io.ReadFull(conn, buf); err != nil {
			b.Fatal(err)
		}
	}
}
