package tap

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/wire"
)

// whoSpeaks waits for the first bytes of either side, as in some protocols the
// server speaks first, and returns both sides with nothing of them lost. first
// is what the program said, if it alone spoke. If err is set, a side ended
// before anything was said.
func whoSpeaks(program, peer net.Conn) (p, q *wire.Prefixed, first []byte, dir wire.Dir, err error) {
	type read struct {
		b   []byte
		err error
	}
	start := func(c net.Conn) chan read {
		ch := make(chan read, 1)
		go func() {
			b := make([]byte, 32<<10)
			n, err := c.Read(b)
			ch <- read{b[:n], err}
		}()
		return ch
	}
	callOff := func(c net.Conn, ch chan read) read {
		_ = c.SetReadDeadline(time.Unix(1, 0))
		r := <-ch
		_ = c.SetReadDeadline(time.Time{})
		return r
	}
	ours, theirs := start(program), start(peer)
	var a, b read
	select {
	case a = <-ours:
		b = callOff(peer, theirs)
	case b = <-theirs:
		dir, a = wire.In, callOff(program, ours)
	}
	p, q = &wire.Prefixed{Conn: program, Head: a.b}, &wire.Prefixed{Conn: peer, Head: b.b}
	if len(a.b) == 0 && len(b.b) == 0 {
		if err = a.err; dir == wire.In {
			err = b.err
		}
		return p, q, nil, dir, err
	}
	if len(b.b) == 0 {
		first = a.b
	}
	return p, q, first, dir, nil
}

// terminate takes TLS off: to the program we are the peer, to the peer we are
// the program. The peer is asked first, so that the program gets what it would
// have got: the protocol that was agreed on, or a handshake that fails.
func (t *Tap) terminate(info *wire.Conn, c, up net.Conn, dst netip.AddrPort) {
	var upstream *tls.Conn
	server := tls.Server(c, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		name := h.ServerName
		info.Name = name
		if name == "" {
			name = dst.Addr().String()
		}
		upstream = tls.Client(up, &tls.Config{ServerName: name, RootCAs: t.opt.Roots, NextProtos: h.SupportedProtos})
		if err := upstream.Handshake(); err != nil {
			info.Refused = "tls"
			return nil, err
		}
		cert, err := t.opt.CA.Certificate(name)
		if err != nil {
			return nil, err
		}
		own := &tls.Config{Certificates: []tls.Certificate{*cert}}
		if p := upstream.ConnectionState().NegotiatedProtocol; p != "" {
			own.NextProtos, info.ALPN = []string{p}, p
		}
		return own, nil
	}})
	err := server.Handshake()
	info.TLS = true
	if err != nil && info.Refused == "" {
		info.Refused = "tls" // the program does not trust us, or gave up
	}
	t.put(wire.Chunk{ID: info.ID, Op: wire.Open, Conn: info})
	if err != nil {
		return
	}
	t.copyBoth(info.ID, server, upstream)
}

// buffers of the copying loops.
var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

func (t *Tap) copyBoth(id uint64, program, peer net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() { t.copy(id, wire.Out, peer, program) })
	t.copy(id, wire.In, program, peer)
	wg.Wait()
}

// copy hands on what comes from one side. What the program sent is counted
// before the peer has it, and what the peer sent before the program has it: so
// the order of the ticks is one in which it may have happened.
func (t *Tap) copy(id uint64, dir wire.Dir, to, from net.Conn) {
	p := buffers.Get().(*[]byte)
	defer buffers.Put(p)
	buf := *p
	for {
		n, err := from.Read(buf)
		if n > 0 {
			t.put(wire.Chunk{ID: id, Op: wire.Data, Dir: dir, Data: slices.Clone(buf[:n])})
			if _, e := to.Write(buf[:n]); e != nil && err == nil {
				// Whoever does not listen any more has ended the other way too.
				wire.Abort(from)
				return
			}
		}
		if err != nil {
			op := wire.Fin
			if !errors.Is(err, io.EOF) {
				op = wire.Reset
			}
			t.put(wire.Chunk{ID: id, Op: op, Dir: dir})
			if op == wire.Reset {
				wire.Abort(to)
			} else {
				_ = wire.CloseWrite(to)
			}
			return
		}
	}
}
