package importer

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

// Written is what became of a tape.
type Written struct {
	Files     []cassette.File
	Began     time.Time
	Exchanges int
	Hosts     int
	Skipped   []Skipped
	Notes     []Note
}

// monotonic is where that clock begins, since no tape tells of it.
const monotonic = int64(time.Hour)

// Write makes a cassette in dir. Each message goes through s before it is
// written; one that can't be scrubbed is left out. now is when the tape began, if
// it does not tell.
func (t *Tape) Write(dir string, s *scrub.Scrubber, now time.Time) (*Written, error) {
	w := &writer{out: &Written{Began: now, Skipped: t.Skipped}, notes: map[string]int{}, conns: map[string]*cassette.Conn{}, hosts: hosts{byName: map[string][]netip.Addr{}}}
	for _, n := range t.Notes {
		w.notes[n.What] += n.Count
	}
	known := map[string]netip.Addr{} // what any exchange tells of a host
	timed := len(t.Exchanges) > 0
	for _, x := range t.Exchanges {
		timed = timed && !x.Began.IsZero()
		if host, _, err := hostPort(x.Scheme, x.Authority); err == nil && x.Peer.IsValid() && !known[host].IsValid() {
			known[host] = x.Peer.Addr()
		}
	}
	if timed {
		w.out.Began = t.Exchanges[0].Began // they are sorted
	}
	for _, x := range t.Exchanges {
		host, _, _ := hostPort(x.Scheme, x.Authority)
		if err := w.exchange(x, s, known[host], timed); err != nil {
			w.out.Skipped = append(w.out.Skipped, Skipped{x.Where, err.Error()})
		}
	}
	if len(w.exchanges) == 0 {
		return w.finish(), ErrEmpty
	}
	return w.write(dir)
}

// ErrEmpty says that nothing of a tape could be imported.
var ErrEmpty = errors.New("nothing of the tape could be imported")

type writer struct {
	out       *Written
	notes     map[string]int
	conns     map[string]*cassette.Conn
	hosts     hosts
	exchanges []*cassette.Exchange
	events    []*event
}

// event has no numbers yet: they follow from the order in time.
type event struct {
	cassette.Event
	conn *cassette.Conn
	x    *cassette.Exchange // nil: of the connection
}

