package scrub

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tapedeck-dev/tapedeck/internal/coding"
)

const (
	grpcHead      = 5  // bytes before a message: whether it is compressed, and its length
	maxProtoDepth = 50 // of messages in messages
)

// grpcBody scrubs the messages of a gRPC call. A schema is not needed: what is
// text in a field is scrubbed as text, and the lengths around it are made anew.
func grpcBody(s *Scrubber, body []byte) ([]byte, error) {
	var out []byte
	for len(body) > 0 {
		if len(body) < grpcHead || uint64(len(body)-grpcHead) < uint64(binary.BigEndian.Uint32(body[1:])) {
			return append(out, s.Text(body).Bytes()...), nil // cut off within a message
		}
		n := int(binary.BigEndian.Uint32(body[1:]))
		flag, msg := body[0], body[grpcHead:grpcHead+n]
		body = body[grpcHead+n:]
		clean, err := grpcMessage(s, flag, msg)
		if err != nil {
			return nil, err
		}
		out = append(binary.BigEndian.AppendUint32(append(out, flag), uint32(len(clean))), clean...)
	}
	return out, nil
}

func grpcMessage(s *Scrubber, flag byte, msg []byte) ([]byte, error) {
	if flag&1 == 0 || len(msg) == 0 {
		return protoMessage(s, msg, 0), nil
	}
	if !bytes.HasPrefix(msg, []byte{0x1f, 0x8b}) {
		return nil, fmt.Errorf("need a gRPC message in gzip, found another compression")
	}
	plain, err := coding.Unpack("gzip", msg, maxBody)
	if err != nil {
		return nil, err
	}
	clean := protoMessage(s, plain, 0)
	if bytes.Equal(clean, plain) {
		return msg, nil
	}
	return packBody("gzip", clean), nil
}

// protoMessage scrubs a message in the wire format of protocol buffers; what is
// none is scrubbed as text.
func protoMessage(s *Scrubber, msg []byte, depth int) []byte {
	if depth > maxProtoDepth || !isProto(msg) {
		return s.text(msg, 0)
	}
	out := make([]byte, 0, len(msg))
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		size := protowire.ConsumeFieldValue(num, typ, msg[n:])
		if typ != protowire.BytesType {
			out = append(out, msg[:n+size]...)
			msg = msg[n+size:]
			continue
		}
		value, _ := protowire.ConsumeBytes(msg[n:])
		clean := value
		if readable(value) || !isProto(value) {
			clean = s.text(value, 0)
		} else if len(value) > 0 {
			clean = protoMessage(s, value, depth+1)
		}
		if bytes.Equal(clean, value) {
			out = append(out, msg[:n+size]...) // a length may be spelled in several ways
		} else {
			out = protowire.AppendBytes(append(out, msg[:n]...), clean)
		}
		msg = msg[n+size:]
	}
	return out
}

func isProto(b []byte) bool {
	for len(b) > 0 {
		_, _, n := protowire.ConsumeField(b)
		if n < 0 {
			return false
		}
		b = b[n:]
	}
	return true
}

// readable tells whether bytes are text rather than a message that happens to be
// UTF-8, too: those have tags, which are control characters, among it.
func readable(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, r := range string(b) {
		if unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' {
			return false
		}
	}
	return true
}
