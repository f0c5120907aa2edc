package exttool

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]fs.FileMode{"tool": 0o755, "notes": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	if got, err := Find("tool", "tool-package"); got != filepath.Join(dir, "tool") || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, name := range []string{"notes", "no-such-tool"} {
		_, err := Find(name, "its-package")
		var missing *Missing
		if !errors.As(err, &missing) || !errors.Is(err, exec.ErrNotFound) {
			t.Fatalf("%s: %v", name, err)
		}
		if want := "need " + name + ", found no such program in PATH"; err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
		if want := "apt-get install its-package"; !strings.HasSuffix(missing.Hint(), want) {
			t.Errorf("%q, want %q", missing.Hint(), want)
		}
	}
	if _, err := Find("no-such-tool", ""); err.(*Missing).Hint() != "" {
		t.Errorf("a hint about no package: %v", err)
	}
	// what only root's PATH has
	if _, err := Find("mkfs.ext4", "e2fsprogs"); err == nil {
		t.Error("found in an empty PATH")
	}
	if got, err := FindRoot("mkfs.ext4", "e2fsprogs"); err != nil || filepath.Base(got) != "mkfs.ext4" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := FindRoot("no-such-tool", "its-package"); err == nil {
		t.Error("no error")
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	if got := (&Missing{Need: "ptrace"}).Error(); got != "need ptrace, found nothing" {
		t.Error(got)
	}
	if got := (&Missing{Need: "ptrace", Found: "EPERM", Fix: "x", Err: fs.ErrPermission}); got.Error() != "need ptrace, found EPERM" || !errors.Is(got, fs.ErrPermission) {
		t.Error(got)
	}
}

func TestOutput(t *testing.T) {
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	t.Setenv("KEEP", "kept")
	out, err := Output(t.Context(), 0, "/bin/sh", "-c", "echo $LC_ALL $KEEP; echo noise >&2")
	if string(out) != "C.UTF-8 kept\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	for _, c := range []struct {
		script, want string
		code         int
	}{
		{"echo so far; echo the cause >&2; exit 3", "/bin/sh: the cause", 3},
		{"echo so far; exit 3", "/bin/sh: exit status 3", 3},
		{"echo so far; kill -9 $$", "/bin/sh: signal: killed", -1},
	} {
		out, err := Output(t.Context(), 0, "/bin/sh", "-c", c.script)
		var run *RunError
		if !errors.As(err, &run) || run.Code != c.code || err.Error() != c.want || string(out) != "so far\n" {
			t.Errorf("%s: %q, %v", c.script, out, err)
		}
	}
	_, err = Output(t.Context(), 0, "/bin/sh", "-c", "yes 0123456789 | head -c 100000 >&2; echo the end >&2; exit 1")
	var run *RunError
	if !errors.As(err, &run) || len(run.Stderr) != keepStderr || !strings.HasSuffix(err.Error(), "the end") {
		t.Errorf("%v", err)
	}
	if _, err := Output(t.Context(), 0, "/nowhere/tool"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// A tool that does not end is killed, even if a child of it holds its output.
func TestOutputEnds(t *testing.T) {
	t.Parallel()
	start := time.Now()
	_, err := Output(t.Context(), 100*time.Millisecond, "/bin/sh", "-c", "sleep 1000 & sleep 1000")
	if err == nil || !strings.Contains(err.Error(), "no answer within 100ms") {
		t.Errorf("%v", err)
	}
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(enough) })
	if _, err := Output(ctx, 0, "/bin/sh", "-c", "exec sleep 1000"); !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
}
