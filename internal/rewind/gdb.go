package rewind

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
)

// GDB is a gdb that runs under its machine interface. One command is under way
// at a time.
type GDB struct {
	path  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	limit time.Duration // for a command that doesn't resume

	turn    sync.Mutex
	token   int
	records chan record
	ended   chan struct{} // closed when gdb is gone

	mu    sync.Mutex
	words bytes.Buffer // the end of what gdb said outside of the interface
}

// CommandError is a command that gdb refused.
type CommandError struct {
	Command string
	Message string // gdb's words
}

func (e *CommandError) Error() string { return e.Message }

// ErrGDBEnded is wrapped by the error that tells gdb's last words.
var ErrGDBEnded = errors.New("gdb has ended")

// noHistory is all that some versions say at either end of the recording.
const noHistory = "No more reverse-execution history"

const (
	maxWords  = 2 << 10
	killAfter = 3 * time.Second // an interrupted gdb gets to answer
)

// startGDB runs gdb without reading anybody's settings, and with nothing of a
// recording's files being executed by it.
func startGDB(path string, limit time.Duration) (*GDB, error) {
	if path == "" {
		var err error
		if path, err = exttool.Find("gdb", "gdb"); err != nil {
			return nil, err
		}
	}
	g := &GDB{path: path, limit: limit, records: make(chan record, 64), ended: make(chan struct{})}
	g.cmd = exec.Command(path, "-nx", "-q", "--interpreter=mi3", "-iex", "set auto-load off", "-iex", "set debuginfod enabled off")
	g.cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME=/nonexistent")
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the terminal's ^C is ours to pass on
	g.cmd.Stderr = wordWriter{g}
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if g.in, err = g.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := g.cmd.Start(); err != nil {
		return nil, &exttool.Missing{Need: "a working gdb", Found: err.Error(), Err: err}
	}
	go g.read(out)
	return g, nil
}

func (g *GDB) read(out io.Reader) {
	defer close(g.ended)
	defer g.cmd.Wait()
	defer close(g.records)
	lines := bufio.NewScanner(out)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		r, err := parseRecord(lines.Text())
		switch {
		case errors.Is(err, errPrompt):
			continue
		case err != nil: // what the program printed, or gdb before it died
			g.say(lines.Text() + "\n")
			continue
		case r.kind == '&':
			g.say(r.text)
		}
		g.records <- r
	}
	io.Copy(io.Discard, out)
}

func (g *GDB) say(text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.words.WriteString(text)
	if over := g.words.Len() - maxWords; over > 0 {
		g.words.Next(over)
	}
}

type wordWriter struct{ g *GDB }

func (w wordWriter) Write(b []byte) (int, error) {
	w.g.say(string(b))
	return len(b), nil
}

// gone is the error of a gdb that is not there any more.
func (g *GDB) gone() error {
	<-g.ended
	g.mu.Lock()
	defer g.mu.Unlock()
	text := strings.TrimSpace(g.words.String())
	if text == "" {
		text = g.cmd.ProcessState.String()
	}
	return fmt.Errorf("%w: %s", ErrGDBEnded, text)
}

// answer is what a command brought.
type answer struct {
	results value
	console string
	stop    value // of a command that resumes
}

// do runs a command of the machine interface.
func (g *GDB) do(ctx context.Context, command string) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, g.limit, fmt.Errorf("gdb: no answer to %q within %v", command, g.limit))
	defer cancel()
	return g.run(ctx, command, false)
}

// console runs a command as typed by a user, and returns what it prints.
func (g *GDB) console(ctx context.Context, command string) (string, error) {
	a, err := g.do(ctx, "-interpreter-exec console "+quote(command))
	return a.console, err
}

// resume runs a command that makes the program go, forward or backward, and
// returns the stop. Only ctx limits how long that takes.
func (g *GDB) resume(ctx context.Context, command string) (value, error) {
	a, err := g.run(ctx, command, true)
	return a.stop, err
}

func (g *GDB) run(ctx context.Context, command string, resumes bool) (answer, error) {
	g.turn.Lock()
	defer g.turn.Unlock()
	if err := ctx.Err(); err != nil {
		return answer{}, context.Cause(ctx)
	}
	g.token++
	if strings.ContainsAny(command, "\n\r") {
		return answer{}, &CommandError{command, "a command of more than one line"}
	}
	if _, err := fmt.Fprintf(g.in, "%d%s\n", g.token, command); err != nil {
		g.in.Close()
		return answer{}, g.drain()
	}
	var a answer
	var text strings.Builder
	answered, stopped := false, false
	interrupted := ctx.Done()
	var deadline <-chan time.Time
	for {
		select {
		case r, ok := <-g.records:
			if !ok && interrupted == nil {
				g.gone()
				return a, context.Cause(ctx)
			}
			if !ok {
				return a, g.gone()
			}
			switch {
			case r.kind == '~' || r.kind == '@':
				if text.Len() < maxLine {
					text.WriteString(r.text)
				}
			case r.kind == '^' && r.token == g.token:
				if r.class == "error" {
					if err := context.Cause(ctx); err != nil {
						return a, err
					}
					return a, &CommandError{command, strings.TrimSpace(r.results.str("msg"))}
				}
				answered, a.results = true, r.results
				if r.class == "exit" {
					return a, nil
				}
			case r.kind == '*' && r.class == "stopped":
				stopped, a.stop = true, r.results
			}
		case <-interrupted: // gdb stops what it does at SIGINT
			interrupted = nil
			g.cmd.Process.Signal(syscall.SIGINT)
			deadline = time.After(killAfter)
			continue
		case <-deadline:
			g.cmd.Process.Kill()
			g.drain()
			return a, context.Cause(ctx)
		}
		if answered && (stopped || !resumes) {
			a.console = text.String()
			if stopped && a.stop.str("reason") == "" && strings.Contains(a.console, noHistory) {
				a.stop.fields = append(a.stop.fields, field{"reason", value{text: "no-history"}})
			}
			if interrupted == nil {
				return a, context.Cause(ctx)
			}
			return a, nil
		}
	}
}

// drain waits for gdb's end.
func (g *GDB) drain() error {
	for range g.records {
	}
	return g.gone()
}

// close ends gdb.
func (g *GDB) close() {
	select {
	case <-g.ended:
		return
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), killAfter)
	defer cancel()
	g.run(ctx, "-gdb-exit", false)
	g.in.Close()
	go g.drain()
	select {
	case <-g.ended:
	case <-time.After(killAfter):
		g.cmd.Process.Kill()
		<-g.ended
	}
}
