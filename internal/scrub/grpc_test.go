package scrub

import (
	"encoding/binary"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tapedeck-dev/tapedeck/internal/coding"
)

func frame(msg []byte, flag byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flag}, uint32(len(msg))), msg...)
}

func grpcHTTP(body []byte) []byte {
	return append([]byte("POST /shop.Orders/Put HTTP/2\r\nHost: api\r\ncontent-type: application/grpc\r\n\r\n"), body...)
}

// TestGRPC takes an address out of a message in a message, compressed or not; what
// is left is a message still, with the same fields.
func TestGRPC(t *testing.T) {
	s := newTest(t)
	inner := protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), "write to ada.lovelace@example.com")
	msg := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 300)
	msg = protowire.AppendBytes(protowire.AppendTag(msg, 7, protowire.BytesType), inner)
	for name, body := range map[string][]byte{
		"plain":      append(frame(msg, 0), frame(nil, 0)...),
		"compressed": frame(packBody("gzip", msg), 1),
	} {
		clean, err := s.HTTPMessage(grpcHTTP(body))
		if err != nil {
			t.Fatal(err)
		}
		_, got, _ := strings.Cut(string(clean.Bytes()), "\r\n\r\n")
		m := []byte(got)[5 : 5+binary.BigEndian.Uint32([]byte(got)[1:])]
		if name == "compressed" {
			if m, err = coding.Unpack("gzip", m, maxBody); err != nil {
				t.Fatal(err)
			}
		}
		_, _, n := protowire.ConsumeField(m)
		num, _, k := protowire.ConsumeTag(m[n:])
		sub, _ := protowire.ConsumeBytes(m[n+k:])
		_, _, j := protowire.ConsumeTag(sub)
		text, size := protowire.ConsumeString(sub[j:])
		if num != 7 || size < 0 || !strings.HasPrefix(text, "write to tok_email_") {
			t.Errorf("%s: field %d, %q", name, num, text)
		}
		again, err := s.HTTPMessage(clean.Bytes())
		if err != nil || string(again.Bytes()) != string(clean.Bytes()) {
			t.Errorf("%s: scrubbed once more it changes", name)
		}
	}
	if _, err := s.HTTPMessage(grpcHTTP(frame([]byte("snappy"), 1))); err == nil {
		t.Error("a compression that nobody here can undo was let through")
	}
}

// FuzzGRPC keeps its framing whatever it is given.
func FuzzGRPC(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x04\x0a\x02hi"))
	f.Add([]byte("\x01\x00\x00\x00\x02\x1f\x8b"))
	f.Add([]byte("\x00\xff\xff\xff\xff"))
	s := newTest(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		once, err := grpcBody(s, body)
		if err != nil {
			return
		}
		if twice, err := grpcBody(s, once); err != nil || string(twice) != string(once) {
			t.Errorf("%q, %q, %v", once, twice, err)
		}
	})
}
