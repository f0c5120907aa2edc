package rewind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
)

// Target is a recording that gdb can be connected to.
type Target interface {
	// Attach returns the commands that make gdb load the program and connect.
	// They are also what a user's own gdb is given.
	Attach(ctx context.Context) ([]string, error)
	// ToFailure goes to the end of the process, where a session begins.
	ToFailure(ctx context.Context, g *GDB) (Failure, error)
	// Position tells where the connected gdb is.
	Position(ctx context.Context, g *GDB) (Position, error)
	// Goto goes to a position.
	Goto(ctx context.Context, g *GDB, p Position) error
	Close() error
}

// changeFinder is a target that finds the changes of memory by itself, faster
// than by gdb's watchpoints. It returns the positions right before the stores,
// oldest first.
type changeFinder interface {
	changes(ctx context.Context, addr, size uint64, n int) ([]change, error)
	distance(from, to Position) uint64 // in instructions
}

type change struct {
	at       Position // right before it
	inKernel bool     // by a system call
}

// Options of a session.
type Options struct {
	GDB   string        // the program; "" looks in PATH
	Limit time.Duration // for one command of gdb that doesn't move; 0 is a minute
}

// Session is a recording under a debugger, at some position. Its methods move
// it where they say so. It is not safe for concurrent use.
type Session struct {
	target  Target
	gdb     *GDB
	failure Failure
	notGo   bool // no use asking for goroutines
}

const commandLimit = time.Minute

// Open connects a debugger with the target and goes to the failure. The target
// belongs to the session then, and is closed with it, also on an error.
func Open(ctx context.Context, target Target, opt Options) (*Session, error) {
	if opt.Limit == 0 {
		opt.Limit = commandLimit
	}
	s := &Session{target: target}
	if err := s.open(ctx, opt); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Session) open(ctx context.Context, opt Options) error {
	var err error
	if s.gdb, err = startGDB(opt.GDB, opt.Limit); err != nil {
		return err
	}
	commands := []string{
		"set confirm off", "set pagination off", "set width 0", "set height 0", "set remotetimeout 60",
		"set tcp connect-timeout 20", "set print elements 200", "set print frame-arguments scalars",
		"set print sevenbit-strings off", "set print entry-values if-needed", "set backtrace past-main off", "set can-use-hw-watchpoints 1",
	}
	attach, err := s.target.Attach(ctx)
	if err != nil {
		return err
	}
	for _, c := range append(commands, attach...) {
		if _, err := s.gdb.console(ctx, c); err != nil {
			return s.explain(fmt.Errorf("gdb: %s: %w", c, err))
		}
	}
	if s.failure, err = s.target.ToFailure(ctx, s.gdb); err != nil {
		return err
	}
	return s.toPanic(ctx)
}

// explain adds what the target knows of a failed connection.
func (s *Session) explain(err error) error {
	if t, ok := s.target.(interface{ cause() error }); ok && t.cause() != nil {
		return fmt.Errorf("%w (%w)", err, t.cause())
	}
	return err
}

// panics are functions at which a program that ends itself should be looked at:
// the exit that follows has another stack, or none of the program's.
var panics = []struct {
	code      int
	functions []string
}{
	{2, []string{"runtime.fatalpanic", "runtime.fatalthrow"}}, // Go
	{101, []string{"rust_panic"}},
}

// toPanic goes back from an exit to the panic that it comes from.
func (s *Session) toPanic(ctx context.Context) error {
	set := 0
	for _, p := range panics {
		if p.code != s.failure.Code {
			continue
		}
		for _, f := range p.functions {
			a, err := s.gdb.do(ctx, "-break-insert -h "+f)
			if err == nil && a.results.str("bkpt", "addr") != "<PENDING>" {
				set++
			}
		}
	}
	if set == 0 {
		return nil
	}
	stop, err := s.gdb.resume(ctx, "-exec-continue --reverse")
	if _, derr := s.gdb.console(ctx, "delete"); err == nil {
		err = derr
	}
	if err != nil {
		return err
	}
	if stop.str("reason") != "breakpoint-hit" {
		return s.Goto(ctx, s.failure.Position)
	}
	s.failure.Panic = stop.str("frame", "func")
	s.failure.Position, err = s.Position(ctx)
	return err
}

// Close ends the debugger and the target.
func (s *Session) Close() error {
	if s.gdb != nil {
		s.gdb.close()
	}
	return s.target.Close()
}

// Failure tells how the process ended.
func (s *Session) Failure() Failure { return s.failure }

// Position tells where the session is.
func (s *Session) Position(ctx context.Context) (Position, error) {
	return s.target.Position(ctx, s.gdb)
}

// Goto goes to a position, as results of a session name it.
func (s *Session) Goto(ctx context.Context, p Position) error {
	return s.target.Goto(ctx, s.gdb, p)
}

