package sweep

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"strconv"
	"unicode/utf16"
)

const (
	shortest = 12      // encoded bytes; what is shorter hides nothing that has a form
	maxPlain = 4 << 20 // bytes that a gzip member may unpack to
)

// hidden finds what is encoded in b and hands over each piece decoded, with
// the place of its encoded form.
func hidden(b []byte, piece func(via string, start int, plain []byte)) {
	base64Runs(b, piece)
	escaped(b, '%', "percent", unpercent, piece)
	escaped(b, '\\', "escapes", unescape, piece)
	gzips(b, piece)
	wide(b, piece)
}

// base64Runs decodes runs of the alphabet, at each of the four phases that a
// run may have begun in: "user=" before it is of the alphabet too.
func base64Runs(b []byte, piece func(string, int, []byte)) {
	for i := 0; i < len(b); {
		if !alphabet[b[i]] {
			i++
			continue
		}
		start := i
		for i < len(b) && alphabet[b[i]] {
			i++
		}
		run := b[start:i]
		if len(run) < shortest+4 || !looksEncoded(run) {
			continue
		}
		std := bytes.ReplaceAll(bytes.ReplaceAll(run, []byte("-"), []byte("+")), []byte("_"), []byte("/"))
		for phase := range 4 {
			part := std[phase : phase+(len(std)-phase)/4*4]
			plain := make([]byte, base64.RawStdEncoding.DecodedLen(len(part)))
			n, _ := base64.RawStdEncoding.Decode(plain, part)
			// What comes behind the last whole group of four
			if rest := std[phase+len(part):]; len(rest) > 1 && n == len(plain) {
				tail := make([]byte, 3)
				k, _ := base64.RawStdEncoding.Decode(tail, rest)
				plain = append(plain, tail[:k]...)
				n += k
			}
			if n >= shortest/2 && textual(plain[:n]) {
				piece("base64", start, plain[:n])
			}
		}
	}
}

// alphabet of base64, both of its forms.
var alphabet = func() (t [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_" {
		t[c] = true
	}
	return t
}()

// looksEncoded leaves out words and numbers: base64 of text mixes cases.
func looksEncoded(run []byte) bool {
	var upper, lower bool
	for _, c := range run {
		upper = upper || 'A' <= c && c <= 'Z'
		lower = lower || 'a' <= c && c <= 'z'
		if upper && lower {
			return true
		}
	}
	return false
}

// textual tells whether b may be a text or a gzip member: at a wrong phase it is noise.
func textual(b []byte) bool {
	if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		return true
	}
	odd := 0
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c >= 0x7f {
			odd++
		}
	}
	return odd*4 <= len(b)
}

// escaped finds stretches of text with escapes in them and decodes each.
func escaped(b []byte, mark byte, via string, decode func(dst, src []byte) ([]byte, int), piece func(string, int, []byte)) {
	const around = 128
	for i := 0; i < len(b); {
		j := bytes.IndexByte(b[i:], mark)
		if j < 0 {
			return
		}
		// The stretch goes on while the next escape is near.
		first := i + j
		end := first
		for {
			k := bytes.IndexByte(b[end+1:min(len(b), end+1+around)], mark)
			if k < 0 {
				break
			}
			end += 1 + k
		}
		start, stop := wordStart(b, max(0, first-around), first), min(len(b), end+around)
		i = stop
		if !textual(b[start:stop]) {
			continue // compressed data has these bytes too
		}
		if plain, n := decode(make([]byte, 0, stop-start), b[start:stop]); n > 0 {
			piece(via, start, plain)
		}
	}
}

// wordStart moves i on to where a word begins, up to end: the rest of a token
// looks like something else.
func wordStart(b []byte, i, end int) int {
	if i == 0 {
		return 0
	}
	for i < end && alphabet[b[i]] {
		i++
	}
	return i
}

// unpercent decodes %40 and the plus sign, and counts the former.
func unpercent(dst, src []byte) ([]byte, int) {
	n := 0
	for i := 0; i < len(src); i++ {
		if src[i] == '%' && i+2 < len(src) {
			if v, err := strconv.ParseUint(string(src[i+1:i+3]), 16, 8); err == nil {
				dst = append(dst, byte(v))
				i += 2
				n++
				continue
			}
		}
		dst = append(dst, src[i])
	}
	return dst, n
}

// unescape decodes the escapes of JSON, and counts them.
func unescape(dst, src []byte) ([]byte, int) {
	n := 0
	for i := 0; i < len(src); i++ {
		if src[i] != '\\' || i+1 == len(src) {
			dst = append(dst, src[i])
			continue
		}
		i++
		n++
		switch c := src[i]; c {
		case 'n':
			dst = append(dst, '\n')
		case 't':
			dst = append(dst, '\t')
		case 'r':
			dst = append(dst, '\r')
		case 'u':
			if i+4 < len(src) {
				if v, err := strconv.ParseUint(string(src[i+1:i+5]), 16, 16); err == nil {
					dst = append(dst, string(rune(v))...)
					i += 4
					continue
				}
			}
			dst = append(dst, 'u')
		default:
			dst = append(dst, c)
		}
	}
	return dst, n
}

var member = []byte{0x1f, 0x8b, 8}

// gzips unpacks gzip members that begin in b.
func gzips(b []byte, piece func(string, int, []byte)) {
	for i := 0; i < len(b); i++ {
		j := bytes.Index(b[i:], member)
		if j < 0 {
			return
		}
		i += j
		z, err := gzip.NewReader(bytes.NewReader(b[i:]))
		if err != nil {
			continue
		}
		z.Multistream(false)
		plain, _ := io.ReadAll(io.LimitReader(z, maxPlain)) // what there is of it, if it is cut
		if len(plain) > 0 {
			piece("gzip", i, plain)
		}
	}
}

// wide finds texts of two bytes a character, as Java and Windows write them,
// little- and big-endian.
func wide(b []byte, piece func(string, int, []byte)) {
	for low := range 2 { // which of the two is the character
		for i := 0; i+1 < len(b); {
			if b[i+1-low] != 0 || b[i+low] < ' ' || b[i+low] > '~' {
				i++
				continue
			}
			start := i
			var units []uint16
			for i+1 < len(b) && b[i+1-low] == 0 && b[i+low] >= ' ' && b[i+low] <= '~' {
				units = append(units, uint16(b[i+low]))
				i += 2
			}
			if len(units) >= shortest/2 {
				piece("utf16", start, []byte(string(utf16.Decode(units))))
			}
		}
	}
}
