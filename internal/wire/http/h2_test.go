package http

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tapedeck-dev/tapedeck/internal/wire"
)

// side2 writes what one side of an HTTP/2 connection sends.
type side2 struct {
	buf   bytes.Buffer
	f     *http2.Framer
	block bytes.Buffer
	table *hpack.Encoder
}

func newSide2() *side2 {
	s := &side2{}
	s.f = http2.NewFramer(&s.buf, nil)
	s.table = hpack.NewEncoder(&s.block)
	return s
}

func (s *side2) head(id uint32, end bool, pairs ...string) {
	s.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		_ = s.table.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	b := s.block.Bytes() // in two frames
	_ = s.f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b[:1], EndStream: end, PadLength: 3})
	_ = s.f.WriteContinuation(id, true, b[1:])
}

func (s *side2) flush() string {
	defer s.buf.Reset()
	return s.buf.String()
}

// talk2 are two calls at once on one connection: the second is answered first,
// with trailers and a head before the head; the first is reset.
func talk2() []said {
	q, a := newSide2(), newSide2()
	q.buf.WriteString(http2.ClientPreface)
	_ = q.f.WriteSettings()
	q.head(1, true, ":method", "GET", ":scheme", "https", ":path", "/one?mail=ada.lovelace@example.com", ":authority", "api.test", "b", "1", "a", "2", "b", "3")
	q.head(3, false, ":method", "POST", ":scheme", "https", ":path", "/two", ":authority", "api.test")
	asked := q.flush()
	_ = q.f.WriteData(3, false, []byte("he"))
	_ = q.f.WriteDataPadded(3, true, []byte("llo"), []byte{0, 0})
	_ = a.f.WriteSettings()
	a.head(3, false, ":status", "103", "link", "x")
	a.head(3, false, ":status", "200", "content-type", "text/plain")
	_ = a.f.WriteData(3, false, []byte("world"))
	a.head(3, true, "grpc-status", "0", "mail", "ada.lovelace@example.com")
	second := a.flush()
	a.head(1, false, ":status", "200")
	_ = a.f.WriteData(1, false, []byte("part"))
	_ = a.f.WriteRSTStream(1, http2.ErrCodeInternal)
	return []said{{wire.Out, asked}, {wire.Out, q.flush()}, {wire.In, second}, {wire.In, a.flush()}}
}

func TestHTTP2(t *testing.T) {
	for _, size := range []int{1 << 20, 7, 1} { // of the pieces in which it comes
		var talk []said
		for _, s := range talk2() {
			for text := s.text; text != ""; {
				n := min(size, len(text))
				talk = append(talk, said{s.dir, text[:n]})
				text = text[n:]
			}
		}
		k, raw := record(t, wire.Conn{TLS: true, ALPN: "h2"}, talk, wire.Fin)
		if bytes.Contains(raw, []byte("ada.lovelace")) {
			t.Error("an address is in the spool")
		}
		if len(k.exchanges) != 2 || len(k.streams) != 0 || k.conns[0].Proto != "h2" {
			t.Fatalf("%d exchanges, %d streams", len(k.exchanges), len(k.streams))
		}
		one, two := k.exchanges[0], k.exchanges[1]
		if one.Request.Target() == "/two" { // they began in one piece
			one, two = two, one
		}
		got := fmt.Sprint(string(two.Request.Head), text(t, two.Request), string(two.Response.Head), text(t, two.Response))
		if !strings.Contains(got, "POST /two HTTP/2\r\nHost: api.test\r\n\r\n") || !strings.Contains(got, "hello") || !strings.Contains(got, "HTTP/2 200\r\ncontent-type: text/plain\r\n\r\n") || !strings.Contains(got, "world") {
			t.Errorf("%q", got)
		}
		if len(two.Response.Early) != 1 || !strings.HasPrefix(string(two.Response.Trailer), "grpc-status: 0\r\nmail: tok_email_") || two.End != "" {
			t.Errorf("%q %q %q", two.Response.Early, two.Response.Trailer, two.End)
		}
		if one.End != "reset" || one.Response.Truncated == "" || !strings.Contains(string(one.Request.Head), "\r\nb: 1\r\na: 2\r\nb: 3\r\n") || !strings.HasPrefix(one.Request.Target(), "/one?mail=tok_email_") {
			t.Errorf("%q %q", one.End, one.Request.Head)
		}
	}
}

// TestHTTP2Damaged keeps what was whole.
func TestHTTP2Damaged(t *testing.T) {
	talk := talk2()
	talk[3].text = "\x00\x00\x00\x01\x04\x00\x00\x00\x00" // fields of stream 0
	k, _ := record(t, wire.Conn{ALPN: "h2"}, talk, wire.Fin)
	for _, x := range k.exchanges {
		if two := x.Request.Target() == "/two"; two != (x.Response != nil) || two != (x.End == "") {
			t.Errorf("%s: %q", x.Request.Head, x.End)
		}
	}
}

func TestWebSocketFrames(t *testing.T) {
	// RFC 7692, 7.2.3: "Hello" compressed alone, and with what went before.
	packed := "\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00" + "\xc1\x05\xf2\x00\x11\x00\x00"
	var w WebSocket
	var got []string
	for b := []byte("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58" + "\x01\x03Hel" + "\x89\x00" + "\x80\x02lo" + packed); len(b) > 0; {
		f, n, err := w.Next(b)
		if err != nil || n == 0 {
			t.Fatalf("%v, %d bytes; %q", err, n, got)
		}
		if f != nil {
			got = append(got, fmt.Sprint(f.Kind(), " ", string(f.Payload), " ", f.Fin))
		}
		b = b[n:]
	}
	if want := `["text Hello true" "text Hel false" "ping  true" "continuation lo true" "text Hello true" "text Hello true"]`; fmt.Sprintf("%q", got) != want {
		t.Errorf("%q", got)
	}
}

func FuzzWebSocket(f *testing.F) {
	f.Add([]byte("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"))
	f.Add([]byte("\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\x88\x02\x03\xe8"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var w, again WebSocket
		for len(b) > 0 {
			frame, n, err := w.Next(b)
			if err != nil || n == 0 {
				return
			}
			b = b[n:]
			if frame == nil {
				continue
			}
			for _, mask := range []bool{true, false} {
				raw := frame.Append(nil, mask)
				if same, k, err := again.Next(raw); err != nil || k != len(raw) || same == nil || !bytes.Equal(same.Payload, frame.Payload) {
					t.Fatalf("%q, %v", raw, err)
				}
			}
		}
	})
}
