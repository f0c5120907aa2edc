package http

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
)

const (
	maxHead = 1 << 20 // bytes of a head
	maxLine = 64 << 10
)

var errNotHTTP = errors.New("no HTTP/1 message")

// message is an HTTP/1 message on its way.
type message struct {
	head      []byte
	early     [][]byte // heads of 1xx answers before it
	body      []byte   // as on the wire, as far as it is here
	begin     moment   // of its first byte
	end       moment   // of its last one
	pieces    []piece
	mode      int
	left      int64 // of the body, or of the chunk
	state     int   // of the chunked coding
	truncated string
	streamed  int64 // bytes of the body that are in the spool already
	part      int
	fields    string // of HTTP/2: those that follow the body
	rechunk   bool   // the body is held without its chunks, which are made anew
	trailer   []byte // then: what follows the last chunk
}

// piece is bytes of a body that came at one time.
type piece struct {
	off, len int64
	at       moment
}

// How a body ends.
const (
	noBody = iota
	byLength
	byChunks
	byClose
)

// States of the chunked coding.
const (
	chunkSize = iota
	chunkData
	chunkEnd
	chunkTrailer
)

// parser takes messages off one side of a connection.
type parser struct {
	request bool
	msg     *message
	early   [][]byte
}

// next goes on with the message that is under way. It returns it when it is
// complete, and nil when more bytes are needed. method is of the request that is
// answered.
func (p *parser) next(h *half, method func() string) (*message, error) {
	if p.msg == nil {
		for p.request && len(h.buf) > 0 && (h.buf[0] == '\r' || h.buf[0] == '\n') { // between requests
			h.take(1)
		}
		end := bytes.Index(h.buf, []byte("\r\n\r\n"))
		if end < 0 {
			if len(h.buf) > maxHead {
				return nil, errNotHTTP
			}
			return nil, nil
		}
		m := &message{begin: h.at(h.start), end: h.at(h.start + int64(end) + 3)}
		if err := m.frame(h.buf[:end+4], p.request, method); err != nil {
			return nil, err
		}
		m.head = bytes.Clone(h.take(end + 4))
		if status := m.status(); !p.request && status >= 100 && status < 200 && status != 101 {
			p.early = append(p.early, m.head)
			return p.next(h, method)
		}
		m.early, p.early = p.early, nil
		p.msg = m
	}
	m := p.msg
	done, err := m.take(h)
	if err != nil {
		return nil, err
	}
	if !done && (h.fin || h.reset) {
		done = true
		if m.mode != byClose || h.reset {
			m.truncated = "disconnect"
		}
	}
	if !done {
		return nil, nil
	}
	p.msg = nil
	return m, nil
}

func (m *message) status() int {
	if !bytes.HasPrefix(m.head, []byte("HTTP/")) {
		return 0
	}
	f := strings.Fields(string(m.head[:min(len(m.head), 40)]))
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(f[1])
	return n
}

// frame finds out how the body ends.
func (m *message) frame(head []byte, request bool, method func() string) error {
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	if request && !bytes.Contains(line, []byte(" HTTP/1.")) || !request && !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return errNotHTTP
	}
	length, chunked := int64(-1), false
	for name, value := range cassette.Fields(head) {
		switch strings.ToLower(name) {
		case "content-length":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 || length >= 0 && n != length {
				return errNotHTTP
			}
			length = n
		case "transfer-encoding":
			chunked = strings.EqualFold(value[strings.LastIndexByte(value, ',')+1:], "chunked") || strings.HasSuffix(strings.ToLower(value), " chunked")
		}
	}
	if !request {
		m.head = head
		status := m.status()
		m.head = nil
		asked := method()
		if asked == "HEAD" || status < 200 || status == 204 || status == 304 || asked == "CONNECT" && status < 300 {
			return nil
		}
	}
	switch {
	case chunked:
		m.mode = byChunks
	case length >= 0:
		m.mode, m.left = byLength, length
	case !request:
		m.mode = byClose
	}
	return nil
}

// take moves what belongs to the body, and tells whether it is whole.
func (m *message) take(h *half) (bool, error) {
	switch m.mode {
	case noBody:
		return true, nil
	case byLength:
		m.move(h, min(m.left, int64(len(h.buf))))
		return m.left == 0, nil
	case byClose:
		m.move(h, int64(len(h.buf)))
		return h.fin || h.reset, nil
	}
	for len(h.buf) > 0 {
		if m.state == chunkData {
			m.move(h, min(m.left, int64(len(h.buf))))
			if m.left == 0 {
				m.state = chunkEnd
			}
			continue
		}
		end := bytes.IndexByte(h.buf, '\n')
		if end < 0 {
			if len(h.buf) > maxLine {
				return false, errNotHTTP
			}
			return false, nil
		}
		line := strings.TrimRight(string(h.buf[:end]), "\r")
		state := m.state
		move := m.move
		if m.rechunk {
			move = func(h *half, n int64) {
				if line := h.take(int(n)); state == chunkTrailer {
					m.trailer = append(m.trailer, line...)
				}
			}
		}
		if state == chunkSize {
			size, _, _ := strings.Cut(line, ";")
			n, err := strconv.ParseInt(strings.TrimSpace(size), 16, 64)
			if err != nil || n < 0 {
				return false, errNotHTTP
			}
			m.state = chunkData
			if n == 0 {
				m.state = chunkTrailer
			}
			move(h, int64(end+1))
			m.left = n
			continue
		}
		move(h, int64(end+1))
		switch {
		case state == chunkEnd && line == "":
			m.state = chunkSize
		case state == chunkEnd:
			return false, errNotHTTP
		case line == "": // after the trailers
			return true, nil
		}
	}
	return false, nil
}

// move takes n bytes of the body, piece by piece as they came.
func (m *message) move(h *half, n int64) {
	if n == 0 {
		return
	}
	for left := n; left > 0; {
		at := h.at(h.start)
		k := left
		if len(h.marks) > 1 {
			if next := h.marks[1].off - h.start; next > 0 && next < k {
				k = next
			}
		}
		off := m.streamed + int64(len(m.body))
		if m.rechunk {
			m.pieces = nil // their places are others now
		} else if last := len(m.pieces) - 1; last >= 0 && m.pieces[last].at.tick == at.tick {
			m.pieces[last].len += k
		} else {
			m.pieces = append(m.pieces, piece{off, k, at})
		}
		m.body = append(m.body, h.take(int(k))...)
		m.end = at
		left -= k
	}
	m.left -= n
}
