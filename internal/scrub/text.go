package scrub

import "bytes"

// Text scrubs free text: logs, console output, bodies of an unknown type.
// Bytes that are no UTF-8 are kept.
//
// A body that is gzip is opened and packed again; one that does not open, or
// not within its bounds, becomes a token.
func (s *Scrubber) Text(b []byte) Clean { return Clean{s.text(b, 0)} }

func (s *Scrubber) text(b []byte, depth int) []byte {
	var out bytes.Buffer
	w := &writer{s: s, w: &out, depth: depth}
	// A buffer takes everything.
	w.Write(b)
	w.Close()
	return out.Bytes()
}
