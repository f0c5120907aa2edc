package exporter

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base32"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/warc"
)

// WARC writes one file of what the program asked over HTTP, a gzip member for
// each record, and of the names that it resolved. It has no fields of our own.
func WARC(w io.Writer, s Source) (*Report, error) {
	b := bufio.NewWriterSize(w, 64<<10)
	e := &warcWriter{lost: losses{}, out: warc.NewWriter(b), s: s, c: s.Cassette, at: timeline(s.Cassette)}
	if err := e.info(); err != nil {
		return nil, err
	}
	for _, q := range e.c.Queries {
		if err := e.query(q); err != nil {
			return nil, err
		}
	}
	n := 0
	for _, x := range e.c.Exchanges {
		if incoming(e.c, x) {
			e.lost.add("requests that the program was asked", 1)
			continue
		}
		n++
		if err := e.exchange(x); err != nil {
			return nil, err
		}
	}
	e.lost.common(e.c)
	return &Report{n, e.lost}, b.Flush()
}

type warcWriter struct {
	out  *warc.Writer
	s    Source
	c    *cassette.Cassette
	at   map[string]*moments
	lost losses
}

func (w *warcWriter) id(name string) string { return warc.ID(w.s.Bundle + " " + name) }

func (w *warcWriter) header(kind, id string, at time.Time, uri, media string) warc.Header {
	h := warc.Header{{Name: "WARC-Type", Value: kind}, {Name: "WARC-Record-ID", Value: id}, {Name: "WARC-Date", Value: at.Format(time.RFC3339Nano)}}
	if uri != "" {
		h = append(h, warc.Field{Name: "WARC-Target-URI", Value: uri}, warc.Field{Name: "WARC-Warcinfo-ID", Value: w.id("info")})
	}
	return append(h, warc.Field{Name: "Content-Type", Value: media})
}

func digest(b []byte) string {
	s := sha1.Sum(b)
	return "sha1:" + base32.StdEncoding.EncodeToString(s[:])
}

func (w *warcWriter) info() error {
	text := "software: tapedeck " + w.s.Version + "\r\nformat: WARC file version 1.1\r\n"
	h := w.header("warcinfo", w.id("info"), time.Unix(0, w.c.Began.Wall).UTC(), "", "application/warc-fields")
	return w.out.Write(h, strings.NewReader(text), int64(len(text)))
}

func (w *warcWriter) exchange(x *cassette.Exchange) error {
	id := "http:" + strconv.Itoa(x.ID)
	at := of(w.at, id, w.c)
	if n := len(at.parts); n > 1 {
		w.lost.add("times of parts of bodies", n)
	}
	for _, m := range []*cassette.Message{x.Request, x.Response} {
		if m == nil {
			continue
		}
		kind, other, when := "request", "response", at.asked
		if m == x.Response {
			kind, other = "response", "request"
			if !at.answered.IsZero() {
				when = at.answered
			}
		}
		h := w.header(kind, w.id(id+kind), when, x.URL(), "application/http;msgtype="+kind)
		if x.Response != nil {
			h = append(h, warc.Field{Name: "WARC-Concurrent-To", Value: w.id(id + other)})
		}
		if x.Conn > 0 {
			if a := w.c.Conns[x.Conn-1].Peer.Addr(); a.IsValid() && !a.IsUnspecified() {
				h = append(h, warc.Field{Name: "WARC-IP-Address", Value: a.String()})
			}
		}
		if m.Truncated != "" {
			h = append(h, warc.Field{Name: "WARC-Truncated", Value: m.Truncated})
		}
		if err := w.message(h, m); err != nil {
			return err
		}
	}
	return nil
}

// message writes a message as it was on the wire. Its digest stands before it, so
// it is read twice. Of a body in chunks tools take the digest differently: it has
// none.
func (w *warcWriter) message(h warc.Header, m *cassette.Message) error {
	block, payload := sha1.New(), sha1.New()
	block.Write(m.Head)
	r, err := m.Body.Open()
	if err != nil {
		return err
	}
	n, err := io.Copy(io.MultiWriter(block, payload), r)
	r.Close()
	if err != nil {
		return err
	}
	h = append(h, warc.Field{Name: "WARC-Block-Digest", Value: "sha1:" + base32.StdEncoding.EncodeToString(block.Sum(nil))})
	if !chunked(m) {
		h = append(h, warc.Field{Name: "WARC-Payload-Digest", Value: "sha1:" + base32.StdEncoding.EncodeToString(payload.Sum(nil))})
	}
	if r, err = m.Body.Open(); err != nil {
		return err
	}
	defer r.Close()
	return w.out.Write(h, io.MultiReader(bytes.NewReader(m.Head), r), int64(len(m.Head))+n)
}

// query writes what a name resolved to, as text (RFC 4027).
func (w *warcWriter) query(q *cassette.Query) error {
	var m dnsmessage.Message
	if q.Answer == nil || m.Unpack(q.Answer) != nil {
		w.lost.add("DNS queries without an answer", 1)
		return nil
	}
	at := of(w.at, "dns:"+strconv.Itoa(q.ID), w.c)
	when := at.asked
	if !at.ended.IsZero() {
		when = at.ended
	}
	text := when.Format("20060102150405") + "\r\n"
	lines := 0
	for _, r := range m.Answers {
		value := ""
		switch d := r.Body.(type) {
		case *dnsmessage.AResource:
			value = fmt.Sprintf("A\t%d.%d.%d.%d", d.A[0], d.A[1], d.A[2], d.A[3])
		case *dnsmessage.AAAAResource:
			value = "AAAA\t" + netip.AddrFrom16(d.AAAA).String()
		case *dnsmessage.CNAMEResource:
			value = "CNAME\t" + d.CNAME.String()
		default:
			continue
		}
		text += fmt.Sprintf("%s\t%d\tIN\t%s\r\n", r.Header.Name.String(), r.Header.TTL, value)
		lines++
	}
	if lines == 0 {
		w.lost.add("DNS answers without an address", 1)
		return nil
	}
	h := w.header("resource", w.id(fmt.Sprint("dns:", q.ID)), when, "dns:"+strings.TrimSuffix(q.Name, "."), "text/dns")
	if a := q.Server.Addr(); a.IsValid() {
		h = append(h, warc.Field{Name: "WARC-IP-Address", Value: a.String()})
	}
	h = append(h, warc.Field{Name: "WARC-Block-Digest", Value: digest([]byte(text))})
	return w.out.Write(h, strings.NewReader(text), int64(len(text)))
}
