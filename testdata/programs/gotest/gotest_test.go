package gotest

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSlug(t *testing.T) {
	for title, want := range map[string]string{
		"Hello World":    "hello-world",
		"  two  spaces ": "two-spaces",
		"":               "",
	} {
		if got := Slug(title); got != want {
			t.Errorf("Slug(%q) = %q, want %q", title, got, want)
		}
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), Slug("A File"))
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFailing fails when it is asked to.
func TestFailing(t *testing.T) {
	if os.Getenv("GOTEST_FAIL") != "" {
		t.Fatal("asked to fail by GOTEST_FAIL")
	}
}
