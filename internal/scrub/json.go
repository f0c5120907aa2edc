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
func (s *Scrubber) JSON(b []byte) Clean {
	w := jsonWalk{s: s, b: b, st: s.states.Get().(*state)}
	defer s.release(w.st)
	w.out = make([]byte, 0, len(b)+len(b)/16+64)
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
	w.flush()
	return Clean{w.out}
}

// maxNesting bounds objects within objects; deeper ones are taken as text.
const maxNesting = 512

// jsonWalk reads b once, and copies it but for what is replaced.
type jsonWalk struct {
	s    *Scrubber
	b    []byte
	i    int // what is read
	done int // what is copied to out
	out  []byte
	st   *state
	text []byte   // scratch: a decoded string
	next []byte   // scratch: what a string becomes
	keys []string // from the root to here, if there are rules for paths
}

func (w *jsonWalk) space() {
	for w.i < len(w.b) && isSpace(w.b[w.i]) {
		w.i++
	}
}

func (w *jsonWalk) flush() { w.put(w.i, nil) }

// put copies up to start, then new in place of what was read since.
func (w *jsonWalk) put(start int, new []byte) {
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

// str reads a string and returns it decoded, valid until the next one.
func (w *jsonWalk) str() ([]byte, bool) {
	start := w.i + 1
	escaped := false
	for i := start; i < len(w.b); i++ {
		switch c := w.b[i]; {
		case c == '"':
			w.i = i + 1
			if !escaped {
				return w.b[start:i], true
			}
			text, _ := unescape(w.text[:0], nil, w.b[start:i], 0)
			w.text = text
			return text, true
		case c == '\\':
			escaped = true
			if i++; i >= len(w.b) {
				return nil, false
			}
			switch w.b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if _, n := escapedRune(w.b[i-1:]); n == 0 {
					return nil, false
				}
			default:
				return nil, false
			}
		case c < ' ':
			return nil, false
		}
	}
	return nil, false
}

// number reads a number as JSON defines it.
func (w *jsonWalk) number() bool {
	b, i := w.b, w.i
	digits := func() bool {
		from := i
		for i < len(b) && isDigit(b[i]) {
			i++
		}
		return i > from
	}
	if at(b, i) == '-' {
		i++
	}
	if at(b, i) == '0' {
		i++
	} else if !digits() {
		return false
	}
	if at(b, i) == '.' {
		i++
		if !digits() {
			return false
		}
	}
	if c := at(b, i); c == 'e' || c == 'E' {
		i++
		if c := at(b, i); c == '+' || c == '-' {
			i++
		}
		if !digits() {
			return false
		}
	}
	if isWord(at(b, i)) {
		return false
	}
	w.i = i
	return true
}

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
	if len(text) < minLeaf {
		return
	}
	if bare {
		text = whole(text)
	}
	*w.st = state{hits: w.st.hits[:0]}
	s.scanner.scan(text, w.st)
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
