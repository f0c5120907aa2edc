package vm

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/record"
	machine "github.com/tapedeck-dev/tapedeck/internal/vm"
)

func TestGuestMemory(t *testing.T) {
	t.Parallel()
	for mib, want := range map[int64]int{0: 256, 100: 256, 107: 256, 120: 1024, 600: 1024, 700: 4096, 2600: 4096, 3000: 4596} {
		if got := guestMemory(mib << 20); got != want {
			t.Errorf("a program of %d MiB: %d, want %d", mib, got, want)
		}
	}
}

func TestParams(t *testing.T) {
	t.Parallel()
	r := &Recorder{job: record.Job{Timeout: 1500 * time.Millisecond, Chaos: true}, strategy: mixture}
	for _, want := range []string{"seed=7\n", "timeout_ms=1500\n", "chaos=mix\n"} {
		if got := r.params(7); !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	r = &Recorder{}
	if got := r.params(7); strings.Contains(got, "timeout") || strings.Contains(got, "chaos") {
		t.Errorf("%q", got)
	}
	for name, want := range map[string]bool{"host-1.example": true, "x\nuid=0": false, "": false, "a b": false, strings.Repeat("x", 65): false} {
		if hostName.MatchString(name) != want {
			t.Errorf("host name %q", name)
		}
	}
}

func TestLookPath(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/tool", []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	for _, name := range []string{"tool", "./tool", dir + "/tool", "../" + filepath.Base(dir) + "/tool"} {
		if got, err := lookPath(name, dir); got != dir+"/tool" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := lookPath("./gone", dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestIncludeAndListed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, size := range map[string]int{"a": 1, "b/c": 2, "b/d/e": 3, "big": maxOne + 1} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := include(dir, "b")
	if want := []string{dir + "/b", dir + "/b/c", dir + "/b/d", dir + "/b/d/e"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if _, err := include(dir, "gone"); err == nil || !strings.HasPrefix(err.Error(), "--include: ") {
		t.Errorf("%v", err)
	}
	if got, want := listed([]string{dir, "/proc", "/nowhere"}), []string{dir + "/a", dir + "/b"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// The trace is the kernel's own text; a look-up and its failure are of one thread.
func TestMissed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"here.txt", "a\"b", "other"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("here.txt", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	line := func(pid, what string) string {
		return "          cat-" + pid + "      [000] .....     9.876543: " + what + "\n"
	}
	open := func(pid, name string) string { return line(pid, `open: (do_filp_open+0x0/0x140) name="`+name+`"`) }
	failed := func(pid string) string { return line(pid, "opened: (path_openat+0x1/0x2 <- do_filp_open) ret=-2") }
	r := &Recorder{job: record.Job{Dir: dir}, world: &machine.World{}}
	for _, c := range []struct {
		name, trace string
		want        []string
	}{
		{"nothing", "# tracer: nop\n#\n", nil},
		{"relative", open("80", "here.txt") + failed("80"), []string{dir + "/here.txt"}},
		{"twice, and by a link", open("80", dir+"/here.txt") + failed("80") + open("80", "./link") + failed("80") + open("80", "here.txt") + failed("80"), []string{dir + "/here.txt"}},
		{"nowhere", open("80", "/no/such/file") + failed("80"), nil},
		{"a folder", open("80", "/etc") + failed("80"), nil},
		{"of the kernel", open("80", "/proc/self/stat") + failed("80"), nil},
		{"two threads", open("80", "other") + open("81", "/no/such") + failed("81") + failed("80"), []string{dir + "/other"}},
		{"only the failure", failed("80"), nil},
		{"found", open("80", "here.txt") + open("80", "/no/such") + failed("80"), nil},
		{"quotes", open("80", `a"b`) + failed("80"), []string{dir + `/a"b`}},
		{"by stat", line("9", `look: (filename_lookup+0x0/0x1) name="other"`) + line("9", "looked: (x <- filename_lookup) ret=-2"), []string{dir + "/other"}},
	} {
		if got := r.missed(c.trace, 0); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	trace := open("80", "other") + failed("80") + open("81", "here.txt") + failed("81")
	if got, want := r.missed(trace, 81), []string{dir + "/here.txt"}; !reflect.DeepEqual(got, want) {
		t.Errorf("from thread 81 on: %q, want %q", got, want)
	}
}
