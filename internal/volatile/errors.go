package volatile

import (
	"fmt"
	"strings"
)

// RuleError is a rule file that can't be used as it stands.
type RuleError struct {
	File   string
	Line   int // 1 is the first; 0 if the file as a whole is meant
	Column int
	Field  string // such as volatile[2].kind
	Need   string
	Found  string
	Fix    string // "" if there is no better advice than what is needed
}

func (e *RuleError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	if e.Field != "" {
		b.WriteString(": " + e.Field)
	}
	fmt.Fprintf(&b, ": need %s, found %s", e.Need, e.Found)
	return b.String()
}

// Hint says how to mend it.
func (e *RuleError) Hint() string { return e.Fix }

// didYouMean names the word that a misspelt one is most likely meant to be.
func didYouMean(word string, known []string) string {
	best, least := "", 2+len(word)/4
	for _, k := range known {
		if d := distance(strings.ToLower(word), k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// distance counts the letters to put in, take out or change.
func distance(a, b string) int {
	if len(a) > 40 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
