package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/rewind"
)

func printAnswers(w io.Writer, a *answers) {
	fmt.Fprintf(w, "%s: %s, at %s", a.Failure.Name, a.Failure.Ending, a.Failure.Position)
	if a.Failure.Panic != "" {
		fmt.Fprintf(w, ", in %s", a.Failure.Panic)
	}
	if a.Position != a.Failure.Position {
		fmt.Fprintf(w, "; now at %s", a.Position)
	}
	fmt.Fprintln(w)
	for _, v := range a.Values {
		fmt.Fprintf(w, "%s = %s\n", v.Expr, v.Value)
	}
	if a.Stack != nil {
		printStack(w, *a.Stack)
	}
	for _, s := range a.Threads {
		printStack(w, s)
	}
	for _, wr := range a.Writes {
		printWrite(w, wr)
	}
}

func printStack(w io.Writer, s rewind.Stack) {
	fmt.Fprintf(w, "\nthread %s\n", thread(s.Thread))
	for _, f := range s.Frames {
		fmt.Fprintln(w, "  "+frame(f))
	}
}

func printWrite(w io.Writer, wr rewind.Write) {
	fmt.Fprintf(w, "\n%s: %s -> %s\n", wr.Expr, wr.Old, wr.New)
	by := fmt.Sprintf("%s (%s:%d)", wr.Function, filepath.Base(wr.File), wr.Line)
	if wr.Kernel {
		by = "a system call of " + by
	}
	fmt.Fprintf(w, "  by %s, thread %s\n", by, thread(wr.Thread))
	fmt.Fprintf(w, "  at %s, %d instructions before the failure\n", wr.Position, wr.Before)
	for _, f := range wr.Frames {
		fmt.Fprintln(w, "    "+frame(f))
	}
}

func thread(t rewind.Thread) string {
	s := fmt.Sprint(t.ID)
	if t.Name != "" {
		s += " " + t.Name
	}
	if t.Goroutine != 0 {
		s += fmt.Sprintf(" (goroutine %d)", t.Goroutine)
	}
	return s
}

func frame(f rewind.Frame) string {
	var args []string
	for _, a := range f.Args {
		args = append(args, a.Name+"="+a.Value)
	}
	where := f.Object
	if f.File != "" {
		where = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	name := f.Function
	if name == "" {
		name = f.Address
	}
	return fmt.Sprintf("#%d %s(%s) %s", f.Level, name, strings.Join(args, ", "), where)
}
