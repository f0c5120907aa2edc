package http

import (
	"io"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
)

// Reader reads HTTP/1 messages from a live connection, as they are on the wire.
type Reader struct {
	src      io.Reader
	h        half
	p        parser
	Method   string // of the request that the next message answers
	Continue func() // is called once for a request that waits for a 100
	buf      []byte
}

// NewReader reads requests, or answers to them.
func NewReader(src io.Reader, requests bool) *Reader {
	return &Reader{src: src, p: parser{request: requests}, buf: make([]byte, 32<<10)}
}

// Next returns the next message, with its whole body in memory; io.EOF where the
// connection ends between messages.
func (r *Reader) Next() (*cassette.Message, error) {
	asked := false
	for {
		m, err := r.p.next(&r.h, func() string { return r.Method })
		if err != nil {
			return nil, err
		}
		if m != nil {
			return &cassette.Message{Early: m.early, Head: m.head, Body: cassette.Bytes(m.body), Truncated: m.truncated}, nil
		}
		if r.h.fin {
			if len(r.h.buf) > 0 {
				return nil, io.ErrUnexpectedEOF
			}
			return nil, io.EOF
		}
		if r.p.msg != nil && !asked && r.Continue != nil {
			asked = true
			for name, value := range cassette.Fields(r.p.msg.head) {
				if strings.EqualFold(name, "expect") && strings.EqualFold(value, "100-continue") {
					r.Continue()
				}
			}
		}
		n, err := r.src.Read(r.buf)
		if n > 0 {
			r.h.add(r.buf[:n], moment{})
			r.h.marks = r.h.marks[:1]
		}
		if err == io.EOF {
			r.h.fin = true
		} else if err != nil {
			if n == 0 {
				return nil, err
			}
		}
	}
}

// Rest is what was read beyond the last message.
func (r *Reader) Rest() []byte { return r.h.buf }
