package nondet

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/volatile"
)

// classify says what a field holds, by the values that it has had. It says so
// only if all of them agree.
func classify(f *Finding) {
	for _, c := range classes {
		if why := c.is(f.pairs); why != "" {
			f.Kind, f.Why = c.kind, why
			return
		}
	}
	f.Kind, f.Why = Other, "the values look like nothing that is known to differ"
	if every(f.pairs, func(p pair) bool { return p.x == "" || p.y == "" }) {
		f.Why = "only one of the runs has this field"
	}
}

// classes are tried in this order: a UUID is a nonce too, and a time may be
// taken for a counter.
var classes = []struct {
	kind string
	is   func([]pair) string
}{
	{string(volatile.UUID), func(ps []pair) string { return both(ps, volatile.UUID, "UUIDs") }},
	{string(volatile.Time), times},
	{string(volatile.UUID), func(ps []pair) string { return within(ps, uuids, "a UUID") }},
	{string(volatile.Time), func(ps []pair) string { return within(ps, dates, "a time") }},
	{Other, private},
	{string(volatile.Counter), counters},
	{string(volatile.Nonce), nonces},
}

func every(ps []pair, is func(pair) bool) bool {
	for _, p := range ps {
		if !is(p) {
			return false
		}
	}
	return true
}

func both(ps []pair, k volatile.Kind, what string) string {
	if every(ps, func(p pair) bool { return volatile.Looks(k, p.x) && volatile.Looks(k, p.y) }) {
		return "both are " + what
	}
	return ""
}

// times are written out, or are numbers that are as far apart as the clocks of
// the runs.
func times(ps []pair) string {
	why := "both are times"
	for _, p := range ps {
		if !volatile.Looks(volatile.Time, p.x) || !volatile.Looks(volatile.Time, p.y) {
			return ""
		}
		x, ok1 := number(p.x)
		y, ok2 := number(p.y)
		if ok1 != ok2 {
			return ""
		}
		if !ok1 {
			continue
		}
		off := (y - x) - time.Duration(p.gap)
		if off.Abs() > time.Hour+time.Duration(p.gap/100).Abs() {
			return ""
		}
		why = fmt.Sprintf("both are counts since 1970, as far apart as the clocks (%v)", (y - x).Round(time.Second))
	}
	return why
}

// number is a count since 1970, in seconds or a thousandth, a millionth, a
// thousand-millionth of one, as the number of its digits tells.
func number(s string) (time.Duration, bool) {
	whole, frac, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return 0, false
	}
	unit := time.Nanosecond
	switch d := len(whole); {
	case d <= 10:
		unit = time.Second
	case d <= 13:
		unit = time.Millisecond
	case d <= 16:
		unit = time.Microsecond
	}
	if f, err := strconv.ParseFloat("0."+frac, 64); err == nil && frac != "" {
		return time.Duration(n)*unit + time.Duration(f*float64(unit)), true
	}
	return time.Duration(n) * unit, true
}

var (
	uuids = regexp.MustCompile(volatile.UUIDPattern)
	dates = regexp.MustCompile(`\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d:?\d\d)?)?`)
)

// within tells whether the values are the same but for what an expression finds.
func within(ps []pair, re *regexp.Regexp, what string) string {
	if every(ps, func(p pair) bool {
		return re.MatchString(p.x) && re.ReplaceAllString(p.x, "\x00") == re.ReplaceAllString(p.y, "\x00")
	}) {
		return "they are the same but for " + what + " in them"
	}
	return ""
}

var token = regexp.MustCompile(`tok_[a-z_]+_[0-9a-f]+`)

func private(ps []pair) string {
	if every(ps, func(p pair) bool { return token.MatchString(p.x) || token.MatchString(p.y) }) {
		return "what is private was scrubbed there, and it is another one"
	}
	return ""
}

// counters are whole numbers that grow in each run, or lie close together.
func counters(ps []pair) string {
	grow, near := len(ps) >= 3, true
	last := map[string][2]int64{}
	runs := map[string]int{}
	for _, p := range ps {
		x, err1 := strconv.ParseInt(p.x, 10, 64)
		y, err2 := strconv.ParseInt(p.y, 10, 64)
		if err1 != nil || err2 != nil {
			return ""
		}
		if old, ok := last[p.run.Name]; ok && (x <= old[0] || y <= old[1]) {
			grow = false
		}
		last[p.run.Name] = [2]int64{x, y}
		runs[p.run.Name]++
		near = near && y-x < 1000 && x-y < 1000
	}
	for _, n := range runs {
		grow = grow && n >= 3
	}
	switch {
	case grow:
		return "whole numbers that grow from request to request in each run"
	case near:
		return "whole numbers that lie close together"
	}
	return ""
}

// nonces are of one length or nearly so, of letters and digits, and differ in
// most of them.
func nonces(ps []pair) string {
	if every(ps, func(p pair) bool {
		return random(p.x) && random(p.y) && len(p.x)-len(p.y) <= 2 && len(p.y)-len(p.x) <= 2 && 2*distance(p.x, p.y) > min(len(p.x), len(p.y))
	}) {
		return "letters and digits of one length, of which most differ"
	}
	return ""
}

func random(s string) bool {
	digits := strings.Count(strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return '0'
		}
		return r
	}, s), "0")
	return len(s) >= 8 && volatile.Looks(volatile.Nonce, s) && digits > 0 && digits < len(s)
}

// distance counts the places in which two texts differ.
func distance(a, b string) int {
	n := max(len(a), len(b)) - min(len(a), len(b))
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}
