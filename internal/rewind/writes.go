package rewind

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ErrNoWrite says that nothing changed a value before the session's position:
// it is what the program started with, or what was there before it came.
var ErrNoWrite = errors.New("no store changed it")

// LastWrite finds the last store before the session's position that changed
// the expression's value: the one that made it what it is. The session is
// right before that store then, so that LastWrite of what was stored leads on.
func (s *Session) LastWrite(ctx context.Context, expr string, frame int) (Write, error) {
	list, err := s.Writes(ctx, expr, frame, 1)
	if err != nil {
		return Write{}, err
	}
	return list[0], nil
}

// location is an expression pinned to an address, which outlives its frame.
type location struct {
	expr     string
	kind     string // its type
	address  uint64
	size     uint64
	language string
	value    string // now
	owner    string // the function whose local variable it is, or ""
	base     string // where that function's frame is
}

// redZone is how far below the stack pointer a function that calls none keeps
// its variables, on x86-64.
const redZone = 128

// pointer is gdb's variable that holds the location's typed address.
const pointer = "$tapedeck_at"

// Writes finds the last n stores before the session's position that changed
// the expression's value, the newest first; fewer if there were no more. It
// moves the session to one of them.
func (s *Session) Writes(ctx context.Context, expr string, frame, n int) ([]Write, error) {
	if n < 1 {
		return nil, fmt.Errorf("%d writes: want at least one", n)
	}
	loc, err := s.locate(ctx, expr, frame)
	if err != nil {
		return nil, err
	}
	var list []Write
	if f, ok := s.target.(changeFinder); ok {
		list, err = s.found(ctx, f, loc, n)
	} else {
		list, err = s.watched(ctx, loc, n)
	}
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("%s at %#x: %w", expr, loc.address, ErrNoWrite)
	}
	return list, err
}

// locate turns an expression into an address.
func (s *Session) locate(ctx context.Context, expr string, frame int) (location, error) {
	loc := location{expr: expr}
	e, err := s.evaluate(ctx, expr, frame)
	if err != nil {
		return loc, err
	}
	loc.value, loc.kind, loc.language = e.value, s.typeOf(ctx, e), e.language
	if strings.HasPrefix(e.value, "<optimized out>") {
		return loc, fmt.Errorf("%s: the compiler kept it nowhere at this position; look at where it was copied from", expr)
	}
	info, err := s.gdb.console(ctx, "info frame")
	if err != nil {
		return loc, err
	}
	if loc.language == "" {
		loc.language = s.language(ctx)
	}
	take := "-data-evaluate-expression" + inLanguage(e.language) + " " + quote(pointer+" = &("+e.text+")")
	if _, err := s.gdb.do(ctx, take); err != nil {
		return loc, fmt.Errorf("%s has no address, so no store to it can be watched for: %w", expr, err)
	}
	if loc.address, err = s.number(ctx, "(unsigned long)"+pointer); err != nil {
		return loc, err
	}
	if loc.size, err = s.number(ctx, "sizeof(*"+pointer+")"); err != nil {
		return loc, err
	}
	if loc.size == 0 || loc.size > pageSize {
		return loc, fmt.Errorf("%s has %d bytes: watch a part of it of 1 to %d bytes", expr, loc.size, pageSize)
	}
	// Of a local variable only the stores since its function was entered are its own.
	base, err1 := strconv.ParseUint(frameBase(info), 0, 64)
	sp, err2 := s.number(ctx, "(unsigned long)$sp")
	if err1 == nil && err2 == nil && loc.address+redZone >= sp && loc.address < base {
		loc.owner, loc.base = e.frame.Function, frameBase(info)
	}
	return loc, nil
}

// language is that of the selected frame.
func (s *Session) language(ctx context.Context) string {
	text, _ := s.gdb.console(ctx, "show language") // The current source language is "auto; currently c++".
	name := after(text, "currently ", `"`)
	switch name {
	case "asm", "unknown", "auto", "minimal":
		return ""
	}
	return name
}

// frameBase finds the frame's address in what "info frame" prints.
func frameBase(info string) string { return after(info, "frame at ", ":") }

func after(text, from, to string) string {
	_, rest, ok := strings.Cut(text, from)
	if !ok {
		return ""
	}
	rest, _, _ = strings.Cut(rest, to)
	return strings.TrimSpace(rest)
}

