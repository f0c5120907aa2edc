package scrub

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"
)

// scheme finds "Bearer x" and "Basic x" by the b at i.
func (s *scanner) scheme(b []byte, i int, st *state) {
	c := at(b, i+1) | 0x20
	if c != 'e' && c != 'a' {
		return
	}
	if i > 0 && isWord(b[i-1]) {
		return
	}
	rest := b[i:]
	switch {
	case s.on[detBearer] && hasFold(rest, "bearer"):
		j := credential(b, i+6)
		e := keyEnd(b, j, 8, keyBase64Dot)
		if j == i+6 || e == 0 || tokenLen(b[j:]) > 0 || !keyLike(b[j:e]) && e-j < 20 {
			return
		}
		st.hits = append(st.hits, hit{start: j, end: e, from: i, det: detBearer})
	case s.on[detBasic] && hasFold(rest, "basic"):
		j := credential(b, i+5)
		e := keyEnd(b, j, 4, keyBase64)
		if j == i+5 || e == 0 || tokenLen(b[j:]) > 0 {
			return
		}
		var space [256]byte
		text := bytes.TrimRight(b[j:e], "=")
		if len(text) > 340 {
			return
		}
		n, err := base64.RawStdEncoding.Decode(space[:], text)
		if err != nil || bytes.IndexByte(space[:n], ':') < 0 || !printable(space[:n]) {
			return
		}
		st.hits = append(st.hits, hit{start: j, end: e, from: i, det: detBasic})
	}
}

// credential is where what follows a scheme begins.
func credential(b []byte, i int) int {
	j := i
	for j < len(b) && b[j] == ' ' && j-i < 4 {
		j++
	}
	return j
}

// printable says whether b is text.
func printable(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, c := range b {
		if c < ' ' && !isSpace(c) || c == 0x7f {
			return false
		}
	}
	return true
}

// userinfo finds the password of a URL whose :// begins at i.
func (s *scanner) userinfo(b []byte, i int, st *state) {
	if !isAlnum(at(b, i-1)) {
		return
	}
	colon, last := -1, -1
	for j := i + 3; j < len(b) && j-i < 1024; j++ {
		c := b[j]
		if c == '@' {
			last = j
		} else if c == ':' && colon < 0 {
			colon = j
		} else if c == '/' || c == '?' || c == '#' {
			break
		} else if c <= ' ' || c == '"' || c == '<' || c == '>' || c == '\\' || c == '\'' && last >= 0 {
			break
		}
	}
	if colon < 0 || last <= colon+1 {
		return
	}
	if isScrubbed(b[colon+1 : last]) {
		return
	}
	st.hits = append(st.hits, hit{start: colon + 1, end: last, from: i, det: detConnString})
}
