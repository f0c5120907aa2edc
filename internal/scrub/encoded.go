package scrub

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// Percent- and JSON-escaped text is scanned decoded; what is found there is
// replaced where it stands, so that the rest stays byte for byte. off[i] is
// where the i-th decoded byte stands in b; it has one more, for the end.

// unpercent decodes src, whose first byte stands at base.
func unpercent(dst []byte, off []int, src []byte, base int) ([]byte, []int) {
	for i := 0; i < len(src); {
		c, n := src[i], 1
		if c == '%' && i+2 < len(src) && isHex(src[i+1]) && isHex(src[i+2]) {
			c, n = unhex(src[i+1])<<4|unhex(src[i+2]), 3
		} else if c == '+' {
			c = ' '
		}
		dst, off = append(dst, c), append(off, base+i)
		i += n
	}
	return dst, append(off, base+len(src))
}

func unhex(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// unescape decodes the escapes of JSON, and of C as far as they are the same.
func unescape(dst []byte, off []int, src []byte, base int) ([]byte, []int) {
	for i := 0; i < len(src); {
		if src[i] != '\\' || i+1 >= len(src) {
			dst, off = append(dst, src[i]), append(off, base+i)
			i++
			continue
		}
		n, c := 2, src[i+1]
		switch c {
		case 'n':
			c = '\n'
		case 't':
			c = '\t'
		case 'r':
			c = '\r'
		case 'b', 'f':
			c = ' '
		case 'x':
			if i+3 < len(src) && isHex(src[i+2]) && isHex(src[i+3]) {
				n, c = 4, unhex(src[i+2])<<4|unhex(src[i+3])
			}
		case 'u':
			r, size := escapedRune(src[i:])
			if size == 0 {
				break
			}
			at := len(dst)
			dst = utf8.AppendRune(dst, r)
			for range len(dst) - at {
				off = append(off, base+i)
			}
			i += size
			continue
		}
		dst, off = append(dst, c), append(off, base+i)
		i += n
	}
	return dst, append(off, base+len(src))
}

// escapedRune reads \uXXXX, or two of them that make one character.
func escapedRune(b []byte) (rune, int) {
	one := func(b []byte) (rune, bool) {
		if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
			return 0, false
		}
		var r rune
		for _, c := range b[2:6] {
			if !isHex(c) {
				return 0, false
			}
			r = r<<4 | rune(unhex(c))
		}
		return r, true
	}
	r, ok := one(b)
	if !ok {
		return 0, 0
	}
	if utf16.IsSurrogate(r) {
		if low, ok := one(b[6:]); ok {
			if full := utf16.DecodeRune(r, low); full != utf8.RuneError {
				return full, 12
			}
		}
	}
	return r, 6
}

// inside scans decoded text, and maps what is found there to b.
func (s *scanner) inside(text []byte, off []int, st *state, encode func([]byte) []byte) {
	in := state{depth: st.depth + 1}
	s.scan(text, &in)
	for _, h := range in.hits {
		if h.val == nil {
			h.val = text[h.start:h.end]
		}
		h.start, h.end, h.from, h.open = off[h.start], off[h.end], off[h.begins()], 0
		if h.rep != nil {
			h.rep = encode(h.rep)
		}
		if h.quote != "" {
			h.quote = string(encode([]byte(h.quote)))
		}
		st.hits = append(st.hits, h)
	}
}

func isURLValue(c byte) bool {
	switch c {
	case '-', '_', '.', '~', '%', '+', '!', '*', '@', ':', '$', '(', ')':
		return true
	}
	return isAlnum(c)
}

// percent opens the run of URL characters around the % or + at i.
func (s *scanner) percent(b []byte, i int, st *state) {
	if i < st.percent || st.depth >= maxDepth {
		return
	}
	plus := b[i] == '+'
	if !plus && (!isHex(at(b, i+1)) || !isHex(at(b, i+2))) {
		return
	}
	start, end := i, i+1
	for start > 0 && isURLValue(b[start-1]) {
		start--
	}
	if plus && at(b, start-1) != '=' {
		return // a space in forms alone
	}
	for end < len(b) && isURLValue(b[end]) {
		end++
	}
	// The run is scanned as it stands, too.
	st.percent = end
	text, off := unpercent(nil, nil, b[start:end], start)
	s.inside(text, off, st, escapePercent)
}

