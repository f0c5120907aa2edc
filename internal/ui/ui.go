// Package ui prints for people: results go to standard output, everything else
// to standard error, progress only to a terminal.
package ui

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// Term is where a command prints.
type Term struct {
	Out, Err io.Writer

	mu       sync.Mutex
	terminal bool      // Err is one
	line     bool      // a line of progress stands there now
	last     time.Time // when it was written
}

// New returns a Term for a command's standard output and standard error.
func New(out, err io.Writer) *Term {
	f, ok := err.(*os.File)
	return &Term{Out: out, Err: err, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

// Say prints one line of information.
func (t *Term) Say(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
	fmt.Fprintln(t.Err, "tapedeck:", line)
}

const progressEvery = 100 * time.Millisecond

// Progress replaces the line of progress; "" removes it.
func (t *Term) Progress(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.terminal || line != "" && time.Since(t.last) < progressEvery {
		return
	}
	t.clear()
	if line != "" {
		fmt.Fprint(t.Err, "tapedeck: ", line)
		t.line, t.last = true, time.Now()
	}
}

// Output passes on what a recorded program printed.
func (t *Term) Output(stdout, stderr []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
	t.Err.Write(stderr)
	t.Out.Write(stdout)
}

func (t *Term) clear() {
	if t.line {
		fmt.Fprint(t.Err, "\r\x1b[K")
		t.line = false
	}
}

// Bytes prints a size as people read it.
func Bytes(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
}
