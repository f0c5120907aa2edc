package play

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
)

// answer sends a recorded answer as it came, frame by frame.
func (k *conn2) answer(s *stream2, x *cassette.Exchange, q *sequence) {
	p := k.p
	defer p.skipAnswer(q)
	m := x.Response
	_ = p.gate.Wait(background, q.answer)
	switch what := p.whatif[x.ID]; what.Kind {
	case "reset":
		k.reset(s, http2.ErrCodeInternal)
		return
	case "timeout":
		return
	case "slow":
		time.Sleep(what.Delay)
	case "status":
		k.head(s, strconv.Itoa(what.Status), nil, true)
		return
	}
	if m == nil {
		k.reset(s, http2.ErrCodeInternal)
		return
	}
	for _, e := range m.Early {
		k.head(s, strconv.Itoa((&cassette.Message{Head: e}).Status()), afterLine(e), false)
	}
	body, err := m.Decoded() // one that came over HTTP/1 without its chunks
	if err != nil {
		return
	}
	defer body.Close()
	whole := m.Truncated == "" && x.End != "reset"
	empty := m.Body.Size() == 0 && len(m.Trailer) == 0 && whole
	last := q.answer
	ok := k.head(s, strconv.Itoa(m.Status()), afterLine(fitted(m)), empty && len(q.data) == 0 && q.end == last+1)
	p.gate.Done(q.answer)
	if !ok || empty && len(q.data) == 0 && q.end == last+1 {
		return
	}
	if isHTTP2(m) {
		for _, e := range q.data {
			if e.Seq != last+1 {
				_ = p.gate.Wait(background, e.Seq)
			}
			b := make([]byte, e.Len)
			if n, err := io.ReadFull(body, b); err != nil {
				b = b[:n]
			}
			if !k.data(s, b, false) {
				return
			}
			p.gate.Done(e.Seq)
			last = e.Seq
		}
	}
	if !k.rest(s, body) {
		return
	}
	_ = p.gate.Wait(background, q.end)
	switch {
	case !whole && x.End == "reset":
		k.reset(s, http2.ErrCodeInternal)
	case !whole:
		// Who asked did not want the rest: it will say so again.
	case len(m.Trailer) > 0:
		k.head(s, "", m.Trailer, true)
	default:
		k.data(s, nil, true)
	}
	p.gate.Done(q.end)
}

// rest sends what no event tells of.
func (k *conn2) rest(s *stream2, body io.Reader) bool {
	buf := make([]byte, 64<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 && !k.data(s, buf[:n], false) {
			return false
		}
		if err != nil {
			return true
		}
	}
}

func afterLine(head []byte) []byte {
	_, fields, _ := bytes.Cut(head, []byte("\r\n"))
	return fields
}

func isHTTP2(m *cassette.Message) bool { return bytes.HasPrefix(m.Head, []byte("HTTP/2")) }

// asHTTP1 is an answer of HTTP/2 as HTTP/1 has it, for a program that speaks that
// to what was HTTP/2 when it was recorded.
func asHTTP1(m *cassette.Message) *cassette.Message {
	if !isHTTP2(m) {
		return m
	}
	_, rest, _ := strings.Cut(string(m.Head), " ")
	head := "HTTP/1.1 " + rest
	if m.Get("Content-Length") != "" || m.Status() == 204 || m.Status() == 304 {
		return &cassette.Message{Head: []byte(head), Body: m.Body, Truncated: m.Truncated}
	}
	r, err := m.Body.Open()
	if err != nil {
		return m
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return m
	}
	var out bytes.Buffer
	if len(b) > 0 {
		out.WriteString(strconv.FormatInt(int64(len(b)), 16) + "\r\n" + string(b) + "\r\n")
	}
	out.WriteString("0\r\n" + string(m.Trailer) + "\r\n")
	return &cassette.Message{Head: []byte(strings.TrimSuffix(head, "\r\n") + "transfer-encoding: chunked\r\n\r\n"), Body: cassette.Bytes(out.Bytes()), Truncated: m.Truncated}
}