// foreign tells whether the function that owns the location isn't on the stack
// that a store was made from.
func (s *Session) foreign(ctx context.Context, loc location, frames []Frame) bool {
	if loc.owner == "" {
		return false
	}
	for _, f := range frames {
		if f.Function != loc.owner {
			continue
		}
		if _, err := s.gdb.do(ctx, "-stack-select-frame "+strconv.Itoa(f.Level)); err != nil {
			continue
		}
		if info, err := s.gdb.console(ctx, "info frame"); err == nil && frameBase(info) == loc.base {
			return false
		}
	}
	return true
}

func (s *Session) number(ctx context.Context, expr string) (uint64, error) {
	a, err := s.gdb.do(ctx, "-data-evaluate-expression --language c "+quote(expr))
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(a.results.str("value"), 0, 64)
}

// at evaluates the location wherever the session is now.
func (s *Session) at(ctx context.Context, loc location) string {
	command := "-data-evaluate-expression" + inLanguage(loc.language) + " "
	a, err := s.gdb.do(ctx, command+quote("*"+pointer))
	if err != nil {
		return "<" + err.Error() + ">"
	}
	return a.results.str("value")
}

// found uses the target's own search, and visits what it found in the order of
// time, which needs only one step back.
func (s *Session) found(ctx context.Context, f changeFinder, loc location, n int) ([]Write, error) {
	changes, err := f.changes(ctx, loc.address, loc.size, n)
	if err != nil {
		return nil, err
	}
	var list []Write
	for _, c := range changes {
		if err := s.Goto(ctx, c.at); err != nil {
			return nil, err
		}
		w := Write{Kernel: c.inKernel, Before: f.distance(c.at, s.failure.Position), Old: s.at(ctx, loc), New: loc.value}
		if err := s.describe(ctx, loc, &w); err != nil {
			return nil, err
		}
		if len(list) > 0 {
			list[len(list)-1].New = w.Old
		}
		list = append(list, w)
	}
	slices.Reverse(list)
	return list, nil
}

// watched uses gdb's watchpoint. Going back, gdb's old value is the later one.
func (s *Session) watched(ctx context.Context, loc location, n int) ([]Write, error) {
	if _, err := s.gdb.do(ctx, "-interpreter-exec --language c console "+quote("watch -location *"+pointer)); err != nil {
		return nil, fmt.Errorf("watch %s: %w", loc.expr, err)
	}
	defer s.gdb.console(context.WithoutCancel(ctx), "delete")
	var list []Write
	for len(list) < n {
		stop, err := s.gdb.resume(ctx, "-exec-continue --reverse")
		if err != nil {
			return list, err
		}
		switch stop.str("reason") {
		case "watchpoint-trigger":
			w := Write{Old: s.at(ctx, loc), New: loc.value}
			if err := s.describe(ctx, loc, &w); err != nil {
				return list, err
			}
			loc.value = w.Old
			list = append(list, w)
		case "signal-received", "solib-event":
		case "no-history", "exited", "exited-normally", "exited-signalled":
			return list, nil
		default:
			return list, fmt.Errorf("gdb stopped with %q on the way back", stop.str("reason"))
		}
	}
	return list, nil
}

// describe fills in where the session is.
func (s *Session) describe(ctx context.Context, loc location, w *Write) error {
	w.Expr, w.Type, w.Address = loc.expr, loc.kind, fmt.Sprintf("%#x", loc.address)
	st, err := s.Stack(ctx)
	if err != nil {
		return err
	}
	w.Position, w.Thread, w.Frames = st.Position, st.Thread, st.Frames
	if len(st.Frames) > 0 {
		f := st.Frames[0]
		w.Function, w.File, w.Line = f.Function, f.File, f.Line
	}
	w.Foreign = s.foreign(ctx, loc, st.Frames)
	if !w.Kernel {
		if _, err := s.gdb.do(ctx, "-stack-select-frame 0"); err != nil {
			return err
		}
		a, err := s.gdb.do(ctx, `-data-disassemble -s $pc -e "$pc + 1" -- 0`)
		if err == nil && len(a.results.get("asm_insns").items) > 0 {
			w.Instruction = strings.Join(strings.Fields(a.results.get("asm_insns").items[0].str("inst")), " ")
		}
	}
	return nil
}
