package scrub

import (
	"errors"
	"strings"
)

// pathRule is a place in a JSON document: $.user.cards[*].number. A segment
// is a key, * for any key or index, or ** for any number of segments.
type pathRule struct {
	segments []string // keys as words, see appendName
	field    *field
}

func parsePath(text string) (pathRule, error) {
	var p pathRule
	text = strings.TrimPrefix(text, "$")
	text = strings.TrimPrefix(text, ".")
	text = strings.NewReplacer("[*]", ".*", "[]", ".*").Replace(text)
	if strings.ContainsAny(text, "[]") {
		return p, errors.New("an index is written [*]: rules hold for all of a list")
	}
	for s := range strings.SplitSeq(text, ".") {
		if s != "*" && s != "**" {
			s = squash(string(appendName(nil, s)))
		}
		if s == "" {
			return p, errors.New("a segment between two dots is empty")
		}
		p.segments = append(p.segments, s)
	}
	if len(p.segments) > 64 {
		return p, errors.New("at most 64 segments")
	}
	return p, nil
}

// matchPath compares segments with the keys from the root to a value.
func matchPath(segments []string, keys []string) bool {
	for len(segments) > 0 {
		if segments[0] == "**" {
			for i := 0; i <= len(keys); i++ {
				if matchPath(segments[1:], keys[i:]) {
					return true
				}
			}
			return false
		}
		if len(keys) == 0 || segments[0] != "*" && segments[0] != keys[0] {
			return false
		}
		segments, keys = segments[1:], keys[1:]
	}
	return len(keys) == 0
}
