package vm

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestPrune(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	old := time.Now().Add(-keepUnused - time.Hour)
	for _, dir := range []string{"base-old", "base-new", "base-used", "base-1.partial", "kernel"} {
		if err := os.Mkdir(filepath.Join(cache, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(cache, dir, snapshotFile)
		if err := os.WriteFile(file, []byte("snapshot"), 0o600); err != nil {
			t.Fatal(err)
		}
		if dir != "base-new" {
			if err := os.Chtimes(filepath.Join(cache, dir), old, old); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(dir, filepath.Join(cache, "made-from-"+dir)); err != nil {
			t.Fatal(err)
		}
	}
	if n, snapshots, err := CacheSize(cache); n != 5*8 || snapshots != 5 || err != nil {
		t.Errorf("%d bytes, %d snapshots, %v", n, snapshots, err)
	}
	(&Base{Dir: filepath.Join(cache, "base-used")}).touch()
	if err := prune(cache, time.Now().Add(-keepUnused)); err != nil {
		t.Fatal(err)
	}
	var left []string
	entries, err := os.ReadDir(cache)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, e.Name())
	}
	want := []string{"base-new", "base-used", "kernel", "made-from-base-new", "made-from-base-used", "made-from-kernel"}
	if !slices.Equal(left, want) {
		t.Errorf("left: %q, want %q", left, want)
	}
	if n, snapshots, err := CacheSize(filepath.Join(cache, "none")); n != 0 || snapshots != 0 || err != nil {
		t.Errorf("no cache: %d bytes, %d snapshots, %v", n, snapshots, err)
	}
}
