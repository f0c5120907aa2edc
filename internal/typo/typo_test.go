package typo

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	known := []string{"query", "header", "form", "path", "body", "volatile"}
	for word, want := range map[string]string{
		"qury": "query", "Header": "header", "paths": "path", "volatil": "volatile", "from": "form",
		"": "", "cookie": "", "something else": "", strings.Repeat("query", 9): "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
