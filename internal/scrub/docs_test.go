package scrub

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocs runs the examples of docs/scrub.md.
func TestDocs(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/scrub.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string) string {
		m := regexp.MustCompile("(?s)```" + kind + "\n(.*?)```").FindSubmatch(doc)
		if m == nil {
			t.Fatalf("no example of kind %s", kind)
		}
		return string(m[1])
	}
	s := parseTest(t, block("yaml"))
	lines := strings.Split(strings.TrimSpace(block("scrub")), "\n")
	for _, line := range lines {
		kind, rest, _ := strings.Cut(line, " ")
		in, want, ok := strings.Cut(rest, " => ")
		if !ok {
			t.Fatalf("no example: %s", line)
		}
		run := s.Text
		if kind == "json" {
			run = s.JSON
		}
		if got := shape(run([]byte(in)).Bytes()); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
	for _, name := range detectorNames {
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("detector %s isn't described", name)
		}
	}
	for _, name := range append(sectionNames(), actionNames[:]...) {
		if !strings.Contains(string(doc), name) {
			t.Errorf("%s isn't described", name)
		}
	}
}
