package play

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/match"
	"github.com/tapedeck-dev/tapedeck/internal/wire"
	wirehttp "github.com/tapedeck-dev/tapedeck/internal/wire/http"
)

// stream plays bytes that nobody decoded: what came to the program is sent in
// the recorded order, and what the program sends is compared. Without s it is
// the next one that was recorded of d.
func (p *Player) stream(c net.Conn, d *dest, s *cassette.Stream) {
	if s == nil {
		p.mu.Lock()
		if d.stream < len(d.streams) {
			s = d.streams[d.stream]
			d.stream++
		}
		p.mu.Unlock()
	}
	if s == nil {
		p.missed(&match.Miss{Request: "another connection to " + d.conns[0].Peer.String(), Cause: match.ExtraRepeat})
		wire.Abort(c)
		return
	}
	web := s.Exchange > 0 && s.Exchange <= len(p.opt.Cassette.Exchanges) && p.opt.Cassette.Exchanges[s.Exchange-1].Response != nil &&
		wirehttp.IsWebSocket(p.opt.Cassette.Exchanges[s.Exchange-1].Response.Head)
	peer := io.ReadWriter(c)
	if web {
		peer = &webSocket{c: c, scrub: p.scrubbedBody, mask: p.opt.Cassette.Conns[s.Conn-1].Incoming}
	} else {
		p.mu.Lock()
		p.opaque++
		p.mu.Unlock()
	}
	p.gate.Happened(p.opened[s.Conn])
	events := p.of(fmt.Sprintf("tcp:%d", s.ID)).data
	out, err1 := s.Out.Open()
	in, err2 := s.In.Open()
	if errors.Join(err1, err2) != nil {
		return
	}
	defer out.Close()
	defer in.Close()
	for i, e := range events {
		recorded := make([]byte, e.Len)
		if e.Dir == "in" {
			if _, err := io.ReadFull(in, recorded); err != nil {
				return
			}
			_ = p.gate.Wait(background, e.Seq)
			_, err := peer.Write(recorded)
			p.gate.Done(e.Seq)
			if err != nil {
				p.drop(events[i+1:])
				return
			}
			continue
		}
		if _, err := io.ReadFull(out, recorded); err != nil {
			return
		}
		live := make([]byte, e.Len)
		n, err := io.ReadFull(peer, live)
		live = live[:n]
		if p.opt.ScrubText != nil && !web {
			live = p.opt.ScrubText(live)
		}
		if !bytes.Equal(live, recorded) {
			p.drifted(fmt.Sprintf("tcp:%d", s.ID), match.Field{Name: fmt.Sprintf("bytes from %d on", e.Off), Recorded: shown(recorded), Live: shown(live)})
		}
		p.gate.Happened(e.Seq)
		if err != nil {
			p.drop(events[i+1:])
			return
		}
	}
	if s.End == "reset" {
		wire.Abort(c)
	}
}

func (p *Player) drop(events []cassette.Event) {
	for _, e := range events {
		p.gate.Skip(e.Seq)
	}
}

func (p *Player) drifted(id string, fields ...match.Field) {
	p.mu.Lock()
	p.drift = append(p.drift, Drift{ID: id, Fields: fields})
	p.mu.Unlock()
}

func shown(b []byte) string { return string(b[:min(len(b), 200)]) }
