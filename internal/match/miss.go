package match

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
)

// Miss is a request that was not recorded.
type Miss struct {
	Request string  `json:"request"` // method and URL
	Cause   string  `json:"cause"`
	Nearest string  `json:"nearest,omitempty"` // event id
	Served  string  `json:"served,omitempty"`  // event id of the answer that it got even so
	Fields  []Field `json:"fields,omitempty"`  // in which the nearest one differs
}

// Field is one difference.
type Field struct {
	Name     string `json:"name"`
	Recorded string `json:"recorded"`
	Live     string `json:"live"`
}

// The causes.
const (
	NewCall     = "new call"
	ExtraRepeat = "extra repeat"
	Drifted     = "drifted field"
	TokenDrift  = "token mismatch"
	ClockDrift  = "clock"
)

const (
	maxFields = 25
	maxValue  = 200
	maxSearch = 2000 // candidates for the nearest
)

func (m *Miss) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s was not recorded (%s)", m.Request, m.Cause)
	switch {
	case m.Served != "":
		fmt.Fprintf(&b, "; lenient: got the answer of %s, the nearest", m.Served)
	case m.Nearest != "":
		fmt.Fprintf(&b, "; nearest is %s", m.Nearest)
	}
	for _, f := range m.Fields {
		fmt.Fprintf(&b, "\n  %s: recorded %q, now %q", f.Name, f.Recorded, f.Live)
	}
	return b.String()
}

// ID is an exchange's event id.
func ID(e *cassette.Exchange) string { return fmt.Sprintf("http:%d", e.ID) }

var times = regexp.MustCompile(`^\d{4}-\d\d-\d\d[T ]\d\d:\d\d|^1[5-9]\d{8}(\.\d+|\d{3}|\d{6}|\d{9})?$|GMT$`)

func cause(fields []Field) string {
	all := func(f func(Field) bool) bool {
		return len(fields) > 0 && !slices.ContainsFunc(fields, func(x Field) bool { return !f(x) })
	}
	switch {
	case all(func(f Field) bool { return times.MatchString(f.Recorded) && times.MatchString(f.Live) }):
		return ClockDrift
	case all(func(f Field) bool { return strings.Contains(f.Recorded, "tok_") || strings.Contains(f.Live, "tok_") }):
		return TokenDrift
	}
	return Drifted
}

func short(s string) string {
	if len(s) > maxValue {
		return s[:maxValue] + "…"
	}
	return s
}