// Stack returns the stack of the thread that the session looks at: at the
// failure that which ended the process.
func (s *Session) Stack(ctx context.Context) (Stack, error) {
	stacks, err := s.stacks(ctx, true)
	if err != nil || len(stacks) == 0 {
		return Stack{}, err
	}
	return stacks[0], nil
}

// Threads returns the stacks of all threads, that of the present thread first.
func (s *Session) Threads(ctx context.Context) ([]Stack, error) { return s.stacks(ctx, false) }

func (s *Session) stacks(ctx context.Context, one bool) ([]Stack, error) {
	at, err := s.Position(ctx)
	if err != nil {
		return nil, err
	}
	info, err := s.gdb.do(ctx, "-thread-info")
	if err != nil {
		return nil, err
	}
	now := info.results.str("current-thread-id")
	list := info.results.get("threads").items
	slices.SortStableFunc(list, func(a, b value) int {
		return boolInt(b.str("id") == now) - boolInt(a.str("id") == now)
	})
	var out []Stack
	for _, t := range list {
		id := t.str("id")
		if one && id != now {
			continue
		}
		st := Stack{Position: at, Thread: threadOf(t)}
		if st.Frames, err = s.frames(ctx, id); err != nil {
			return out, fmt.Errorf("stack of thread %d: %w", st.Thread.ID, err)
		}
		st.Thread.Goroutine = s.goroutine(ctx, id)
		out = append(out, st)
	}
	return out, nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

var lastNumberRE = regexp.MustCompile(`(?:LWP )?(\d+)\)?$`)

func threadOf(t value) Thread {
	out := Thread{Name: t.str("name")}
	if m := lastNumberRE.FindStringSubmatch(t.str("target-id")); m != nil {
		out.ID, _ = strconv.Atoi(m[1])
	} else {
		out.ID = t.num("id")
	}
	return out
}

// maxFrames bounds a stack: of an endless recursion the innermost ones tell enough.
const maxFrames = 200

func (s *Session) frames(ctx context.Context, thread string) ([]Frame, error) {
	where := " --thread " + thread
	list, err := s.gdb.do(ctx, fmt.Sprintf("-stack-list-frames%s 0 %d", where, maxFrames-1))
	if err != nil {
		return nil, err
	}
	var out []Frame
	for _, f := range list.results.get("stack").items {
		frame := frameOf(f)
		out = append(out, frame)
		if frame.Function == "runtime.goexit" {
			break // what a goroutine's stack begins with; there is nothing below
		}
	}
	args, err := s.gdb.do(ctx, fmt.Sprintf("-stack-list-arguments%s --simple-values 0 %d", where, maxFrames-1))
	if err != nil {
		return out, nil // damaged debug information costs the arguments, not the stack
	}
	for i, f := range args.results.get("stack-args").items {
		for _, a := range f.get("args").items {
			if i < len(out) {
				out[i].Args = append(out[i].Args, Arg{a.str("name"), a.str("value")})
			}
		}
	}
	return out, nil
}

func frameOf(f value) Frame {
	out := Frame{Level: f.num("level"), Function: f.str("func"), File: f.str("fullname"), Line: f.num("line"),
		Object: f.str("from"), Address: f.str("addr")}
	if file := f.str("file"); out.File == "" || !strings.HasPrefix(file, "/") && strings.HasSuffix(out.File, "/"+file) && len(file) > 0 && !exists(out.File) {
		out.File = file
	}
	return out
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// goroutine returns the number of the goroutine on a thread of a Go program, 0
// if it is none. The thread-local word below fs_base holds its descriptor.
func (s *Session) goroutine(ctx context.Context, thread string) int64 {
	if s.notGo {
		return 0
	}
	a, err := s.gdb.do(ctx, "-data-evaluate-expression --thread "+thread+" --frame 0 --language c "+
		quote("(*('runtime.g' **)($fs_base-8))->goid"))
	if err != nil {
		s.notGo = strings.HasPrefix(err.Error(), "No symbol")
		return 0
	}
	n, _ := strconv.ParseInt(a.results.str("value"), 10, 64)
	return n
}

// Print evaluates an expression. frame is that of the present thread's stack,
// or AnyFrame for the innermost one that knows the names in the expression.
func (s *Session) Print(ctx context.Context, expr string, frame int) (Value, error) {
	at, err := s.Position(ctx)
	if err != nil {
		return Value{}, err
	}
	e, err := s.evaluate(ctx, expr, frame)
	if err != nil {
		return Value{}, err
	}
	return Value{Expr: expr, Value: e.value, Type: s.typeOf(ctx, e), Frame: e.frame.Level, Function: e.frame.Function, Position: at}, nil
}

// AnyFrame lets Print and the searches choose the frame.
const AnyFrame = -1

// evaluated is an expression that had a value in a frame, which is selected.
type evaluated struct {
	text     string // as gdb understood it
	language string // in which; "" is the frame's own
	frame    Frame
	value    string
}

func (s *Session) typeOf(ctx context.Context, e evaluated) string {
	text, err := s.gdb.do(ctx, "-interpreter-exec"+inLanguage(e.language)+" console "+quote("whatis "+e.text))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.TrimPrefix(text.console, "type = "))
}

func inLanguage(language string) string {
	if language == "" {
		return ""
	}
	return " --language " + language
}

// evaluate finds the frame in which the expression means something and selects
// it. The program's own frames come before those of libraries, whose variables
// nobody means.
func (s *Session) evaluate(ctx context.Context, expr string, frame int) (evaluated, error) {
	info, err := s.gdb.do(ctx, "-thread-info")
	if err != nil {
		return evaluated{}, err
	}
	frames, err := s.frames(ctx, info.results.str("current-thread-id"))
	if err != nil {
		return evaluated{}, err
	}
	if frame != AnyFrame {
		if frame < 0 || frame >= len(frames) {
			return evaluated{}, fmt.Errorf("no frame %d: the stack has frames 0 to %d", frame, len(frames)-1)
		}
		frames = frames[frame : frame+1]
	} else if libs, err := s.libraries(ctx); err == nil {
		slices.SortStableFunc(frames, func(a, b Frame) int { return boolInt(libs.hold(a)) - boolInt(libs.hold(b)) })
	}
	var first error
	for _, try := range variants(expr) {
		for _, f := range frames {
			try.frame = f
			try.value, err = s.inFrame(ctx, try)
			if err == nil {
				return try, nil
			}
			var refused *CommandError
			if !errors.As(err, &refused) {
				return try, err
			}
			if first == nil || nameless(first) && !nameless(err) {
				first = err
			}
		}
		if !nameless(first) {
			break
		}
	}
	if first == nil {
		first = errors.New("the thread has no stack here")
	}
	return evaluated{}, fmt.Errorf("%s: %w", expr, first)
}

var goNameRE = regexp.MustCompile(`(^|[^\w.'"])([a-zA-Z_][\w/]*\.[a-zA-Z_]\w*)`)

// variants are ways to read an expression. gdb finds Go's package.name only
// from a frame of that package, or when it is quoted.
func variants(expr string) []evaluated {
	list := []evaluated{{text: expr}}
	if quoted := goNameRE.ReplaceAllString(expr, "$1'$2'"); quoted != expr {
		list = append(list, evaluated{text: quoted, language: "go"}, evaluated{text: quoted, language: "c"})
	}
	return list
}

// nameless tells that an expression's names mean nothing where it was tried.
func nameless(err error) bool {
	return strings.HasPrefix(err.Error(), "No symbol ") || strings.HasPrefix(err.Error(), "No frame")
}

func (s *Session) inFrame(ctx context.Context, e evaluated) (string, error) {
	if _, err := s.gdb.do(ctx, "-stack-select-frame "+strconv.Itoa(e.frame.Level)); err != nil {
		return "", err
	}
	a, err := s.gdb.do(ctx, "-data-evaluate-expression"+inLanguage(e.language)+" "+quote(e.text))
	return a.results.str("value"), err
}

type addressRange struct{ from, to uint64 }

type libraryRanges []addressRange

func (s *Session) libraries(ctx context.Context) (libraryRanges, error) {
	a, err := s.gdb.do(ctx, "-file-list-shared-libraries")
	if err != nil {
		return nil, err
	}
	var out libraryRanges
	for _, lib := range a.results.get("shared-libraries").items {
		for _, r := range lib.get("ranges").items {
			from, err1 := strconv.ParseUint(r.str("from"), 0, 64)
			to, err2 := strconv.ParseUint(r.str("to"), 0, 64)
			if err1 == nil && err2 == nil {
				out = append(out, addressRange{from, to})
			}
		}
	}
	return out, nil
}

func (l libraryRanges) hold(f Frame) bool {
	pc, _ := strconv.ParseUint(f.Address, 0, 64)
	return slices.ContainsFunc(l, func(r addressRange) bool { return pc >= r.from && pc < r.to })
}

// Interactive gives the terminal to a gdb at the session's position. The
// session is of no use afterwards but to be closed.
func (s *Session) Interactive(ctx context.Context) error {
	at, err := s.Position(ctx)
	if err != nil {
		return err
	}
	commands, err := s.target.Attach(ctx)
	if err != nil {
		return err
	}
	path := s.gdb.path
	s.gdb.close()
	args := []string{"-q"}
	for _, c := range commands {
		args = append(args, "-ex", c)
	}
	if i, ok := s.target.(interface{ Arrive(Position) []string }); ok {
		for _, c := range i.Arrive(at) {
			args = append(args, "-ex", c)
		}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT) // meant for gdb, which shares the terminal
	defer signal.Stop(signals)
	if err := cmd.Run(); err != nil {
		return &exttool.RunError{Args: []string{path}, Code: cmd.ProcessState.ExitCode(), Err: err}
	}
	return nil
}