func escapePercent(b []byte) []byte {
	const hex = "0123456789ABCDEF"
	var out []byte
	for _, c := range b {
		if isAlnum(c) || c == '-' || c == '_' || c == '.' || c == '~' {
			out = append(out, c)
		} else {
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return out
}

func escapeJSON(b []byte) []byte {
	var out []byte
	for _, c := range b {
		if c == '"' || c == '\\' {
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	return out
}

// escape opens the line around the backslash at i.
func (s *scanner) escape(b []byte, i int, st *state) {
	if i < st.escaped || st.depth >= maxDepth {
		return
	}
	switch at(b, i+1) {
	case '"', '\\', '/', 'u', 'n', 't', 'r', 'x':
	default:
		return
	}
	start, end := line(b, i)
	st.escaped = end
	text, off := unescape(nil, nil, b[start:end], start)
	s.inside(text, off, st, escapeJSON)
}

const (
	minBase64 = 16
	maxUnzip  = 4 << 20
)

// runs finds runs of base64 of 16 characters or more, and opens those that
// hold text or gzip. A run that long covers eight bytes at a multiple of
// eight, which is all that has to be looked at.
func (s *scanner) runs(b []byte, st *state) {
	t := &base64Table
	for p := 0; p+8 <= len(b); {
		w := b[p : p+8 : p+8]
		if !(t[w[7]] && t[w[3]] && t[w[0]] && t[w[5]] && t[w[1]] && t[w[2]] && t[w[4]] && t[w[6]]) {
			p += 8
			continue
		}
		start, end := p, p+8
		for start > 0 && t[b[start-1]] {
			start--
		}
		for end < len(b) && t[b[end]] {
			end++
		}
		if end-start >= minBase64 {
			s.base64(b, start, end, st)
		}
		p = (end + 7) &^ 7
	}
}

var base64Table = func() (t [256]bool) {
	for c := range 256 {
		t[c] = isBase64(byte(c))
	}
	return t
}()

// sextet is what a character stands for, in either alphabet.
var sextet = func() (t [256]uint8) {
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = uint8(i)
	}
	t['-'], t['_'] = 62, 63
	return t
}()

// base64 opens one run. What is found there is scrubbed and encoded again.
func (s *scanner) base64(b []byte, start, end int, st *state) {
	run := b[start:end]
	pad := end
	for pad < len(b) && b[pad] == '=' && pad-end < 2 {
		pad++
	}
	zipped, text := head(run)
	if !zipped && !text {
		return
	}
	if st.more && end == len(b) {
		// The run goes on beyond the block: it is looked at in one, or not
		// let out at all.
		if start > 0 {
			st.hold = start
			return
		}
		st.hits = append(st.hits, hit{start: start, end: end, det: detOpaque})
		return
	}
	enc := base64.RawStdEncoding
	if bytes.ContainsAny(run, "-_") {
		if bytes.ContainsAny(run, "+/") {
			return
		}
		enc = base64.RawURLEncoding
	}
	if len(run)%4 == 1 {
		run = run[:len(run)-1]
		pad = start + len(run)
	}
	plain, err := enc.DecodeString(string(run))
	if err != nil {
		return
	}
	var clean []byte
	if zipped {
		plain, err := gunzip(plain)
		if err != nil {
			st.hits = append(st.hits, hit{start: start, end: pad, det: detOpaque})
			return
		}
		plain, changed := s.owner.part(plain, st.depth+1)
		if !changed {
			return
		}
		clean = gzipped(plain)
	} else {
		if !printable(plain) {
			return
		}
		var changed bool
		if clean, changed = s.owner.part(plain, st.depth+1); !changed {
			return
		}
	}
	if pad > start+len(run) || enc == base64.RawStdEncoding && len(run)%4 == 0 {
		enc = enc.WithPadding('=')
	}
	st.hits = append(st.hits, hit{start: start, end: pad, rep: enc.AppendEncode(nil, clean)})
}

// head decodes the first 16 characters: do gzip or text begin so? Most runs
// are neither, and are seen to be so after four.
func head(run []byte) (zipped, text bool) {
	more := 0 // bytes of a character of UTF-8 that have to follow
	for i := 0; i < minBase64; i += 4 {
		v := uint32(sextet[run[i]])<<18 | uint32(sextet[run[i+1]])<<12 | uint32(sextet[run[i+2]])<<6 | uint32(sextet[run[i+3]])
		if i == 0 && v == 0x1f8b08 {
			return true, false
		}
		for shift := 16; shift >= 0; shift -= 8 {
			switch c := byte(v >> shift); {
			case more > 0:
				if c&0xc0 != 0x80 {
					return false, false
				}
				more--
			case c < ' ' && !isSpace(c) || c == 0x7f:
				return false, false
			case c < 0x80:
			case c >= 0xc2 && c < 0xe0:
				more = 1
			case c >= 0xe0 && c < 0xf0:
				more = 2
			case c >= 0xf0 && c < 0xf5:
				more = 3
			default:
				return false, false
			}
		}
	}
	return false, true
}

// gunzip unpacks within bounds.
func gunzip(b []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(r, maxUnzip+1))
	if err == nil && len(out) > maxUnzip {
		err = gzip.ErrHeader
	}
	return out, err
}

// gzipped packs with no name and no time, so that the same gives the same.
func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}
