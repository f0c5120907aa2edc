// Package tap is the proxy that a recorded program's connections go through. It
// dials whom the program wanted, takes TLS off in between, copies bytes both
// ways, and hands a copy of them to a [wire.Sink]. It decodes nothing.
package tap

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/trust"
	"github.com/tapedeck-dev/tapedeck/internal/wire"
)

// Options of a tap.
type Options struct {
	Sink  wire.Sink
	CA    *trust.CA
	Roots *x509.CertPool // who vouches for the real peers; nil: whom this machine trusts
	Now   func() cassette.Time
}

// Tap is a proxy. Its methods may be called by several goroutines.
type Tap struct {
	opt   Options
	ticks atomic.Uint64
	ids   atomic.Uint64
	live  sync.WaitGroup
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	cut   bool
}

// New returns a tap.
func New(o Options) *Tap { return &Tap{opt: o, conns: map[net.Conn]struct{}{}} }

const dialTimeout = 30 * time.Second // as the program's own kernel would, about

func (t *Tap) put(c wire.Chunk) {
	c.Tick = t.ticks.Add(1)
	c.Time = t.opt.Now()
	t.opt.Sink.Put(c)
}

// hold keeps a connection where Close finds it; false if it is too late.
func (t *Tap) hold(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cut {
		c.Close()
		return false
	}
	t.conns[c] = struct{}{}
	return true
}

func (t *Tap) drop(c net.Conn) {
	c.Close()
	t.mu.Lock()
	delete(t.conns, c)
	t.mu.Unlock()
}

// Close waits until all connections have ended, or ctx has: it cuts them then.
func (t *Tap) Close(ctx context.Context) {
	done := make(chan struct{})
	go func() { t.live.Wait(); close(done) }()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	t.mu.Lock()
	t.cut = true
	for c := range t.conns {
		c.Close()
	}
	t.mu.Unlock()
	<-done
}

// Outgoing serves a connection that the program opened to dst, to its end.
func (t *Tap) Outgoing(c net.Conn, dst netip.AddrPort) {
	t.live.Add(1)
	defer t.live.Done()
	if !t.hold(c) {
		return
	}
	defer t.drop(c)
	info := &wire.Conn{ID: t.ids.Add(1), Peer: dst}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	var d net.Dialer
	up, err := d.DialContext(ctx, "tcp", dst.String())
	if err != nil {
		info.Refused = refusal(err)
		t.put(wire.Chunk{ID: info.ID, Op: wire.Open, Conn: info})
		wire.Abort(c)
		return
	}
	if !t.hold(up) {
		return
	}
	defer t.drop(up)
	program, peer, first, dir, err := whoSpeaks(c, up)
	if err != nil {
		t.put(wire.Chunk{ID: info.ID, Op: wire.Open, Conn: info})
		t.put(wire.Chunk{ID: info.ID, Op: ending(err), Dir: dir})
		return
	}
	if len(first) > 2 && first[0] == 22 && first[1] == 3 { // a TLS handshake
		t.terminate(info, program, peer, dst)
		return
	}
	t.put(wire.Chunk{ID: info.ID, Op: wire.Open, Conn: info})
	t.copyBoth(info.ID, program, peer)
}

// Incoming serves a connection from outside to a port of the program.
func (t *Tap) Incoming(peer net.Conn, port uint16, dial func(context.Context, netip.AddrPort, uint16) (net.Conn, error)) {
	t.live.Add(1)
	defer t.live.Done()
	if !t.hold(peer) {
		return
	}
	defer t.drop(peer)
	from, _ := netip.ParseAddrPort(peer.RemoteAddr().String())
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	info := &wire.Conn{ID: t.ids.Add(1), Peer: from, Port: port, Incoming: true}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	c, err := dial(ctx, from, port)
	if err != nil {
		wire.Abort(peer)
		return
	}
	if !t.hold(c) {
		return
	}
	defer t.drop(c)
	t.put(wire.Chunk{ID: info.ID, Op: wire.Open, Conn: info})
	t.copyBoth(info.ID, c, peer)
}

// Query asks a DNS server what the program asked it; nil if no answer came.
func (t *Tap) Query(q []byte, server netip.AddrPort) []byte {
	t.live.Add(1)
	defer t.live.Done()
	info := &wire.Conn{ID: t.ids.Add(1), Peer: server, Datagram: true}
	t.put(wire.Chunk{ID: info.ID, Op: wire.Open, Conn: info})
	t.put(wire.Chunk{ID: info.ID, Op: wire.Data, Dir: wire.Out, Data: q})
	answer := exchange(q, server)
	if answer != nil {
		t.put(wire.Chunk{ID: info.ID, Op: wire.Data, Dir: wire.In, Data: answer})
	}
	t.put(wire.Chunk{ID: info.ID, Op: wire.Fin, Dir: wire.In})
	return answer
}

func exchange(q []byte, server netip.AddrPort) []byte {
	c, err := net.Dial("udp", server.String())
	if err != nil {
		return nil
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(q); err != nil {
		return nil
	}
	buf := make([]byte, 64<<10)
	n, err := c.Read(buf)
	if err != nil {
		return nil
	}
	return buf[:n:n]
}

// refusal says in one word why there is no connection.
func refusal(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return "unreachable"
}

func ending(err error) wire.Op {
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) {
		return wire.Reset
	}
	return wire.Fin
}
