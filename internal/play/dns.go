package play

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/match"
	wirehttp "github.com/tapedeck-dev/tapedeck/internal/wire/http"
)

// Packet answers a DNS question; nil is no answer, as was recorded.
func (p *Player) Packet(q []byte) []byte {
	name, kind, ok := wirehttp.Question(q)
	if !ok {
		return nil
	}
	p.mu.Lock()
	a := p.queries[name+" "+kind]
	var pick *cassette.Query
	if a != nil {
		pick = a.all[min(a.next, len(a.all)-1)] // a resolver may ask again
		a.next++
	}
	p.mu.Unlock()
	if pick == nil {
		p.missed(&match.Miss{Request: "DNS " + kind + " " + name, Cause: match.NewCall})
		return refuse(q)
	}
	s := p.of(fmt.Sprintf("dns:%d", pick.ID))
	if !p.again[pick.ID] {
		p.gate.Happened(append([]uint64{p.opened[pick.Conn]}, s.request()...)...)
		_ = p.gate.Wait(background, s.end)
		defer p.gate.Done(s.end)
	}
	if len(pick.Answer) < 12 {
		return pick.Answer
	}
	return append(append([]byte(nil), q[:2]...), pick.Answer[2:]...) // its own number
}

// questions answers DNS over a connection: each message comes behind its length.
func (p *Player) questions(c net.Conn) {
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		a := p.Packet(q)
		if len(a) == 0 || len(a) > 1<<16-1 {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...)); err != nil {
			return
		}
	}
}

// refuse says that there is no such name.
func refuse(q []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(q) != nil {
		return nil
	}
	m.Response, m.RCode, m.Additionals = true, dnsmessage.RCodeNameError, nil
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}
