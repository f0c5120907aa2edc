package http

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tapedeck-dev/tapedeck/internal/wire"
)

// Limits of what is decoded of HTTP/2. Beyond them a connection is bytes.
const (
	maxFrame  = 1<<24 - 1 // the protocol's own
	maxTable  = 1 << 20   // of a header compression table
	frameHead = 9
)

var errNotHTTP2 = errors.New("no HTTP/2 frame")

// frames follows an HTTP/2 connection.
type frames struct {
	sides   [2]frameSide
	streams map[uint32]*stream2
	pushed  map[uint32]bool // what nobody asked for
}

type frameSide struct {
	greeted bool // the preface is over
	src     *bytes.Reader
	framer  *http2.Framer
	table   *hpack.Decoder
	block   []byte // of header fields, until it ends
	promise bool   // the block is of a promised stream
	began   moment
	ended   bool // the stream ends with the block
}

// stream2 is an exchange on its way.
type stream2 struct {
	x     *exchange
	early [][]byte
	ended [2]bool // by side
}

func newFrames(request wire.Dir) *frames {
	f := &frames{streams: map[uint32]*stream2{}, pushed: map[uint32]bool{}}
	for i := range f.sides {
		s := &f.sides[i]
		s.greeted = wire.Dir(i) != request
		s.src = bytes.NewReader(nil)
		s.framer = http2.NewFramer(nil, s.src)
		s.framer.SetMaxReadFrameSize(maxFrame)
		s.framer.SetReuseFrames()
		s.table = hpack.NewDecoder(4096, nil)
		s.table.SetAllowedMaxDynamicTableSize(maxTable)
	}
	return f
}

// frame takes one frame of one side; it tells whether there was a whole one.
func (r *Recorder) frame(c *conn, dir wire.Dir) (bool, error) {
	h, s := &c.sides[dir], &c.frames.sides[dir]
	if !s.greeted {
		if len(h.buf) < len(http2.ClientPreface) {
			return false, nil
		}
		if string(h.take(len(http2.ClientPreface))) != http2.ClientPreface {
			return false, errNotHTTP2
		}
		s.greeted = true
	}
	if len(h.buf) < frameHead {
		return false, nil
	}
	n := frameHead + (int(h.buf[0])<<16 | int(h.buf[1])<<8 | int(h.buf[2]))
	if len(h.buf) < n {
		return false, nil
	}
	first, last := h.at(h.start), h.at(h.start+int64(n)-1)
	s.src.Reset(h.take(n))
	f, err := s.framer.ReadFrame()
	if err != nil {
		var one http2.StreamError
		if errors.As(err, &one) {
			return true, nil // its peer ends that stream
		}
		return false, err
	}
	switch f := f.(type) {
	case *http2.HeadersFrame:
		s.began, s.ended, s.promise = first, f.StreamEnded(), false
		s.block = append(s.block[:0], f.HeaderBlockFragment()...)
		if f.HeadersEnded() {
			return true, r.fields(c, dir, f.StreamID, last)
		}
	case *http2.PushPromiseFrame:
		s.promise = true
		c.frames.pushed[f.PromiseID] = true
		s.block = append(s.block[:0], f.HeaderBlockFragment()...)
		if f.HeadersEnded() {
			return true, r.fields(c, dir, f.StreamID, last)
		}
	case *http2.ContinuationFrame:
		if s.block = append(s.block, f.HeaderBlockFragment()...); len(s.block) > maxHead {
			return false, errNotHTTP2
		}
		if f.HeadersEnded() {
			return true, r.fields(c, dir, f.StreamID, last)
		}
	case *http2.DataFrame:
		r.payload(c, dir, f.StreamID, f.Data(), last, f.StreamEnded())
	case *http2.RSTStreamFrame:
		r.resetStream(c, dir, f.StreamID, f.ErrCode, last)
	}
	return true, nil
}

// fields takes a whole block of header fields.
func (r *Recorder) fields(c *conn, dir wire.Dir, id uint32, at moment) error {
	s := &c.frames.sides[dir]
	list, err := s.table.DecodeFull(s.block)
	if err != nil || s.promise || c.frames.pushed[id] {
		return err
	}
	st := c.frames.streams[id]
	if dir == c.request {
		if st == nil {
			head, err := RequestHead(list)
			if err != nil {
				return err
			}
			st = &stream2{x: &exchange{request: &message{head: head, mode: byClose, begin: s.began, end: at}}}
			c.frames.streams[id] = st
		} else {
			st.x.request.fields, st.x.request.end = lines(list), at
		}
	} else if st != nil {
		switch m := st.x.response; {
		case m != nil:
			m.fields, m.end = lines(list), at
		default:
			status, rest := pseudo(list, ":status")
			head := fmt.Appendf(nil, "HTTP/2 %s\r\n%s\r\n", status, lines(rest))
			if len(status) == 3 && status[0] == '1' {
				st.early = append(st.early, head)
				return nil
			}
			st.x.response = &message{head: head, early: st.early, mode: byClose, begin: s.began, end: at}
		}
	}
	if st != nil && s.ended {
		r.endSide(c, dir, id, st)
	}
	return nil
}

