package importer

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
)

// hosts gives each name an address of 198.18.0.0/15, which is set aside for
// tests of networks (RFC 2544), unless the tape tells the server's own.
type hosts struct {
	byName map[string][]netip.Addr
	order  []string
	next   uint32
}

const firstAddress, addresses = 198<<24 | 18<<16 | 1, 1<<17 - 2

// of returns the addresses of a host; known is the one that the tape tells.
func (h *hosts) of(host string, known netip.Addr) []netip.Addr {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}
	}
	if list := h.byName[host]; list != nil {
		return list
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		h.byName[host] = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
		return h.byName[host]
	}
	// A private or local address is that of a proxy, or of a test, and may be
	// the program's own at replay.
	if known = known.Unmap(); !known.IsValid() || !known.IsGlobalUnicast() || known.IsPrivate() {
		known = netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, firstAddress+h.next%addresses)))
		h.next++
	}
	h.byName[host] = []netip.Addr{known}
	h.order = append(h.order, host)
	return h.byName[host]
}

// queries are the questions that a resolver asks for the names, and answers. No
// events tell of them: how often and when was not recorded.
func (h *hosts) queries() []*cassette.Query {
	server := netip.MustParseAddrPort("192.0.2.53:53") // the one that a replayed program is told of
	var all []*cassette.Query
	for _, host := range h.order {
		name, err := dnsmessage.NewName(host + ".")
		if err != nil {
			continue // too long, which hostPort has seen to
		}
		for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA, 65} { // HTTPS has no name there
			m := dnsmessage.Message{Header: dnsmessage.Header{RecursionDesired: true},
				Questions: []dnsmessage.Question{{Name: name, Type: kind, Class: dnsmessage.ClassINET}}}
			question, err := m.Pack()
			if err != nil {
				continue
			}
			m.Response, m.RecursionAvailable = true, true
			for _, a := range h.byName[host] {
				r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Type: kind, Class: dnsmessage.ClassINET, TTL: 300}}
				switch {
				case kind == dnsmessage.TypeA && a.Is4():
					r.Body = &dnsmessage.AResource{A: a.As4()}
				case kind == dnsmessage.TypeAAAA && a.Is6():
					r.Body = &dnsmessage.AAAAResource{AAAA: a.As16()}
				default:
					continue
				}
				m.Answers = append(m.Answers, r)
			}
			answer, err := m.Pack()
			if err != nil {
				continue
			}
			all = append(all, &cassette.Query{ID: len(all) + 1, Server: server, Name: host + ".", Type: strings.TrimPrefix(kind.String(), "Type"), Question: question, Answer: answer})
		}
	}
	return all
}
