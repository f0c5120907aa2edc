package scrub

import "bytes"

var (
	pemBegin = []byte("-----BEGIN ")
	pemEnd   = []byte("-----END ")
)

// maxPEM bounds the body of a key; more is another key, or none.
const maxPEM = 32 << 10

// pem finds a private key by the G of BEGIN at i, with its body: lines of
// base64, whose ends may be escaped. A key that is cut off is one as well.
func (s *scanner) pem(b []byte, i int, st *state) int {
	start := i - 7
	if start < 0 || !bytes.HasPrefix(b[start:], pemBegin) {
		return i + 1
	}
	label := i + 3
	j := label
	for j < len(b) && j-label < 64 && (isUpper(b[j]) || isDigit(b[j]) || b[j] == ' ') {
		j++
	}
	if !bytes.HasSuffix(b[label:j], []byte("PRIVATE KEY")) && !bytes.HasSuffix(b[label:j], []byte("PRIVATE KEY BLOCK")) {
		return i + 1
	}
	limit := min(len(b), start+maxPEM)
	if n := bytes.Index(b[j:limit], pemEnd); n >= 0 && !bytes.Contains(b[j:j+n], pemBegin) {
		e := j + n + len(pemEnd)
		for e < limit && (isUpper(b[e]) || isDigit(b[e]) || b[e] == ' ') {
			e++
		}
		for e < limit && b[e] == '-' {
			e++
		}
		st.add(start, e, detPrivateKey)
		return e
	}
	e := j
	for e < limit && (isBase64(b[e]) || b[e] == '=' || isSpace(b[e]) || b[e] == '\\' || b[e] == ':' || b[e] == ',') {
		e++
	}
	st.add(start, e, detPrivateKey)
	return e
}
