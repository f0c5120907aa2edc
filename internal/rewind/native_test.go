package rewind

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// native is a [Target] over gdb's own recording of a process, which steps
// every instruction: slow, but there wherever gdb is.
type native struct{ exe string }

// Attach has gdb watch by stepping: going back in its own recording it is deaf
// to the hardware's watchpoints.
func (n native) Attach(context.Context) ([]string, error) {
	return []string{"file " + n.exe, "set startup-with-shell off", "set can-use-hw-watchpoints 0"}, nil
}

func (n native) Close() error { return nil }

func (n native) ToFailure(ctx context.Context, g *GDB) (Failure, error) {
	f := Failure{Name: filepath.Base(n.exe)}
	for _, c := range []string{"-break-insert main", "-exec-run", "-break-delete", "record full", "-break-insert -t failure", "-exec-continue"} {
		var err error
		switch {
		case strings.HasPrefix(c, "-exec"):
			_, err = g.resume(ctx, c)
		case strings.HasPrefix(c, "-"):
			_, err = g.do(ctx, c)
		default:
			_, err = g.console(ctx, c)
		}
		if err != nil {
			return f, fmt.Errorf("%s: %w", c, err)
		}
	}
	var err error
	f.Position, err = n.Position(ctx, g)
	return f, err
}

var (
	currentRE = regexp.MustCompile(`Current instruction number is (\d+)`)
	highestRE = regexp.MustCompile(`Highest recorded instruction number is (\d+)`)
)

func (n native) Position(ctx context.Context, g *GDB) (Position, error) {
	text, err := g.console(ctx, "info record")
	if m := currentRE.FindStringSubmatch(text); m != nil {
		return Position("native:" + m[1]), err
	}
	if m := highestRE.FindStringSubmatch(text); m != nil {
		return "native:end", err
	}
	return "", errors.Join(err, fmt.Errorf("no position in %q", text))
}

func (n native) Goto(ctx context.Context, g *GDB, p Position) error {
	_, err := g.console(ctx, "record goto "+strings.TrimPrefix(string(p), "native:"))
	if err != nil && strings.HasPrefix(err.Error(), "Already at") {
		return nil
	}
	return err
}

func build(t *testing.T, name string, flags ...string) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), strings.TrimSuffix(name, filepath.Ext(name)))
	args := append([]string{"-g", "-O0", "-o", exe, filepath.Join("testdata/programs", name)}, flags...)
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return exe
}

// TestNative runs the engine over gdb's own recording.
func TestNative(t *testing.T) {
	ctx := t.Context()
	s, err := Open(ctx, native{build(t, "steps.c", "-static")}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	end := s.Failure().Position

	st, err := s.Stack(ctx)
	if err != nil || len(st.Frames) != 2 || st.Frames[0].Function != "failure" || st.Frames[1].Function != "main" || st.Frames[1].Line != 34 {
		t.Errorf("stack: got %+v, %v", st, err)
	}
	for expr, want := range map[string]string{"counter": "42", "mine": "10", "accounts[1].balance": "-7", "mine + counter": "52", "*where": "42"} {
		if v, err := s.Print(ctx, expr, AnyFrame); err != nil || v.Value != want {
			t.Errorf("%s: got %+v, %v", expr, v, err)
		}
	}
	if v, err := s.Print(ctx, "mine", AnyFrame); err != nil || v.Frame != 1 || v.Function != "main" || v.Type != "int" {
		t.Errorf("mine: got %+v, %v", v, err)
	}

	for _, c := range []struct{ expr, old, new, by string }{
		{"counter", "10", "42", "set"}, // the second set changed nothing
		{"accounts[1].balance", "0", "-7", "pay"},
		{"mine", "5", "10", "twice"},
		{"i", "", "", ""},
	} {
		if err := s.Goto(ctx, end); err != nil {
			t.Fatal(err)
		}
		w, err := s.LastWrite(ctx, c.expr, AnyFrame)
		if c.by == "" {
			if err == nil || !strings.Contains(err.Error(), `No symbol "i"`) {
				t.Errorf("%s: got %+v, %v", c.expr, w, err)
			}
			continue
		}
		if err != nil || w.Old != c.old || w.New != c.new || w.Function != c.by || w.Foreign || w.Kernel || w.Instruction == "" {
			t.Errorf("%s: got %+v, %v", c.expr, w, err)
		}
	}

	if err := s.Goto(ctx, end); err != nil {
		t.Fatal(err)
	}
	list, err := s.Writes(ctx, "counter", AnyFrame, 20)
	if err != nil || len(list) != 11 {
		t.Fatalf("got %d writes, %v", len(list), err)
	}
	for i, w := range list[1:] {
		if w.Function != "bump" || w.New != fmt.Sprint(10-i) || w.Old != fmt.Sprint(9-i) {
			t.Errorf("write %d: got %s -> %s by %s", i, w.Old, w.New, w.Function)
		}
	}

	// What was there before main's frame isn't main's.
	if err := s.Goto(ctx, end); err != nil {
		t.Fatal(err)
	}
	if err := s.Goto(ctx, list[3].Position); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Print(ctx, "counter", AnyFrame); err != nil || v.Value != "7" {
		t.Errorf("at %s: got %+v, %v", list[3].Position, v, err)
	}
}

func TestExpressions(t *testing.T) {
	ctx := t.Context()
	s, err := Open(ctx, native{build(t, "steps.c", "-static")}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for expr, want := range map[string]string{
		"nosuch":        `nosuch: No symbol "nosuch" in current context.`,
		"1 + 2":         "1 + 2 has no address, so no store to it can be watched for",
		"$rip":          "$rip has no address",
		"counter +":     "counter +: A syntax error in expression",
		"*(int *)0":     "*(int *)0: Cannot access memory at address 0x0",
		"a\nb":          `No symbol "a" in current context.`,
		"-counter":      "-counter has no address",
		"bump":          "",
		"accounts[1].x": "There is no member named x.",
	} {
		_, err := s.LastWrite(ctx, expr, AnyFrame)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", expr, err)
		}
	}
	if _, err := s.LastWrite(ctx, "where", AnyFrame); !errors.Is(err, ErrNoWrite) {
		t.Errorf("a variable that was never written: %v", err)
	}
	if _, err := s.Print(ctx, "mine", 7); err == nil || !strings.Contains(err.Error(), "no frame 7: the stack has frames 0 to") {
		t.Errorf("frame 7: %v", err)
	}
	if _, err := s.Writes(ctx, "counter", AnyFrame, 0); err == nil {
		t.Error("no writes at all: no error")
	}
}
