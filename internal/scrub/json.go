package scrub

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// JSON scrubs a document, or several that follow one another: the schema by
// key and path, the detectors on every string, number and key. What is
// changed stays JSON: a number becomes a string, unless its shape is kept. All
// else stays byte for byte. Bytes that are no JSON go through Text.
//
// A document in which nothing changes is not copied: what is returned is then
// b itself, which must stay as it is for as long as the Clean is in use.
func (s *Scrubber) JSON(b []byte) Clean {
	w := jsonWalk{s: s, b: b, st: s.states.Get().(*state)}
	defer s.release(w.st)
	w.space()
	if w.i == len(b) {
		return s.Text(b)
	}
	for w.i < len(b) {
		if !w.value(nil, 0) {
			return s.Text(b)
		}
		w.space()
	}
	if w.out == nil {
		return Clean{b[:len(b):len(b)]}
	}
	w.put(w.i, nil)
	return Clean{w.out}
}

// maxNesting bounds objects within objects; deeper ones are taken as text.
const maxNesting = 512

// jsonWalk reads b once, and copies it but for what is replaced, if anything is.
type jsonWalk struct {
	s    *Scrubber
	b    []byte
	i    int    // what is read
	done int    // what is copied to out
	out  []byte // nil until something is replaced
	st   *state
	seen uint8    // what the last string has, of jsonTrig
	text []byte   // scratch: a decoded string
	next []byte   // scratch: what a string becomes
	keys []string // from the root to here, if there are rules for paths
}

func (w *jsonWalk) space() {
	for w.i < len(w.b) && w.b[w.i] <= ' ' && isSpace(w.b[w.i]) {
		w.i++
	}
}

// put copies up to start, then new in place of what was read since.
func (w *jsonWalk) put(start int, new []byte) {
	if w.out == nil {
		w.out = make([]byte, 0, len(w.b)+len(w.b)/16+64)
	}
	w.out = append(append(w.out, w.b[w.done:start]...), new...)
	w.done = w.i
}

// value reads a value; f is what the schema says of it.
func (w *jsonWalk) value(f *field, depth int) bool {
	if w.i >= len(w.b) || depth > maxNesting {
		return false
	}
	switch c := w.b[w.i]; c {
	case '{':
		return w.object(f, depth)
	case '[':
		return w.array(f, depth)
	case '"':
		start := w.i
		text, ok := w.str()
		if ok {
			w.leaf(start, text, f, false)
		}
		return ok
	case 't', 'f', 'n':
		for _, word := range [...]string{"true", "false", "null"} {
			if bytes.HasPrefix(w.b[w.i:], []byte(word)) {
				start := w.i
				w.i += len(word)
				if word != "null" && (f != nil && !f.scan || f == nil && w.s.rules.closed) {
					w.leaf(start, w.b[start:w.i], f, true)
				}
				return true
			}
		}
		return false
	default:
		start := w.i
		if !w.number() {
			return false
		}
		w.leaf(start, w.b[start:w.i], f, true)
		return true
	}
}

func (w *jsonWalk) object(f *field, depth int) bool {
	w.i++
	w.space()
	if at(w.b, w.i) == '}' {
		w.i++
		return true
	}
	for {
		if at(w.b, w.i) != '"' {
			return false
		}
		start := w.i
		key, ok := w.str()
		if !ok {
			return false
		}
		of := w.under(f, key)
		paths := len(w.s.rules.paths) > 0
		if paths {
			var space [2 * maxName]byte
			w.keys = append(w.keys, squash(string(appendName(space[:0], key))))
			for i := range w.s.rules.paths {
				if p := &w.s.rules.paths[i]; matchPath(p.segments, w.keys) {
					of = p.field
				}
			}
		}
		// A key may be data: {"ada@example.org": 1}.
		w.leaf(start, key, scanField, false)
		w.space()
		if at(w.b, w.i) != ':' {
			return false
		}
		w.i++
		w.space()
		if !w.value(of, depth+1) {
			return false
		}
		if paths {
			w.keys = w.keys[:len(w.keys)-1]
		}
		w.space()
		switch at(w.b, w.i) {
		case ',':
			w.i++
			w.space()
		case '}':
			w.i++
			return true
		default:
			return false
		}
	}
}

var scanField = &field{scan: true}

// under is what the schema says of a key in something of which it says f.
func (w *jsonWalk) under(f *field, key []byte) *field {
	set := &w.s.rules.fields[JSONKey]
	if len(key) >= 2 {
		p := key[len(key)-2]
		if p == '_' && len(key) >= 3 {
			p = key[len(key)-3]
		}
		if set.may(p, key[len(key)-1]) {
			if of := set.find(key); of != nil {
				return of
			}
		}
	} else if of := set.find(key); of != nil {
		return of
	}
	if f != nil && !f.scan {
		return f // a name object, an address object: all that is in it
	}
	return nil
}

func (w *jsonWalk) array(f *field, depth int) bool {
	w.i++
	w.space()
	if at(w.b, w.i) == ']' {
		w.i++
		return true
	}
	if len(w.s.rules.paths) > 0 {
		w.keys = append(w.keys, "")
		defer func() { w.keys = w.keys[:len(w.keys)-1] }()
	}
	for {
		of := f
		for i := range w.s.rules.paths {
			if p := &w.s.rules.paths[i]; matchPath(p.segments, w.keys) {
				of = p.field
			}
		}
		if !w.value(of, depth+1) {
			return false
		}
		w.space()
		switch at(w.b, w.i) {
		case ',':
			w.i++
			w.space()
		case ']':
			w.i++
			return true
		default:
			return false
		}
	}
}

