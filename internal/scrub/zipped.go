package scrub

import (
	"bytes"
	"crypto/sha256"
	"hash"
)

var gzipMagic = []byte{0x1f, 0x8b, 8}

// zipped gathers a stream that is gzip: what is in it can't be seen in parts.
type zipped struct {
	data []byte
	sum  hash.Hash // instead of data, once that is too much
}

// begin takes of p what is needed to see whether the stream is gzip.
func (w *writer) begin(p []byte) []byte {
	if len(w.buf) == 0 && len(p) >= len(gzipMagic) {
		w.begun = true
		if bytes.HasPrefix(p, gzipMagic) {
			w.zip = &zipped{}
		}
		return p
	}
	k := min(len(gzipMagic)-len(w.buf), len(p))
	w.buf = append(w.buf, p[:k]...)
	if len(w.buf) == len(gzipMagic) {
		w.begun = true
		if bytes.Equal(w.buf, gzipMagic) {
			w.zip = &zipped{data: w.buf}
			w.buf = nil
		}
	}
	return p[k:]
}

func (z *zipped) add(p []byte) {
	if z.sum == nil && len(z.data)+len(p) > maxUnzip {
		z.sum = sha256.New()
		z.sum.Write(z.data)
		z.data = nil
	}
	if z.sum != nil {
		z.sum.Write(p)
		return
	}
	z.data = append(z.data, p...)
}

// scrub opens the stream; what can't be opened becomes a token as a whole.
func (z *zipped) scrub(s *Scrubber, depth int) []byte {
	if z.sum != nil {
		sum := z.sum.Sum(nil)
		return s.act(nil, "opaque", Opaque, s.opaqueAction(), nil, sum)
	}
	plain, err := gunzip(z.data)
	if err != nil || depth >= maxDepth {
		sum := sha256.Sum256(z.data)
		return s.act(nil, "opaque", Opaque, s.opaqueAction(), nil, sum[:])
	}
	if clean := s.text(plain, depth+1); !bytes.Equal(clean, plain) {
		return gzipped(clean)
	}
	return z.data
}

// opaqueAction is never to keep what nobody could look into.
func (s *Scrubber) opaqueAction() Action {
	if a := s.rules.action(Opaque); a != Keep && a != Format {
		return a
	}
	return Tokenise
}
