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
