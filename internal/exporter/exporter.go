// Package exporter writes recorded inputs in formats that other tools read:
// [HAR] and [WARC]. Neither can carry all of a recording; what is lost is counted.
package exporter

import (
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
)

// Source is what is exported, and by whom.
type Source struct {
	Cassette *cassette.Cassette
	Bundle   string // its id, of which the ids of records are made
	Version  string // of tapedeck
}

// Report is what was written, and what could not be.
type Report struct {
	Exchanges int    `json:"exchanges"`
	Lost      []Loss `json:"lost"`
}

// Loss is something that a format could not carry.
type Loss struct {
	What  string `json:"what"`
	Count int    `json:"count"`
}

// losses counts them, in the order in which they were met first.
type losses []Loss

func (l *losses) add(what string, n int) {
	if n == 0 {
		return
	}
	i := slices.IndexFunc(*l, func(x Loss) bool { return x.What == what })
	if i < 0 {
		*l = append(*l, Loss{what, n})
		return
	}
	(*l)[i].Count += n
}

// common counts what neither format has a place for.
func (l *losses) common(c *cassette.Cassette) {
	used := make([]bool, len(c.Conns)+1)
	for _, x := range c.Exchanges {
		used[x.Conn] = true
		for _, m := range []*cassette.Message{x.Request, x.Response} {
			if m != nil {
				l.add("heads of 1xx answers", len(m.Early))
			}
		}
	}
	for _, s := range c.Streams {
		used[s.Conn] = true
	}
	l.add("streams of bytes, such as those of WebSockets and of other protocols", len(c.Streams))
	none := 0
	for _, conn := range c.Conns {
		if !used[conn.ID] && conn.Proto != "dns" {
			none++
		}
	}
	l.add("connections that were refused, or over which nothing went", none)
	l.add("events in the one order of all connections", len(c.Events))
	if c.Seed != nil {
		l.add("seed of the program's randomness", 1)
	}
}

// moments are when the parts of an exchange were.
type moments struct {
	asked, sent, answered, ended time.Time // zero if unknown
	parts                        []cassette.Event
}

// timeline are the moments of all exchanges and queries, by id.
func timeline(c *cassette.Cassette) map[string]*moments {
	all := map[string]*moments{}
	for _, e := range c.Events {
		m := all[e.ID]
		if m == nil {
			m = &moments{}
			all[e.ID] = m
		}
		at := time.Unix(0, e.Time.Wall).UTC()
		switch e.Kind {
		case cassette.Request, cassette.Question:
			m.asked = at
		case cassette.ReqEnd:
			m.sent = at
		case cassette.Response:
			m.answered = at
		case cassette.RespData:
			m.parts = append(m.parts, e)
		case cassette.RespEnd, cassette.Answer:
			m.ended = at
		}
	}
	return all
}

// of are the moments of an id, or those of the recording where no event tells.
func of(all map[string]*moments, id string, c *cassette.Cassette) *moments {
	if m := all[id]; m != nil && !m.asked.IsZero() {
		return m
	}
	return &moments{asked: time.Unix(0, c.Began.Wall).UTC()}
}

func incoming(c *cassette.Cassette, x *cassette.Exchange) bool {
	return x.Conn > 0 && c.Conns[x.Conn-1].Incoming
}

// maxBody is how large a body may be, in bytes, that is held in memory.
const maxBody = 64 << 20

// read is a body as it is on the wire; ok is false if it is too large.
func read(m *cassette.Message) (b []byte, ok bool, err error) {
	if m.Body.Size() > maxBody {
		return nil, false, nil
	}
	r, err := m.Body.Open()
	if err != nil {
		return nil, false, err
	}
	defer r.Close()
	b, err = io.ReadAll(io.LimitReader(r, maxBody))
	return b, err == nil, err
}

func chunked(m *cassette.Message) bool {
	te := strings.ToLower(m.Get("Transfer-Encoding"))
	return strings.TrimSpace(te[strings.LastIndexByte(te, ',')+1:]) == "chunked"
}
