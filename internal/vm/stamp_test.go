package vm

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Whatever is done to a file, its stamp does not hold any more.
func TestStamp(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(file string) error{
		"nothing":  func(string) error { return nil },
		"written":  func(f string) error { return os.WriteFile(f, []byte("B"), 0o600) },
		"longer":   func(f string) error { return os.WriteFile(f, []byte("AA"), 0o600) },
		"old time": func(f string) error { return os.Chtimes(f, time.Unix(1, 0), time.Unix(1, 0)) },
		"replaced": func(f string) error {
			if err := os.WriteFile(f+"2", []byte("A"), 0o600); err != nil {
				return err
			}
			return os.Rename(f+"2", f)
		},
	} {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, []byte("A"), 0o600); err != nil {
			t.Fatal(err)
		}
		before, err := stampOf(file)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // more than a tick of the file system's clock
		if err := change(file); err != nil {
			t.Fatal(err)
		}
		now, err := stampOf(file)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := before.holds(now), name == "nothing"; got != want {
			t.Errorf("%s: holds: %v", name, got)
		}
	}
}

func TestStampAges(t *testing.T) {
	t.Parallel()
	s := stamp{Path: "/x", Inode: 1, Changed: 1_000_000_000_000_000_000, Looked: 1_000_000_001}
	if s.settled() {
		t.Error("settled one second after a change")
	}
	s.Looked++
	if !s.settled() {
		t.Error("not settled two seconds after a change")
	}
	for seconds, want := range map[int64]bool{0: true, 3599: true, 3600: false, -1: false} {
		now := s
		now.Looked += seconds
		if got := s.holds(now); got != want {
			t.Errorf("after %d s: holds: %v", seconds, got)
		}
	}
}

// A snapshot that was found good is read again when it changes, and after an hour.
func TestSnapshotChecked(t *testing.T) {
	t.Parallel()
	b := &Base{Dir: t.TempDir()}
	if err := os.WriteFile(b.Snapshot(), []byte("good"), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.Digest, err = Digest(b.Snapshot()); err != nil {
		t.Fatal(err)
	}
	now, err := stampOf(b.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	note := filepath.Join(b.Dir, checkedFile)
	if err := b.checkSnapshot(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(note); err == nil {
		t.Error("a file written just now got a stamp")
	}
	b.Digest = "of another file"
	if err := writeJSON(note, checkedSnapshot{now, "of another file"}); err != nil {
		t.Fatal(err)
	}
	if err := b.checkSnapshot(); err != nil {
		t.Errorf("read although its stamp holds: %v", err)
	}
	now.Looked -= 3601
	if err := writeJSON(note, checkedSnapshot{now, "of another file"}); err != nil {
		t.Fatal(err)
	}
	if err := b.checkSnapshot(); err == nil {
		t.Error("an old stamp passed")
	}
	if err := os.WriteFile(note, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.checkSnapshot(); err == nil {
		t.Error("a broken note passed")
	}
}
