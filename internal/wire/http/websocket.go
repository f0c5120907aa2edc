package http

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
)

// Frame is a frame of a WebSocket, or a whole message that came compressed.
type Frame struct {
	Fin     bool
	Op      byte // 1 text, 2 binary, 0 more of either, 8 close, 9 ping, 10 pong
	Payload []byte
}

// Kind names the frame's opcode.
func (f Frame) Kind() string {
	switch f.Op {
	case 0:
		return "continuation"
	case 1:
		return "text"
	case 2:
		return "binary"
	case 8:
		return "close"
	case 9:
		return "ping"
	case 10:
		return "pong"
	}
	return "unknown"
}

// Append writes the frame as it is on the wire, behind dst. Clients mask.
func (f Frame) Append(dst []byte, mask bool) []byte {
	first, bit := f.Op&15, byte(0)
	if f.Fin {
		first |= 0x80
	}
	if mask {
		bit = 0x80
	}
	switch n := len(f.Payload); {
	case n < 126:
		dst = append(dst, first, bit|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, first, bit|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, first, bit|127), uint64(n))
	}
	if mask {
		dst = append(dst, 0, 0, 0, 0) // which leaves the payload as it is
	}
	return append(dst, f.Payload...)
}

const (
	maxPayload = 16 << 20 // of a frame, and of a message that came compressed
	maxPast    = 32 << 10 // of a sender's output, which its compressor refers to
)

var errNotWebSocket = errors.New("no WebSocket frame")

// WebSocket takes frames off what one side of a WebSocket sends: without mask,
// and without compression.
type WebSocket struct {
	part   []byte // of a compressed message
	op     byte   // its
	packed bool
	past   []byte
}

// Next takes the first frame off b and returns how many bytes it is; 0 if b holds
// none to its end. A frame that is only a part of a compressed message is not
// returned by itself: f is nil then.
func (w *WebSocket) Next(b []byte) (f *Frame, n int, err error) {
	if len(b) < 2 {
		return nil, 0, nil
	}
	size, n := uint64(b[1]&127), 2
	switch {
	case size == 126 && len(b) >= 4:
		size, n = uint64(binary.BigEndian.Uint16(b[2:])), 4
	case size == 127 && len(b) >= 10:
		size, n = binary.BigEndian.Uint64(b[2:]), 10
	case size >= 126:
		return nil, 0, nil
	}
	var mask [4]byte
	if b[1]&0x80 != 0 {
		if len(b) < n+4 {
			return nil, 0, nil
		}
		copy(mask[:], b[n:])
		n += 4
	}
	op, fin := b[0]&15, b[0]&0x80 != 0
	if size > maxPayload || b[0]&0x30 != 0 || (Frame{Op: op}).Kind() == "unknown" {
		return nil, 0, errNotWebSocket
	}
	if uint64(len(b)-n) < size {
		return nil, 0, nil
	}
	p := bytes.Clone(b[n : n+int(size)])
	for i := range p {
		p[i] ^= mask[i%4]
	}
	n += int(size)
	if b[0]&0x40 != 0 {
		if op == 0 || op > 2 {
			return nil, 0, errNotWebSocket
		}
		w.packed, w.op, w.part = true, op, nil
	}
	if !w.packed || op > 2 {
		return &Frame{fin, op, p}, n, nil
	}
	if w.part = append(w.part, p...); len(w.part) > maxPayload {
		return nil, 0, errNotWebSocket
	}
	if !fin {
		return nil, n, nil
	}
	plain, err := w.inflate()
	return &Frame{true, w.op, plain}, n, err
}

func (w *WebSocket) inflate() ([]byte, error) {
	// What the sender left out, and an empty last block for the reader.
	r := flate.NewReaderDict(bytes.NewReader(append(w.part, 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff)), w.past)
	plain, err := io.ReadAll(io.LimitReader(r, maxPayload+1))
	if err != nil || len(plain) > maxPayload {
		return nil, errNotWebSocket
	}
	w.past = append(w.past, plain...)
	w.past = bytes.Clone(w.past[max(0, len(w.past)-maxPast):])
	w.packed, w.part = false, nil
	return plain, nil
}

// IsWebSocket tells whether an answer begins a WebSocket.
func IsWebSocket(head []byte) bool {
	m := cassette.Message{Head: head}
	return m.Status() == 101 && strings.EqualFold(m.Get("Upgrade"), "websocket")
}

// webSocket spools what frames there are, in the order in which they came. It
// tells whether the connection is one still.
func (r *Recorder) webSocket(c *conn) bool {
	for {
		did := false
		first := 0
		if a, b := &c.sides[0], &c.sides[1]; len(a.buf) == 0 || len(b.buf) > 0 && b.at(b.start).tick < a.at(a.start).tick {
			first = 1
		}
		for _, dir := range []int{first, 1 - first} {
			h := &c.sides[dir]
			f, n, err := c.ws[dir].Next(h.buf)
			if err != nil {
				c.ws = nil
				return false
			}
			if n == 0 {
				continue
			}
			at := h.at(h.start + int64(n) - 1)
			h.take(n)
			did = true
			if f == nil {
				break
			}
			clean, err := r.scrub.HTTPBody("", "", f.Payload)
			if err != nil {
				clean = r.scrub.Text(f.Payload)
			}
			r.append(kindData, append(when(at), c.info.ID, uint64(dir), 1+uint64(f.Op)<<1|bit(f.Fin)<<8), clean)
			break
		}
		if !did {
			return true
		}
	}
}