func (w *writer) exchange(x *Exchange, s *scrub.Scrubber, known netip.Addr, timed bool) error {
	if err := checkPlace(x); err != nil {
		return err
	}
	var notes []string
	note := func(what string) { notes = append(notes, what) }
	made := &cassette.Exchange{Scheme: x.Scheme, End: x.End, Stub: x.Stub}
	var parts []Chunk
	for _, m := range []*Message{&x.Request, x.Response} {
		if m == nil {
			continue
		}
		raw, err := build(x, m, note)
		if err != nil {
			return err
		}
		clean, err := s.HTTPMessage(slices.Concat(raw.head, raw.body))
		if err != nil {
			return fmt.Errorf("it can't be scrubbed: %w", err)
		}
		if !bytes.Contains(clean.Bytes(), []byte("\r\n\r\n")) {
			return errors.New("it is no message once it is scrubbed")
		}
		message := raw.message(bytes.Clone(clean.Bytes()), m.Cut)
		if m == &x.Request {
			made.Request = message
			continue
		}
		made.Response = message
		if int(message.Body.Size()) == len(raw.body) {
			parts = raw.pieces
		}
	}
	made.Authority = made.Request.Get("Host")
	if made.Authority == "" {
		made.Authority = x.Authority
	}
	conn, err := w.conn(x, s, known, timed)
	if err != nil {
		return err
	}
	for _, what := range notes {
		w.notes[what]++
	}
	w.exchanges = append(w.exchanges, made)
	began, answered, ended := w.out.Began, w.out.Began, w.out.Began
	if timed {
		began = x.Began
		answered = latest(began, x.Answered)
		ended = latest(answered, x.Ended)
	}
	add := func(at time.Time, kind, dir string, off, n int64) {
		e := &event{conn: conn, x: made}
		e.Kind, e.Dir, e.Off, e.Len, e.Time = kind, dir, off, n, w.time(at)
		w.events = append(w.events, e)
	}
	add(began, cassette.Request, "out", 0, 0)
	if n := made.Request.Body.Size(); n > 0 {
		add(began, cassette.ReqData, "out", 0, n)
	}
	add(began, cassette.ReqEnd, "out", 0, 0)
	if made.Response == nil {
		return nil
	}
	add(answered, cassette.Response, "in", 0, 0)
	if n := made.Response.Body.Size(); n > 0 && len(parts) == 0 {
		add(answered, cassette.RespData, "in", 0, n)
	}
	for _, p := range parts {
		at := answered
		if timed {
			at = latest(answered, x.Began.Add(p.At))
		}
		add(at, cassette.RespData, "in", p.Off, p.Len)
		ended = latest(ended, at)
	}
	add(ended, cassette.RespEnd, "in", 0, 0)
	return nil
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (w *writer) time(t time.Time) cassette.Time {
	return cassette.Time{Wall: t.UnixNano(), Mono: monotonic + t.Sub(w.out.Began).Nanoseconds()}
}

// conn is the connection of an exchange: one for each that the tape names, or
// else one for each server.
func (w *writer) conn(x *Exchange, s *scrub.Scrubber, known netip.Addr, timed bool) (*cassette.Conn, error) {
	host, port, err := hostPort(x.Scheme, x.Authority)
	if err != nil {
		return nil, err
	}
	if string(s.Text([]byte(host)).Bytes()) != host {
		if _, err := netip.ParseAddr(host); err != nil {
			return nil, errors.New("its host is private by these rules, and could not be resolved at replay")
		}
	}
	key := fmt.Sprint(x.Scheme, "\n", host, ":", port, "\n", x.Conn)
	if c := w.conns[key]; c != nil {
		return c, nil
	}
	at := w.out.Began
	if timed {
		at = x.Began
	}
	for _, a := range w.hosts.of(host, known) {
		c := &cassette.Conn{Peer: netip.AddrPortFrom(a, port), Proto: "http/1.1", Name: host, TLS: x.Scheme == "https"}
		if c.TLS {
			c.ALPN = "http/1.1"
		}
		if w.conns[key] == nil {
			w.conns[key] = c
		}
		e := &event{conn: c}
		e.Kind, e.Dir, e.Time = cassette.ConnOpen, "out", w.time(at)
		w.events = append(w.events, e)
	}
	return w.conns[key], nil
}

// write gives everything its number, and hands it over.
func (w *writer) write(dir string) (*Written, error) {
	slices.SortStableFunc(w.events, func(a, b *event) int { return cmp.Compare(a.Time.Wall, b.Time.Wall) })
	out, err := cassette.Create(dir, w.time(w.out.Began), nil)
	if err != nil {
		return nil, err
	}
	conns, exchanges := 0, 0
	for i, e := range w.events {
		e.Seq = uint64(i + 1)
		switch {
		case e.x == nil:
			conns++
			e.conn.ID = conns
			if err := out.Conn(e.conn); err != nil {
				return nil, errors.Join(err, out.Close())
			}
			e.ID = fmt.Sprintf("conn:%d", conns)
		case e.Kind == cassette.Request:
			exchanges++
			e.x.ID, e.x.Conn = exchanges, e.conn.ID
		}
		if e.x != nil {
			e.ID = fmt.Sprintf("http:%d", e.x.ID)
		}
		e.Conn = e.conn.ID
		if err := out.Event(e.Event); err != nil {
			return nil, errors.Join(err, out.Close())
		}
	}
	slices.SortFunc(w.exchanges, func(a, b *cassette.Exchange) int { return a.ID - b.ID })
	for _, x := range w.exchanges {
		err = errors.Join(err, out.Exchange(x))
	}
	for _, q := range w.hosts.queries() {
		err = errors.Join(err, out.Query(q))
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return nil, err
	}
	w.out.Files = out.Files()
	return w.finish(), nil
}

func (w *writer) finish() *Written {
	w.out.Exchanges, w.out.Hosts = len(w.exchanges), len(w.hosts.byName)
	for what, n := range w.notes {
		w.out.Notes = append(w.out.Notes, Note{what, n})
	}
	sortNotes(w.out.Notes)
	return w.out
}
