package tap

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/trust"
	"github.com/tapedeck-dev/tapedeck/internal/wire"
)

// chunks keeps what a tap says.
type chunks struct {
	mu   sync.Mutex
	all  []wire.Chunk
	data [2]bytes.Buffer
}

func (c *chunks) Put(k wire.Chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, k)
	if k.Op == wire.Data {
		c.data[k.Dir].Write(k.Data)
	}
}

// through connects to dst through a tap. What the tap said is complete when end
// returns.
func through(t *testing.T, dst string, roots *x509.CertPool) (c *net.TCPConn, ca *trust.CA, end func() *chunks) {
	t.Helper()
	ca, err := trust.New()
	if err != nil {
		t.Fatal(err)
	}
	said := &chunks{}
	tp := New(Options{Sink: said, CA: ca, Roots: roots, Now: func() cassette.Time { return cassette.Time{} }})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ours, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); tp.Outgoing(ours, netip.MustParseAddrPort(dst)) }()
	return conn.(*net.TCPConn), ca, func() *chunks {
		t.Helper()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("the tap goes on")
		}
		return said
	}
}

// server serves one connection.
func server(t *testing.T, serve func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		if c, err := l.Accept(); err == nil {
			serve(c.(*net.TCPConn))
		}
	}()
	return l.Addr().String()
}

func TestRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c, _, end := through(t, l.Addr().String(), nil)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the program sees %v", err)
	}
	if said := end(); len(said.all) != 1 || said.all[0].Conn.Refused != "refused" {
		t.Errorf("%+v", said.all)
	}
}

// TestHalfClose has a client that is done sending long before its answer comes.
func TestHalfClose(t *testing.T) {
	addr := server(t, func(c *net.TCPConn) {
		defer c.Close()
		b, _ := io.ReadAll(c)
		_, _ = c.Write(bytes.ToUpper(b))
	})
	c, _, end := through(t, addr, nil)
	_, _ = io.WriteString(c, "question")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil || string(b) != "QUESTION" {
		t.Errorf("%q, %v", b, err)
	}
	c.Close()
	said := end()
	if said.data[wire.Out].String() != "question" || said.data[wire.In].String() != "QUESTION" {
		t.Errorf("%q %q", said.data[wire.Out].String(), said.data[wire.In].String())
	}
	for i, k := range said.all {
		if k.Tick != uint64(i+1) {
			t.Errorf("chunk %d has tick %d", i, k.Tick)
		}
	}
}

func TestReset(t *testing.T) {
	addr := server(t, func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 10))
		_, _ = io.WriteString(c, "part")
		_, _ = c.Read(make([]byte, 10)) // until the client has it
		_ = c.SetLinger(0)
		c.Close()
	})
	c, _, end := through(t, addr, nil)
	_, _ = io.WriteString(c, "ask")
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "more")
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the program sees %v", err)
	}
	said := end()
	if last := said.all[len(said.all)-1]; last.Op != wire.Reset || said.data[wire.In].String() != "part" {
		t.Errorf("%+v", said.all)
	}
}

// TestSlowReader reads nothing while much is sent: the tap waits, and nothing is lost.
func TestSlowReader(t *testing.T) {
	const size = 32 << 20
	sent := make(chan error, 1)
	addr := server(t, func(c *net.TCPConn) {
		_, err := c.Write(bytes.Repeat([]byte("0123456789abcdef"), size/16))
		sent <- err
		c.Close()
	})
	c, _, end := through(t, addr, nil)
	select {
	case err := <-sent:
		t.Fatalf("all was sent, though nobody reads: %v", err)
	case <-time.After(200 * time.Millisecond): // a tap that holds it all takes less
	}
	n, err := io.Copy(io.Discard, c)
	c.Close()
	if err != nil || n != size || end().data[wire.In].Len() != size {
		t.Errorf("%d bytes of %d: %v", n, size, err)
	}
}

// TestTLS takes TLS off, and lets the program have no connection that it would
// not have had.
func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "secret answer") }))
	defer s.Close()
	s.Config.ErrorLog = nil
	known := x509.NewCertPool()
	known.AddCert(s.Certificate())
	for name, roots := range map[string]*x509.CertPool{"known": known, "unknown": x509.NewCertPool()} {
		c, ca, end := through(t, strings.TrimPrefix(s.URL, "https://"), roots)
		ours := x509.NewCertPool()
		ours.AppendCertsFromPEM(ca.PEM())
		conn := tls.Client(c, &tls.Config{RootCAs: ours, ServerName: "example.com", NextProtos: []string{"h2", "http/1.1"}})
		err := conn.HandshakeContext(context.Background())
		if name == "unknown" {
			if err == nil {
				t.Error("the program got a connection to a server that nobody vouches for")
			}
			if said := end(); said.all[0].Conn.Refused != "tls" {
				t.Errorf("%+v", said.all[0].Conn)
			}
			continue
		}
		if err != nil || conn.ConnectionState().NegotiatedProtocol != "http/1.1" {
			t.Fatalf("%v, %q", err, conn.ConnectionState().NegotiatedProtocol)
		}
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
		b, _ := io.ReadAll(conn)
		conn.Close()
		said := end()
		if !strings.Contains(string(b), "secret answer") || said.data[wire.In].String() != string(b) || said.all[0].Conn.Name != "example.com" || !said.all[0].Conn.TLS {
			t.Errorf("%s; %+v", b, said.all[0].Conn)
		}
	}
}

// TestQueue holds no more than it may, and loses nothing.
func TestQueue(t *testing.T) {
	slow := &gated{open: make(chan struct{})}
	q := NewQueue(slow, 10_000)
	put := make(chan int)
	go func() {
		for i := range 100 {
			q.Put(wire.Chunk{Tick: uint64(i), Data: make([]byte, 1000)})
			put <- i
		}
		close(put)
	}()
	held := 0
	for stopped := false; !stopped; {
		select {
		case <-put:
			held++
		case <-time.After(200 * time.Millisecond):
			stopped = true
		}
	}
	if held > 12 {
		t.Errorf("%d chunks of 1,000 bytes are in a queue of 10,000", held)
	}
	close(slow.open)
	for range put {
	}
	q.Close()
	for i, k := range slow.all {
		if k.Tick != uint64(i) {
			t.Fatalf("chunk %d came as number %d", k.Tick, i)
		}
	}
	if len(slow.all) != 100 {
		t.Errorf("%d of 100 chunks", len(slow.all))
	}
}

type gated struct {
	open chan struct{}
	all  []wire.Chunk
}

func (g *gated) Put(k wire.Chunk) { <-g.open; g.all = append(g.all, k) }
