package play

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/wire/http"
)

// webSocket reads what the program sends in the form of the cassette: frames
// without mask and compression, scrubbed. What it writes is masked if the
// program is the server.
type webSocket struct {
	c     net.Conn
	scrub func([]byte) []byte
	mask  bool
	in    http.WebSocket
	raw   []byte // as it came
	plain []byte // as it is compared
}

func (w *webSocket) Read(b []byte) (int, error) {
	for len(w.plain) == 0 {
		f, n, err := w.in.Next(w.raw)
		if err != nil {
			return 0, err
		}
		w.raw = w.raw[n:]
		if f != nil {
			if w.scrub != nil {
				f.Payload = w.scrub(f.Payload)
			}
			w.plain = f.Append(nil, false)
		}
		if n > 0 {
			continue
		}
		buf := make([]byte, 32<<10)
		n, err = w.c.Read(buf)
		w.raw = append(w.raw, buf[:n]...)
		if n == 0 && err != nil {
			return 0, err
		}
	}
	n := copy(b, w.plain)
	w.plain = w.plain[n:]
	return n, nil
}

// Write sends whole frames.
func (w *webSocket) Write(b []byte) (int, error) {
	if !w.mask {
		return w.c.Write(b)
	}
	var plain http.WebSocket
	var out []byte
	for rest := b; len(rest) > 0; {
		f, n, err := plain.Next(rest)
		if err != nil {
			return 0, err
		}
		if n == 0 || f == nil {
			return 0, io.ErrUnexpectedEOF
		}
		out, rest = f.Append(out, true), rest[n:]
	}
	if _, err := w.c.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// acceptedBy is an upgrade that answers the key of a live request, which may be
// another one than the recorded.
func acceptedBy(key string, x *cassette.Exchange) *cassette.Exchange {
	if x.Response == nil || !http.IsWebSocket(x.Response.Head) {
		return x
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455, 4.2.2
	var head []byte
	for line := range bytes.SplitAfterSeq(x.Response.Head, []byte("\r\n")) {
		if name, _, ok := strings.Cut(string(line), ":"); ok && strings.EqualFold(name, "Sec-WebSocket-Accept") {
			line = []byte(name + ": " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n")
		}
		head = append(head, line...)
	}
	y, m := *x, *x.Response
	m.Head, y.Response = head, &m
	return &y
}
