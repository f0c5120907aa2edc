package scrub

import (
	"fmt"
	"strings"
)

// RuleError is a rule file that can't be used as it stands. There are no
// rules then: scrubbing by half of a file would be worse than none.
type RuleError struct {
	File   string
	Line   int // 1 is the first; 0 if the file as a whole is meant
	Column int
	Need   string
	Found  string
	Fix    string // empty if there is no better advice than what is needed
	Err    error  // the cause, if a lower layer reported one
}

func (e *RuleError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	fmt.Fprintf(&b, ": need %s, found %s", e.Need, e.Found)
	return b.String()
}

// Hint says how to mend it.
func (e *RuleError) Hint() string { return e.Fix }

func (e *RuleError) Unwrap() error { return e.Err }

// near returns the candidate that a misspelt name probably means, or "".
func near(name string, candidates []string) string {
	best, least := "", 1+len(name)/3
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), c); d <= least && (best == "" || d < least) {
			best, least = c, d
		}
	}
	return best
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