// What str looks for in bytes: jsonStop where a string ends or isn't plain,
// jsonTrig where the scanner would take a look.
const (
	jsonTrig = 1 << iota
	jsonStop
)

// str reads a string and returns it decoded, valid until the next one.
func (w *jsonWalk) str() ([]byte, bool) {
	t := &w.s.scanner.json
	b := w.b
	start := w.i + 1
	seen, escaped := uint8(0), false
	for i := start; ; {
		for i+8 <= len(b) {
			c := b[i : i+8 : i+8]
			f := t[c[0]] | t[c[1]] | t[c[2]] | t[c[3]] | t[c[4]] | t[c[5]] | t[c[6]] | t[c[7]]
			if f&jsonStop != 0 {
				break
			}
			seen |= f
			i += 8
		}
		for i < len(b) && t[b[i]]&jsonStop == 0 {
			seen |= t[b[i]]
			i++
		}
		switch at(b, i) {
		case '"':
			w.i = i + 1
			if !escaped {
				w.seen = seen
				return b[start:i], true
			}
			text, _ := unescape(w.text[:0], nil, b[start:i], 0)
			w.text = text
			w.seen = jsonTrig // the raw bytes don't tell
			return text, true
		case '\\':
			escaped = true
			switch at(b, i+1) {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if _, n := escapedRune(b[i:]); n == 0 {
					return nil, false
				}
			default:
				return nil, false
			}
			i += 2
		default: // a control character, or the end
			return nil, false
		}
	}
}

// number reads a number as JSON defines it.
func (w *jsonWalk) number() bool {
	b, i := w.b, w.i
	if at(b, i) == '-' {
		i++
	}
	if at(b, i) == '0' {
		i++
	} else if end := digitsEnd(b, i); end > i {
		i = end
	} else {
		return false
	}
	if at(b, i) == '.' {
		end := digitsEnd(b, i+1)
		if end == i+1 {
			return false
		}
		i = end
	}
	w.seen = 0
	if c := at(b, i); c == 'e' || c == 'E' {
		w.seen = jsonTrig
		i++
		if c := at(b, i); c == '+' || c == '-' {
			i++
		}
		end := digitsEnd(b, i)
		if end == i {
			return false
		}
		i = end
	}
	if isWord(at(b, i)) {
		return false
	}
	if i-w.i >= minNumber {
		w.seen = jsonTrig
	}
	w.i = i
	return true
}

// minNumber is as long as the shortest number, written out, that a detector
// finds with nothing around it: that of a card. One with an exponent may stand
// for it in less.
const minNumber = 13

// leaf scrubs what was read since start, which is text when decoded. bare
// values have no quotes.
func (w *jsonWalk) leaf(start int, text []byte, f *field, bare bool) {
	s := w.s
	switch {
	case f != nil && !f.scan:
		action := s.rules.actionOf(f)
		if action == Keep || len(text) == 0 {
			return
		}
		skip := schemeLen(text, f.class)
		if isScrubbed(text[skip:]) {
			return
		}
		w.replace(start, append(w.next[:0], text[:skip]...), f.rule, f.class, action, text[skip:], bare)
		return
	case f == nil && s.rules.closed && !isScrubbed(text) && len(text) > 0:
		w.replace(start, w.next[:0], "unknown:json", Unknown, s.rules.unknown, text, bare)
		return
	}
	quiet := w.seen == 0
	if len(text) < minLeaf || quiet && (bare || len(text) < minBase64) {
		return
	}
	if bare {
		text = whole(text)
	}
	*w.st = state{hits: w.st.hits[:0]}
	if quiet {
		// All that there is to be found without a trigger.
		s.scanner.runs(text, w.st)
	} else {
		s.scanner.scan(text, w.st)
	}
	if len(w.st.hits) == 0 {
		return
	}
	if bare {
		h := merge(w.st.hits)[0]
		class, rule := Opaque, "opaque"
		if h.det < numDetectors {
			class, rule = Class(detectorNames[h.det]), detectorNames[h.det]
		}
		w.replace(start, w.next[:0], rule, class, s.rules.action(class), text, true)
		return
	}
	w.next = s.apply(w.next[:0], text, w.st)
	w.quoted(start, w.next)
}

// minLeaf is shorter than anything that a detector finds.
const minLeaf = 6

// replace puts what becomes of a whole value.
func (w *jsonWalk) replace(start int, prefix []byte, rule string, class Class, action Action, val []byte, bare bool) {
	w.next = w.s.act(prefix, rule, class, action, val, val)
	switch {
	case action == Keep:
	case bare && action == Drop:
		w.put(start, []byte("null"))
	case bare && action == Format && isNumber(w.next):
		w.put(start, w.next)
	default:
		w.quoted(start, w.next)
	}
}

func isNumber(b []byte) bool {
	w := jsonWalk{b: b}
	return len(b) > 0 && w.number() && w.i == len(b)
}

// quoted puts a string of JSON.
func (w *jsonWalk) quoted(start int, text []byte) {
	w.put(start, nil)
	w.out = appendString(w.out, text)
}

// whole writes a number without its exponent, as a card number may have come
// from a program that takes it for a float.
func whole(text []byte) []byte {
	if !bytes.ContainsAny(text, ".eE") {
		return text
	}
	x, err := strconv.ParseFloat(string(text), 64)
	if err != nil || x != float64(int64(x)) || x < 1e12 || x > 1e19 {
		return text
	}
	return strconv.AppendInt(nil, int64(x), 10)
}

// appendString appends a string of JSON. Bytes that are no UTF-8 stay.
func appendString(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c < ' ' || c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			_, n := utf8.DecodeRune(text[i:])
			dst = append(dst, text[i:i+n]...)
			i += n
			continue
		}
		i++
	}
	return append(dst, '"')
}
