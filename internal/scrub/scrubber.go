package scrub

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"sync"
)

// Scrubber scrubs by one set of rules under one salt. It may be used by
// several goroutines.
type Scrubber struct {
	rules   *Rules
	salt    Salt
	scanner *scanner
	macs    *macPool
	argon   argonCache
	tally   tally
	states  sync.Pool
}

// New refuses a missing salt with [ErrNoSalt]: without one, tokens could be
// guessed.
func New(r *Rules, salt Salt) (*Scrubber, error) {
	if r == nil {
		return nil, &RuleError{File: "rules", Need: "rules", Found: "none", Fix: "use the built-in rule set secrets"}
	}
	if len(salt.key) < MinSalt {
		return nil, ErrNoSalt
	}
	s := &Scrubber{rules: r, salt: salt, macs: newMACPool(salt.key)}
	s.tally.n = map[tallyKey]int64{}
	s.scanner = newScanner(r, s)
	s.states.New = func() any { return new(state) }
	return s, nil
}

// part scrubs text that stands within other text.
func (s *Scrubber) part(b []byte, depth int) (clean []byte, changed bool) {
	st := s.states.Get().(*state)
	defer s.release(st)
	st.depth = depth
	s.scanner.scan(b, st)
	if len(st.hits) == 0 {
		return b, false
	}
	out := s.apply(make([]byte, 0, len(b)+64), b, st)
	return out, !bytes.Equal(out, b)
}

func (s *Scrubber) release(st *state) {
	clear(st.hits)
	*st = state{hits: st.hits[:0]}
	s.states.Put(st)
}

// apply appends b to dst with what was found replaced.
func (s *Scrubber) apply(dst, b []byte, st *state) []byte {
	st.hits = merge(st.hits)
	done := 0
	for i := range st.hits {
		h := &st.hits[i]
		dst = append(dst, b[done:h.start]...)
		dst = s.replace(dst, b, h)
		done = h.end
	}
	return append(dst, b[done:]...)
}

// merge sorts hits and unites those that overlap.
func merge(hits []hit) []hit {
	if len(hits) < 2 {
		return hits
	}
	slices.SortFunc(hits, func(a, b hit) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end), cmp.Compare(rank(&a), rank(&b)))
	})
	n := 0
	for _, h := range hits[1:] {
		last := &hits[n]
		if h.start >= last.end {
			n++
			hits[n] = h
			continue
		}
		from, open := min(last.begins(), h.begins()), last.open
		if h.end > last.end || h.end == last.end && open == 0 {
			open = h.open
		}
		if rank(&h) < rank(last) {
			start, end := last.start, last.end
			same := h.start == start && h.end >= end
			*last = hit{start: start, end: max(end, h.end), det: h.det, field: h.field, val: h.val, quote: h.quote}
			if !same {
				last.val = nil // what was decoded is a part
			}
		} else if h.end > last.end {
			if rank(last) == 2 {
				last.det = detOpaque
			}
			last.end, last.val, last.rep = h.end, nil, nil
		}
		last.from, last.open = from, open
	}
	return hits[:n+1]
}

// begins is where a cut would change what is found.
func (h *hit) begins() int {
	if h.from > 0 {
		return h.from
	}
	return h.start
}

// rank says which of two hits names what both cover: the schema knows better
// than a detector, and anything better than what was scrubbed inside.
func rank(h *hit) int {
	switch {
	case h.det == detField:
		return 0
	case h.rep != nil:
		return 2
	}
	return 1
}

func (s *Scrubber) replace(dst, b []byte, h *hit) []byte {
	if h.rep != nil {
		return append(dst, h.rep...)
	}
	raw := b[h.start:h.end]
	val := h.val
	if val == nil {
		val = raw
	}
	switch h.det {
	case detField:
		action := s.rules.actionOf(h.field)
		quote := h.quote
		if action == Keep || action == Format {
			quote = ""
		}
		dst = append(dst, quote...)
		dst = s.act(dst, h.field.rule, h.field.class, action, raw, val)
		return append(dst, quote...)
	case detOpaque:
		return s.act(dst, "opaque", Opaque, s.opaqueAction(), raw, val)
	}
	class := Class(detectorNames[h.det])
	quote := h.quote
	action := s.rules.action(class)
	if quote == "" && action != Keep && action != Format && bareJSON(b, h) {
		quote = `"`
	}
	dst = append(dst, quote...)
	dst = s.act(dst, detectorNames[h.det], class, action, raw, val)
	return append(dst, quote...)
}

// bareJSON says whether a hit is a number that is a value in JSON: its token
// needs quotes for the document to stay one.
func bareJSON(b []byte, h *hit) bool {
	if !isDigit(b[h.start]) || !isDigit(b[h.end-1]) {
		return false
	}
	i, j := h.start-1, h.end
	for at(b, i) == ' ' {
		i--
	}
	for j < len(b) && isSpace(b[j]) {
		j++
	}
	if c := at(b, j); c != ',' && c != '}' && c != ']' {
		return false
	}
	if at(b, i) == ':' {
		return at(b, i-1) == '"'
	}
	return at(b, i) == '['
}

// act appends what becomes of a value.
func (s *Scrubber) act(dst []byte, rule string, class Class, action Action, raw, val []byte) []byte {
	if action == Format && formatted(class, val) {
		return append(dst, raw...)
	}
	s.tally.add(rule, class, action)
	switch action {
	case Keep:
		return append(dst, raw...)
	case Drop:
		return dst
	case Mask:
		return append(dst, maskText...)
	case Format:
		if out, ok := s.format(dst, class, val); ok {
			return out
		}
	}
	var space [256]byte
	sum := s.macs.sum(string(class), normalise(space[:0], class, val))
	if action == Argon {
		slow := s.argon.sum(s.rules.argon, s.salt.key, sum)
		return appendToken(dst, class, slow[:])
	}
	return appendToken(dst, class, sum[:])
}

// Field scrubs the value of a named field, decoded as far as its kind is
// encoded: the schema first, then the detectors.
func (s *Scrubber) Field(k Kind, name, value string) string {
	if value == "" {
		return value
	}
	f := s.rules.find(k, name)
	switch {
	case f != nil && !f.scan:
		return s.whole(f.rule, f.class, s.rules.actionOf(f), value)
	case f == nil && s.rules.closed:
		return s.whole("unknown:"+k.String(), Unknown, s.rules.unknown, value)
	}
	return s.leaf(value)
}

// whole scrubs a value of which the schema knows what it is.
func (s *Scrubber) whole(rule string, class Class, action Action, value string) string {
	b := []byte(value)
	skip := schemeLen(b, class)
	if isScrubbed(b[skip:]) {
		return value
	}
	out := append([]byte(nil), b[:skip]...)
	return string(s.act(out, rule, class, action, b[skip:], b[skip:]))
}

// leaf runs the detectors over a decoded value.
func (s *Scrubber) leaf(value string) string {
	clean, changed := s.part([]byte(value), 0)
	if !changed {
		return value
	}
	return string(clean)
}

// Env scrubs a list of NAME=VALUE.
func (s *Scrubber) Env(env []string) []string {
	out := make([]string, len(env))
	for i, e := range env {
		name, value, ok := strings.Cut(e, "=")
		if !ok {
			out[i] = s.leaf(e)
			continue
		}
		out[i] = s.leaf(name) + "=" + s.Field(Env, name, value)
	}
	return out
}
