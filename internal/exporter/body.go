package exporter

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/coding"
	"github.com/tapedeck-dev/tapedeck/internal/har"
)

// body is a body without its codings.
type body struct {
	plain    []byte
	spans    []span // of the parts on the wire, in the body without chunks
	trailers []har.Pair
	coded    string // a content coding that could not be undone
	packed   bool   // there was one, and it was undone
}

// span is a run of bytes of a body, on the wire and without chunks.
type span struct{ wire, plain, n int64 }

// decode takes the chunks and the content coding off a body.
func decode(m *cassette.Message, wire []byte) body {
	b := body{plain: wire, spans: []span{{0, 0, int64(len(wire))}}}
	if chunked(m) {
		b = dechunk(wire)
	}
	name := strings.ToLower(strings.TrimSpace(m.Get("Content-Encoding")))
	if name == "" || name == "identity" || len(b.plain) == 0 {
		return b
	}
	if plain, err := coding.Unpack(name, b.plain, maxBody); err == nil {
		b.plain, b.packed = plain, true
	} else {
		b.coded = name
	}
	return b
}

// dechunk takes chunks off as far as they go: a body may have been cut.
func dechunk(wire []byte) body {
	var b body
	at := 0
	line := func() (string, bool) {
		end := bytes.IndexByte(wire[at:], '\n')
		if end < 0 {
			return "", false
		}
		text := string(bytes.TrimRight(wire[at:at+end], "\r"))
		at += end + 1
		return text, true
	}
	for {
		text, ok := line()
		size, _, _ := strings.Cut(text, ";")
		n, err := strconv.ParseInt(strings.TrimSpace(size), 16, 63)
		if !ok || err != nil || n < 0 {
			return b
		}
		if n == 0 {
			break
		}
		n = min(n, int64(len(wire)-at))
		b.spans = append(b.spans, span{int64(at), int64(len(b.plain)), n})
		b.plain = append(b.plain, wire[at:at+int(n)]...)
		at += int(n)
		if text, ok := line(); !ok || text != "" {
			return b
		}
	}
	for {
		text, ok := line()
		name, value, field := strings.Cut(text, ":")
		if !ok || !field {
			return b
		}
		b.trailers = append(b.trailers, har.Pair{Name: name, Value: strings.TrimSpace(value)})
	}
}

// within is what of a piece on the wire is body.
func (b *body) within(off, n int64) (from, size int64) {
	from = -1
	for _, s := range b.spans {
		lo, hi := max(off, s.wire), min(off+n, s.wire+s.n)
		if lo >= hi {
			continue
		}
		if from < 0 {
			from = s.plain + lo - s.wire
		}
		size += hi - lo
	}
	return max(from, 0), size
}
