package seal

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// A localRef names a key of a key file: local:NAME, or as manifests have it,
// local:NAME?id=ID&v=VERSION. Names are chosen by people and occur on many
// machines; the id is random and occurs once.
type localRef struct {
	name    string
	id      string // "" is whichever has the name
	version int    // 0 is the newest
}

const localScheme = "local:"

func parseLocal(ref string) (localRef, error) {
	bad := func(found string) error {
		return &KeyError{Ref: shown(ref), Need: "local:NAME, or local:NAME?id=ID&v=VERSION", Found: found}
	}
	rest, ok := strings.CutPrefix(ref, localScheme)
	if !ok {
		return localRef{}, bad("another kind of reference")
	}
	name, query, asked := strings.Cut(rest, "?")
	r := localRef{name: name}
	if err := checkName(name); err != nil {
		return r, bad(err.Error())
	}
	if !asked {
		return r, nil
	}
	q, err := url.ParseQuery(query)
	if err != nil || len(q) != 2 || len(q["id"]) != 1 || len(q["v"]) != 1 {
		return r, bad("something else behind the ?")
	}
	r.id = q.Get("id")
	if !isID(r.id) {
		return r, bad("an id that can't be one")
	}
	r.version, err = strconv.Atoi(q.Get("v"))
	if err != nil || r.version < 1 {
		return r, bad("a version that can't be one")
	}
	return r, nil
}

func (r localRef) String() string {
	if r.id == "" {
		return localScheme + r.name
	}
	return fmt.Sprintf("%s%s?id=%s&v=%d", localScheme, r.name, r.id, r.version)
}

// checkName keeps names to what needs no quoting anywhere.
func checkName(name string) error {
	if name == "" || len(name) > 64 {
		return fmt.Errorf("a name of %d bytes (1 to 64 are allowed)", len(name))
	}
	for i, c := range []byte(name) {
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && (i == 0 || !strings.ContainsRune("_.-", rune(c))) {
			return fmt.Errorf("the name %q (letters, digits, and inside also . _ -)", shown(name))
		}
	}
	return nil
}

func isID(s string) bool {
	if len(s) != 16 {
		return false
	}
	for _, c := range []byte(s) {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}

// shown is text from outside, fit for one line of a terminal.
func shown(s string) string {
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

// scheme is what stands before the first colon, or "age" for its recipients.
func scheme(ref string) string {
	if isRecipient(ref) {
		return "age"
	}
	s, _, ok := strings.Cut(ref, ":")
	if !ok {
		return ""
	}
	return s
}