// RequestHead writes the fields of an HTTP/2 request in HTTP/1's form, as the
// cassette has it. The first is the authority, in a spelling that fields of HTTP/2
// can't have.
func RequestHead(list []hpack.HeaderField) ([]byte, error) {
	method, list := pseudo(list, ":method")
	target, list := pseudo(list, ":path")
	authority, list := pseudo(list, ":authority")
	_, list = pseudo(list, ":scheme")
	if target == "" {
		target = authority // of CONNECT
	}
	if method == "" || strings.ContainsAny(method+target+authority, " \r\n") {
		return nil, errNotHTTP2
	}
	head := method + " " + target + " HTTP/2\r\n"
	if authority != "" {
		head += "Host: " + authority + "\r\n"
	}
	return []byte(head + lines(list) + "\r\n"), nil
}

func pseudo(list []hpack.HeaderField, name string) (string, []hpack.HeaderField) {
	for i, f := range list {
		if f.Name == name {
			return f.Value, slices.Delete(slices.Clone(list), i, i+1)
		}
	}
	return "", list
}

var noBreaks = strings.NewReplacer("\r", " ", "\n", " ")

// lines are fields in their order, each with its line's end.
func lines(list []hpack.HeaderField) string {
	var b strings.Builder
	for _, f := range list {
		if f.IsPseudo() {
			continue
		}
		b.WriteString(noBreaks.Replace(f.Name) + ": " + noBreaks.Replace(f.Value) + "\r\n")
	}
	return b.String()
}

func (st *stream2) side(c *conn, dir wire.Dir) *message {
	if dir == c.request {
		return st.x.request
	}
	return st.x.response
}

func (r *Recorder) payload(c *conn, dir wire.Dir, id uint32, b []byte, at moment, end bool) {
	st := c.frames.streams[id]
	if st == nil {
		return
	}
	m := st.side(c, dir)
	if m == nil {
		return
	}
	if len(b) > 0 {
		m.pieces = append(m.pieces, piece{m.streamed + int64(len(m.body)), int64(len(b)), at})
		m.body = append(m.body, b...)
		r.stream(c, m)
	}
	m.end = at
	if end {
		r.endSide(c, dir, id, st)
	}
}

// endSide ends one side of a stream, and the exchange with the other.
func (r *Recorder) endSide(c *conn, dir wire.Dir, id uint32, st *stream2) {
	st.ended[dir] = true
	if st.ended[0] && st.ended[1] {
		r.exchange(c, st.x)
		delete(c.frames.streams, id)
	}
}

func (r *Recorder) resetStream(c *conn, dir wire.Dir, id uint32, code http2.ErrCode, at moment) {
	st := c.frames.streams[id]
	if st == nil {
		return
	}
	answered := st.ended[1-c.request]
	switch {
	case !answered && dir != c.request:
		st.x.end = "reset"
	case !answered:
		st.x.end = "closed" // who asked does not want the rest
	}
	r.endStream(c, id, st)
}

// endStream writes an exchange of which a part did not come.
func (r *Recorder) endStream(c *conn, id uint32, st *stream2) {
	for dir := range st.ended {
		if m := st.side(c, wire.Dir(dir)); m != nil && !st.ended[dir] {
			m.truncated = "disconnect"
		}
	}
	r.exchange(c, st.x)
	delete(c.frames.streams, id)
}

// endFrames writes what a connection's end left open.
func (r *Recorder) endFrames(c *conn, end string) {
	if c.frames == nil {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(c.frames.streams)) {
		st := c.frames.streams[id]
		st.x.end = end
		r.endStream(c, id, st)
	}
}

// allFrames goes as far as there are whole frames.
func (r *Recorder) allFrames(c *conn) {
	for _, dir := range []wire.Dir{c.request, 1 - c.request} {
		for {
			ok, err := r.frame(c, dir)
			if err != nil {
				r.endFrames(c, "closed")
				c.proto = "tcp" // what is left goes as it is
				return
			}
			if !ok {
				break
			}
		}
	}
}
