package scrub

import (
	"bytes"
	"net/netip"
)

// colon: a URL with a password, "key": value, key: value, IPv6.
func (s *scanner) colon(b []byte, i int, st *state) {
	prev, next := at(b, i-1), at(b, i+1)
	if prev == '"' || prev == '\'' {
		if s.names && i >= 3 {
			s.quoted(b, i, st)
		}
		return
	}
	if next == '/' && at(b, i+2) == '/' {
		if s.on[detConnString] {
			s.userinfo(b, i, st)
		}
		return
	}
	if s.on[detIP] && (isHex(next) || next == ':') && (isHex(prev) || prev == ':') {
		s.ipv6(b, i, st)
	}
	if s.names && next == ' ' && isAlnum(prev) && i >= 2 && s.rules.text.may(at(b, i-2), prev) {
		s.plain(b, i, i+2, st)
	}
}

// quoted looks up the key of "key": value, whose colon is at i.
func (s *scanner) quoted(b []byte, i int, st *state) {
	end, quote := i-1, b[i-1]
	p := b[end-2]
	if p == '_' && end >= 3 {
		p = b[end-3]
	}
	if !s.rules.text.may(p, b[end-1]) {
		return
	}
	start := end
	for start > 0 && end-start <= maxName && b[start-1] != quote && b[start-1] >= ' ' {
		start--
	}
	if start == 0 || b[start-1] != quote || start == end {
		return
	}
	f := s.rules.text.find(b[start:end])
	if f == nil || f.scan {
		return
	}
	j := i + 1
	for j < len(b) && isSpace(b[j]) && j-i < 32 {
		j++
	}
	switch c := at(b, j); {
	case c == '"' || c == '\'':
		e := j + 1
		for e < len(b) && b[e] != c && b[e] != '\n' {
			if b[e] == '\\' {
				e++
			}
			e++
		}
		s.field(b, start-1, j+1, e, f, false, st)
	case isDigit(c) || c == '-':
		e := j + 1
		for e < len(b) && (isAlnum(b[e]) || b[e] == '.' || b[e] == '+' || b[e] == '-') {
			e++
		}
		s.field(b, start-1, j, e, f, true, st)
	case c == '[':
		limit := min(len(b), j+4096)
		if n := bytes.IndexAny(b[j+1:limit], "[]{}"); n >= 0 && b[j+1+n] == ']' && n > 0 {
			s.field(b, start-1, j, j+n+2, f, true, st)
		}
	}
}

// field adds the value of a known name, unless it is scrubbed already.
// from is where its name begins.
func (s *scanner) field(b []byte, from, start, end int, f *field, bare bool, st *state) {
	var open byte
	if end >= len(b) {
		end = len(b)
		if st.more && !bare {
			open = b[start-1]
		}
	}
	if start >= end || isScrubbed(b[start:end]) {
		return
	}
	h := hit{start: start, end: end, from: from, open: open, det: detField, field: f}
	if bare {
		h.quote = `"`
	}
	if bytes.IndexByte(b[start:end], '\\') >= 0 {
		h.val, _ = unescape(nil, nil, b[start:end], 0)
	}
	if skip := schemeLen(b[start:end], f.class); skip > 0 {
		h.start += skip
		if isScrubbed(b[h.start:end]) {
			return
		}
		h.val = nil
	}
	st.hits = append(st.hits, h)
}

// schemeLen is the length of "Bearer " before a credential.
func schemeLen(b []byte, class Class) int {
	if class != Bearer && class != Basic && class != Secret {
		return 0
	}
	for _, word := range []string{"bearer ", "basic ", "token ", "digest ", "negotiate "} {
		if hasFold(b, word) && len(b) > len(word) {
			return len(word)
		}
	}
	return 0
}

// assign looks up the name of name=value.
func (s *scanner) assign(b []byte, i int, st *state) {
	end := i
	if at(b, end-1) == ' ' {
		end--
	}
	if end < 2 || !isWord(b[end-1]) && b[end-1] != ']' {
		return
	}
	if b[end-1] == ']' {
		end--
	}
	if end < 2 || !s.rules.text.may(b[end-2], b[end-1]) {
		return
	}
	start := i + 1
	if at(b, start) == ' ' && end < i {
		start++
	}
	if c := at(b, start); c == '=' || c == '~' || c == '>' {
		return
	}
	s.plain(b, end, start, st)
}

// plain looks up the name that ends before end; its value begins at start.
func (s *scanner) plain(b []byte, end, start int, st *state) {
	begin := end
	for begin > 0 && end-begin <= maxName && (isWord(b[begin-1]) || b[begin-1] == '-' || b[begin-1] == '.' || b[begin-1] == '[') {
		begin--
	}
	name := b[begin:end]
	if n := bytes.LastIndexAny(name, ".["); n >= 0 {
		name = name[n+1:]
	}
	f := s.rules.text.find(name)
	if f == nil || f.scan {
		return
	}
	if start < len(b) && (b[start] == '"' || b[start] == '\'') {
		quote := b[start]
		e := start + 1
		for e < len(b) && b[e] != quote && b[e] != '\n' {
			if b[e] == '\\' {
				e++
			}
			e++
		}
		s.field(b, begin, start+1, e, f, false, st)
		return
	}
	e := start
	for e < len(b) && !isSpace(b[e]) && b[e] != '&' && b[e] != ';' && b[e] != ',' && b[e] != '"' && b[e] != '\'' && b[e] != '<' && b[e] != '>' && b[e] != '\\' {
		e++
	}
	value := b[start:e]
	if n := tokenLen(value); n > 0 || bytes.HasPrefix(value, []byte(maskText)) {
		return
	}
	if skip := schemeLen(b[start:], f.class); skip > 0 && skip == len(value)+1 {
		return // the schemes have a detector
	}
	switch string(bytes.TrimRight(value, ".)]}")) {
	case "", "null", "nil", "none", "None", "true", "false", "undefined", "required", "must", "is", "the", "invalid", "incorrect":
		return
	}
	h := hit{start: start, end: e, from: begin, det: detField, field: f}
	if bytes.IndexByte(value, '%') >= 0 {
		h.val, _ = unpercent(nil, nil, value, 0)
	}
	st.hits = append(st.hits, h)
}

// ipv6 verifies an address around the colon at i.
func (s *scanner) ipv6(b []byte, i int, st *state) {
	if n := len(st.hits); n > 0 && st.hits[n-1].det == detIP && st.hits[n-1].end > i {
		return
	}
	ok := func(c byte) bool { return isHex(c) || c == ':' }
	start, end := i, i+1
	for start > 0 && i-start < 46 && ok(b[start-1]) {
		start--
	}
	for end < len(b) && end-start < 46 && (ok(b[end]) || b[end] == '.') {
		end++
	}
	for end > i && (b[end-1] == '.' || b[end-1] == ':' && at(b, end-2) != ':') {
		end--
	}
	if isWord(at(b, start-1)) || isWord(at(b, end)) || end-start < 4 || at(b, start-1) == '.' {
		return
	}
	a, err := netip.ParseAddr(string(b[start:end]))
	if err != nil || !personalIP(a) {
		return
	}
	if digits := bytes.ContainsAny(b[start:end], "0123456789"); !digits {
		return // A::B is a name in several languages
	}
	st.add(start, end, detIP)
}
