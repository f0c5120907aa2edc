package scrub

import "bytes"

// Text scrubs free text: logs, console output, bodies of an unknown type.
// Bytes that are no UTF-8 are kept.
func (s *Scrubber) Text(b []byte) Clean {
	var out bytes.Buffer
	w := s.NewWriter(&out)
	w.Write(b)
	w.Close()
	return Clean{out.Bytes()}
}
