package volatile

import (
	"fmt"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/typo"
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
	if best := typo.Nearest(word, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return ""
}
