package rewind

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
)

func script(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestGDBAnswers(t *testing.T) {
	g := fake(t, script(t, `< =thread-group-added,id="i1"
< (gdb)
> -one
< what the program prints
< ~"some\n"
< 99^error,msg="of another command"
< %t^done,value="5"
< (gdb)
> -interpreter-exec console "info \"x\""
< ~"line 1\n"
< @"line 2\n"
< %t^done
> -bad
< &"bad\n"
< %t^error,msg="No symbol \"y\" in current context."
> -exec-continue
< %t^running
< *running,thread-id="all"
< *stopped,reason="breakpoint-hit",thread-id="2"
`), time.Minute)
	ctx := t.Context()
	if a, err := g.do(ctx, "-one"); err != nil || a.results.num("value") != 5 || a.console != "some\n" {
		t.Errorf("got %+v, %v", a, err)
	}
	if text, err := g.console(ctx, `info "x"`); err != nil || text != "line 1\nline 2\n" {
		t.Errorf("got %q, %v", text, err)
	}
	var refused *CommandError
	if _, err := g.do(ctx, "-bad"); !errors.As(err, &refused) || refused.Message != `No symbol "y" in current context.` {
		t.Errorf("got %v", err)
	}
	if stop, err := g.resume(ctx, "-exec-continue"); err != nil || stop.str("reason") != "breakpoint-hit" {
		t.Errorf("got %s, %v", dump(stop), err)
	}
	if _, err := g.do(ctx, "-two\n-lines"); !errors.As(err, &refused) {
		t.Errorf("a command of two lines: %v", err)
	}
}

// TestGDBDies: the error carries gdb's last words.
func TestGDBDies(t *testing.T) {
	g := fake(t, script(t, "> -boom\n< &\"preparing\\n\"\n! Fatal signal: Segmentation fault\nexit\n"), time.Minute)
	_, err := g.do(t.Context(), "-boom")
	if !errors.Is(err, ErrGDBEnded) || !strings.Contains(err.Error(), "Segmentation fault") {
		t.Errorf("got %v", err)
	}
	if _, err := g.do(t.Context(), "-again"); !errors.Is(err, ErrGDBEnded) {
		t.Errorf("the next command: %v", err)
	}
}

// TestGDBHangs: a command has a limit, a resumption only its context.
func TestGDBHangs(t *testing.T) {
	start := time.Now()
	g := fake(t, script(t, "> -slow\nhang\n"), 50*time.Millisecond)
	if _, err := g.do(t.Context(), "-slow"); err == nil || !strings.Contains(err.Error(), `no answer to "-slow"`) {
		t.Errorf("got %v", err)
	}
	g = fake(t, script(t, "deaf\n> -exec-continue\n< %t^running\nhang\n"), time.Minute)
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(errors.New("the user has left")) })
	if _, err := g.resume(ctx, "-exec-continue"); err == nil || err.Error() != "the user has left" {
		t.Errorf("got %v", err)
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestNoGDB(t *testing.T) {
	var missing *exttool.Missing
	if _, err := startGDB("/nonexistent/gdb", time.Minute); !errors.As(err, &missing) {
		t.Errorf("got %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := startGDB("", time.Minute); !errors.As(err, &missing) || !strings.Contains(missing.Fix, "install gdb") {
		t.Errorf("got %v", err)
	}
}
