package scrub

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync/atomic"
)

// field is what a schema says of one name or pattern.
type field struct {
	rule   string // as reports show it, e.g. "env:*token*"
	class  Class
	action Action
	set    bool // the action was given, rather than left to the class
	scan   bool // known and harmless: only the detectors look at the value
}

// nameSet finds the field of a name. Names are compared by their words:
// apiKey, API_KEY, api-key and "Api Key" are one.
type nameSet struct {
	exact    map[string]*field // by squashed name
	patterns []pattern
	open     bool // some pattern ends in *, so that tails don't tell
	cache    *nameCache
	tails    [64]uint64 // which two last characters a known name can have
}

type pattern struct {
	text  string // lower-case words joined by _, with * for anything
	layer int    // rule sets that extend others come later, and win
	field *field
}

func (n *nameSet) add(name string, layer int, f *field) {
	text := string(appendName(nil, name))
	if !strings.Contains(text, "*") {
		if n.exact == nil {
			n.exact = map[string]*field{}
		}
		n.exact[squash(text)] = f
		n.tail(text)
		return
	}
	n.patterns = slices.DeleteFunc(n.patterns, func(p pattern) bool { return p.text == text })
	n.patterns = append(n.patterns, pattern{text, layer, f})
	slices.SortStableFunc(n.patterns, func(a, b pattern) int {
		if a.layer != b.layer {
			return b.layer - a.layer
		}
		return len(b.text) - len(a.text)
	})
	if strings.HasSuffix(text, "*") {
		n.open = true
	} else {
		n.tail(text)
	}
}

func (n *nameSet) tail(text string) {
	last := len(text) - 1
	if last < 1 || text[last-1] == '*' {
		n.open = true // a name of one character, or a pattern that ends in one
		return
	}
	prev := text[last-1]
	if prev == '_' && last > 1 {
		prev = text[last-2]
	}
	n.tails[tailBits(prev)] |= 1 << tailBits(text[last])
}

// tailBits folds case; it may confuse characters, which costs a look-up.
func tailBits(c byte) byte { return (c | 0x20) & 63 }

// empty says whether no name is known.
func (n *nameSet) empty() bool { return len(n.exact) == 0 && len(n.patterns) == 0 }

// may is false for most names that are unknown, and fast.
func (n *nameSet) may(prev, last byte) bool {
	return n.tails[tailBits(prev)]>>tailBits(last)&1 != 0 || n.open
}

// find returns the field of a name, or nil. Programs have few names, so that
// most are found in the cache as they are spelt.
func (n *nameSet) find(name []byte) *field {
	if n.empty() || len(name) == 0 || len(name) > maxName {
		return nil
	}
	if n.cache == nil {
		return n.lookup(name)
	}
	at := cacheSlot(name)
	slot := &n.cache[at]
	if c := slot.Load(); c != nil {
		if c.name == string(name) {
			return c.field
		}
		// Two names with one hash must not drive out each other all the time.
		slot = &n.cache[at^1]
		if c := slot.Load(); c != nil && c.name == string(name) {
			return c.field
		}
	}
	f := n.lookup(name)
	if len(name) <= maxCached {
		slot.Store(&cached{string(name), f})
	}
	return f
}

const (
	cacheSize = 512
	maxCached = 48
)

// nameCache is bounded: a name takes the place of another with its hash.
type nameCache [cacheSize]atomic.Pointer[cached]

type cached struct {
	name  string
	field *field
}

func cacheSlot(name []byte) uint32 {
	var h uint64
	if n := len(name); n >= 8 {
		// Names that agree in both ends and in length are few.
		h = binary.LittleEndian.Uint64(name)*0x9e3779b97f4a7c15 ^ binary.LittleEndian.Uint64(name[n-8:])
	} else {
		for _, c := range name {
			h = h<<8 | uint64(c)
		}
	}
	h = (h + uint64(len(name))) * 0x9e3779b97f4a7c15
	return uint32(h>>32) % cacheSize
}

func (n *nameSet) lookup(name []byte) *field {
	var space [2 * maxName]byte
	words := appendName(space[:0], name)
	var short [maxName]byte
	squashed := short[:0]
	for _, c := range words {
		if c != '_' && len(squashed) < maxName {
			squashed = append(squashed, c)
		}
	}
	if f := n.exact[string(squashed)]; f != nil {
		return f
	}
	for i := range n.patterns {
		if glob(n.patterns[i].text, words) {
			return n.patterns[i].field
		}
	}
	return nil
}

// maxName bounds what is looked up; longer names are data.
const maxName = 128

// appendName writes a name as lower-case words joined by underscores.
func appendName[T []byte | string](dst []byte, name T) []byte {
	start := len(dst)
	gap := false
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case isUpper(c):
			if i > 0 && (isLower(name[i-1]) || isDigit(name[i-1]) ||
				isUpper(name[i-1]) && i+1 < len(name) && isLower(name[i+1])) {
				gap = true
			}
			c |= 0x20
		case isLower(c) || isDigit(c) || c == '*' || c >= 0x80:
		default:
			gap = true
			continue
		}
		if gap && len(dst) > start {
			dst = append(dst, '_')
		}
		gap = false
		dst = append(dst, c)
	}
	return dst
}

func squash(words string) string { return strings.ReplaceAll(words, "_", "") }

// glob matches with * for any run of characters.
func glob(pattern string, s []byte) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
