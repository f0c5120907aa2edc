package play

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/match"
	"github.com/tapedeck-dev/tapedeck/internal/wire"
	"github.com/tapedeck-dev/tapedeck/internal/wire/http"
)

// Drive asks the program what its clients asked it, from their addresses, in the
// recorded order, and compares what it answers. It returns when all is asked.
func (p *Player) Drive(ctx context.Context, dial func(context.Context, netip.AddrPort, uint16) (net.Conn, error)) {
	byConn := map[int][]*cassette.Exchange{}
	for _, x := range p.opt.Cassette.Exchanges {
		if x.Conn > 0 && p.opt.Cassette.Conns[x.Conn-1].Incoming {
			byConn[x.Conn] = append(byConn[x.Conn], x)
		}
	}
	var wg sync.WaitGroup
	for conn, list := range byConn {
		wg.Go(func() { p.client(ctx, p.opt.Cassette.Conns[conn-1], list, dial) })
	}
	wg.Wait()
}

func (p *Player) client(ctx context.Context, conn *cassette.Conn, list []*cassette.Exchange, dial func(context.Context, netip.AddrPort, uint16) (net.Conn, error)) {
	lost := func(why string, from int) {
		p.drifted(match.ID(list[from]), match.Field{Name: "answer", Recorded: "one", Live: why})
		for _, x := range list[from:] {
			s := p.of(match.ID(x))
			p.gate.Skip(s.request()...)
			p.skipAnswer(s)
		}
	}
	_ = p.gate.Wait(ctx, p.opened[conn.ID])
	c, err := dial(ctx, conn.Peer, conn.Port)
	p.gate.Done(p.opened[conn.ID])
	if err != nil {
		lost(err.Error(), 0)
		return
	}
	defer c.Close()
	if conn.Proto == "h2" {
		p.drive2(ctx, c, list, lost)
		return
	}
	r := http.NewReader(c, false)
	for i, x := range list {
		s := p.of(match.ID(x))
		for _, seq := range s.request() {
			_ = p.gate.Wait(ctx, seq)
			p.gate.Done(seq)
		}
		body, err := x.Request.Body.Open()
		if err == nil {
			_, err = io.Copy(c, io.MultiReader(strings.NewReader(string(fitted(x.Request))), body))
			body.Close()
		}
		if err != nil {
			lost(err.Error(), i)
			return
		}
		r.Method = x.Request.Method()
		m, err := r.Next()
		if err != nil {
			lost(err.Error(), i)
			return
		}
		seqs := []uint64{s.answer}
		for _, e := range s.data {
			seqs = append(seqs, e.Seq)
		}
		p.gate.Happened(append(seqs, s.end)...)
		if x.Response == nil {
			continue
		}
		if fields := compare(x.Response, p.scrubbed(m)); len(fields) > 0 {
			p.drifted(match.ID(x), fields...)
		}
		if x.Upgrade > 0 && x.Upgrade <= len(p.opt.Cassette.Streams) {
			p.stream(&wire.Prefixed{Conn: c, Head: r.Rest()}, nil, p.opt.Cassette.Streams[x.Upgrade-1])
			return
		}
	}
}

// compare tells in what an answer of the program differs from the recorded one.
func compare(recorded, live *cassette.Message) []match.Field {
	a, err1 := match.Of("", "", recorded)
	b, err2 := match.Of("", "", live)
	if err1 != nil || err2 != nil {
		return []match.Field{{Name: "body", Recorded: "readable", Live: "not"}}
	}
	a.Method, a.Path, b.Method, b.Path = "", "", "", ""
	fields := match.Differences(a, b)
	if recorded.Status() != live.Status() {
		fields = append([]match.Field{{Name: "status", Recorded: recorded.StartLine(), Live: live.StartLine()}}, fields...)
	}
	return fields
}
