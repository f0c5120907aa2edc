package ui

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestBytes(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KB", 1536: "1.5 KB", 1<<20 - 1: "1024.0 KB", 1 << 20: "1.0 MB",
		13*1<<20 + 1<<19: "13.5 MB", 1 << 30: "1.0 GB", 5 << 40: "5120.0 GB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

// Progress is for people who look at it: none of it in a file or a pipe.
func TestNoTerminal(t *testing.T) {
	t.Parallel()
	f, err := os.CreateTemp(t.TempDir(), "err")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out bytes.Buffer
	term := New(&out, f)
	term.Progress("attempt 1")
	term.Say("done")
	term.Output([]byte("result\n"), []byte("words\n"))
	term.Progress("")
	got, err := os.ReadFile(f.Name())
	if err != nil || string(got) != "tapedeck: done\nwords\n" || out.String() != "result\n" {
		t.Errorf("%q, %q, %v", got, out.String(), err)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	var out, err bytes.Buffer
	term := New(&out, &err)
	term.terminal = true
	term.Progress("one")
	term.Progress("too soon")
	term.last = time.Time{}
	term.Progress("two")
	term.Say("a line")
	term.last = time.Time{}
	term.Progress("three")
	term.Output([]byte("o"), []byte("e"))
	term.last = time.Time{}
	term.Progress("four")
	term.Progress("")
	term.Progress("")
	const wipe = "\r\x1b[K"
	if want := "tapedeck: one" + wipe + "tapedeck: two" + wipe + "tapedeck: a line\n" + "tapedeck: three" + wipe + "e" + "tapedeck: four" + wipe; err.String() != want {
		t.Errorf("%q\nwant %q", err.String(), want)
	}
	if out.String() != "o" {
		t.Errorf("%q", out.String())
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	var out, err bytes.Buffer
	term := New(&out, &err)
	term.terminal = true
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { term.Say("whole line"); term.Progress("x"); term.Output([]byte("o\n"), nil) })
	}
	wg.Wait()
	text := strings.NewReplacer("\r\x1b[K", "", "tapedeck: x", "").Replace(err.String())
	if text != strings.Repeat("tapedeck: whole line\n", 20) || out.String() != strings.Repeat("o\n", 20) {
		t.Errorf("%q", text)
	}
}
