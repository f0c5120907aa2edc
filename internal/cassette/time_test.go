package cassette

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestTimes: both clocks come back to the nanosecond, older cassettes are read,
// and no clock is written as what passes for a card's number, as this one would.
func TestTimes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "inputs")
	began := Time{Wall: 1_700_000_000_123_456_789, Mono: 30_569_309_025_904}
	w, err := Create(dir, began, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, timeFile)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if regexp.MustCompile(`[0-9]{13}`).Match(text) {
		t.Errorf("looks like a card's number: %s", text)
	}
	for _, form := range []string{string(text), `{"seq":0,"wall":"2023-11-14T22:13:20.123456789Z","mono_ns":30569309025904}` + "\n"} {
		if err := os.WriteFile(name, []byte(form), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if c.Began != began {
			t.Errorf("%s: %v, want %v", form, c.Began, began)
		}
	}
}
