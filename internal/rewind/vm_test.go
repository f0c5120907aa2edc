package rewind_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/record"
	recordvm "github.com/tapedeck-dev/tapedeck/internal/record/vm"
	"github.com/tapedeck-dev/tapedeck/internal/rewind"
	"github.com/tapedeck-dev/tapedeck/internal/vm"
)

// cacheDir is where the command keeps the guest's kernel and boot snapshots.
func cacheDir(t *testing.T) string {
	if dir := os.Getenv("TAPEDECK_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "tapedeck")
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// tape is a recorded program that can be opened as often as one likes.
type tape struct {
	*vm.Tape
	base  *vm.Base
	image string
	log   string
	files string
}

// recordVM records exe in the guest.
func recordVM(t *testing.T, timeout time.Duration, exe string, args ...string) *tape {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	job := record.Job{Args: append([]string{exe}, args...), Dir: filepath.Dir(exe), Timeout: timeout, Env: []string{"PATH=/usr/bin:/bin"}}
	r, err := recordvm.Prepare(ctx, job, recordvm.Options{Cache: cacheDir(t), Say: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	rec, err := r.Record(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rec.Close() })
	t.Logf("%s: %s", filepath.Base(exe), rec.Outcome)
	out := &tape{}
	for _, f := range rec.Files {
		switch filepath.Base(f.Path) {
		case vm.LogFile:
			out.log = f.Host
		case vm.WorldFile:
			out.image = f.Host
		case vm.TapeFile:
			if out.Tape, err = vm.ReadTape(filepath.Dir(f.Host)); err != nil {
				t.Fatal(err)
			}
		}
	}
	machine := vm.DefaultMachine()
	machine.Memory = out.Base.Machine.Memory
	if out.base, err = vm.EnsureBase(ctx, cacheDir(t), machine, func(string) {}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := vm.ExtractWorld(ctx, out.image, dir); err != nil {
		t.Fatal(err)
	}
	out.files = filepath.Join(dir, "root")
	return out
}

// open replays the recording to its failure. It must be quick: the time that a
// user waits for the first answer.
func (p *tape) open(t *testing.T, pid int) *rewind.Session {
	t.Helper()
	ctx := t.Context()
	start := time.Now()
	launch := func(ctx context.Context) (string, error) {
		dir := t.TempDir()
		stub := filepath.Join(dir, "stub")
		m, err := vm.Launch(ctx, vm.Spec{Mode: vm.Replay, Base: p.base, Image: p.image, Params: p.Params, Log: p.log, Dir: dir, Debug: stub})
		if err == nil {
			t.Cleanup(m.Kill)
		}
		return "unix:" + stub, err
	}
	stub, err := launch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if pid == 0 {
		pid = p.Pid
	}
	target, err := rewind.OpenVM(ctx, rewind.VMConfig{Stub: stub, PID: pid, Sysroot: p.files, End: p.Instructions.Shutdown, Again: launch,
		Guest: rewind.Guest{Symbols: p.base.Symbols, Offsets: p.base.Offsets}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := rewind.Open(ctx, target, rewind.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("at the failure after %v: %s", time.Since(start).Round(10*time.Millisecond), s.Failure())
	return s
}

func lastWrite(t *testing.T, s *rewind.Session, expr string) rewind.Write {
	t.Helper()
	start := time.Now()
	w, err := s.LastWrite(t.Context(), expr, rewind.AnyFrame)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	t.Logf("last write of %s after %v: %s -> %s by %s:%d", expr, time.Since(start).Round(10*time.Millisecond), w.Old, w.New, w.Function, w.Line)
	return w
}

func names(frames []rewind.Frame) string {
	var out []string
	for _, f := range frames {
		out = append(out, f.Function)
	}
	return strings.Join(out, " ")
}

// contains wants the names in this order, with others between them.
func contains(t *testing.T, what, list string, want ...string) {
	t.Helper()
	rest := " " + list + " "
	for _, w := range want {
		_, after, ok := strings.Cut(rest, " "+w+" ")
		if !ok {
			t.Errorf("%s: got %s, want %v", what, list, want)
			return
		}
		rest = " " + after
	}
}

// TestVMCorrupt: a library writes past a buffer of a position-independent
// program, in a thread that has ended by the time the damage is seen.
func TestVMCorrupt(t *testing.T) {
	dir := t.TempDir()
	lib, exe := filepath.Join(dir, "libcopy.so"), filepath.Join(dir, "corrupt")
	run(t, "gcc", "-g", "-O1", "-shared", "-fPIC", "-o", lib, "testdata/programs/copy.c")
	run(t, "gcc", "-g", "-O1", "-pthread", "-pie", "-fPIE", "-o", exe, "testdata/programs/corrupt.c", lib, "-Wl,-rpath,$ORIGIN")
	p := recordVM(t, 0, exe)
	s := p.open(t, 0)
	ctx := t.Context()

	f := s.Failure()
	if f.Signal != "SIGABRT" || f.Code != 134 || !f.Core || f.Name != "corrupt" || f.PID != p.Pid || f.Thread != p.Pid {
		t.Errorf("failure: got %+v", f)
	}
	st, err := s.Stack(ctx)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "stack", names(st.Frames), "__GI_raise", "__GI_abort", "main")
	if v, err := s.Print(ctx, "g.magic", rewind.AnyFrame); err != nil || v.Value != fmt.Sprint(0x54535251) || v.Function != "main" {
		t.Errorf("g.magic: got %+v, %v", v, err)
	}

	w := lastWrite(t, s, "g.magic")
	contains(t, "writer", names(w.Frames), "copy_name", "handle", "server", "start_thread")
	if w.Function != "copy_name" || filepath.Base(w.File) != "copy.c" || w.Line != 4 || w.Kernel || w.Foreign || w.Thread.ID == p.Pid ||
		w.New != fmt.Sprint(0x54535251) || w.Old != fmt.Sprint(0x535251) || !strings.HasPrefix(w.Instruction, "mov") || w.Before == 0 {
		t.Errorf("got %+v", w)
	}
	for _, f := range w.Frames {
		if f.Function == "handle" && (len(f.Args) != 1 || f.Args[0].Name != "req" || f.Args[0].Value != "137") {
			t.Errorf("handle: got %+v", f.Args)
		}
	}

	// At the write the other threads are there.
	threads, err := s.Threads(ctx)
	if err != nil || len(threads) != 3 || threads[0].Thread.ID != w.Thread.ID || threads[0].Position != w.Position {
		t.Fatalf("threads: got %+v, %v", threads, err)
	}
	seen := ""
	for _, st := range threads {
		seen += " " + names(st.Frames)
	}
	contains(t, "threads", seen, "server")
	contains(t, "threads", seen, "main")
	contains(t, "threads", seen, "other")

	// One byte after the other, each a step further back.
	for i, old := range []int64{0x5251, 0x1251, 0x1234} {
		w = lastWrite(t, s, "*(long*)"+w.Address)
		if w.Old != fmt.Sprint(old) || w.Function != "copy_name" {
			t.Errorf("%d: got %s -> %s by %s", i, w.Old, w.New, w.Function)
		}
	}
	if err := s.Goto(ctx, f.Position); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	list, err := s.Writes(ctx, "g.magic", rewind.AnyFrame, 10)
	if err != nil || len(list) != 5 || list[3].Position != w.Position || list[4].Function != "main" || list[4].Old != "0" || list[4].New != fmt.Sprint(0x1234) {
		t.Errorf("writes: got %+v, %v", list, err)
	}
	t.Logf("%d writes in %v", len(list), time.Since(start).Round(10*time.Millisecond))

	// A counter that two threads change a million times.
	if err := s.Goto(ctx, f.Position); err != nil {
		t.Fatal(err)
	}
	v, err := s.Print(ctx, "work", rewind.AnyFrame)
	if err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	if list, err = s.Writes(ctx, "work", rewind.AnyFrame, 3); err != nil || len(list) != 3 || list[0].New != v.Value {
		t.Fatalf("work is %s: got %+v, %v", v.Value, list, err)
	}
	t.Logf("%d writes of many in %v", len(list), time.Since(start).Round(10*time.Millisecond))
	for i := range 2 {
		if list[i].Old != list[i+1].New {
			t.Errorf("write %d: %s -> %s after %s -> %s", i, list[i].Old, list[i].New, list[i+1].Old, list[i+1].New)
		}
	}

	for _, bad := range []rewind.Position{"vm:icount=1", "vm:icount=99999999999999", "rr:5", "", "vm:icount=5x"} {
		if err := s.Goto(ctx, bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

// TestVMSteps moves a gdb instruction by instruction over the server, forward
// and back, through a system call: the same positions must show the same registers.
func TestVMSteps(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "list")
	run(t, "gcc", "-g", "-O0", "-o", exe, "testdata/programs/list.c")
	p := recordVM(t, 0, exe)
	ctx := t.Context()
	s := p.open(t, 0)
	if f := s.Failure(); f.Signal != "SIGSEGV" || f.Code != 139 {
		t.Errorf("failure: got %+v", f)
	}
	st, err := s.Stack(ctx)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "stack", names(st.Frames), "walk", "main")

	w := lastWrite(t, s, "p")
	if w.Function != "walk" || w.New != "0x10" || w.Foreign {
		t.Errorf("p: got %+v", w)
	}
	if err := s.Goto(ctx, s.Failure().Position); err != nil {
		t.Fatal(err)
	}
	if w = lastWrite(t, s, "head->next->next"); w.Function != "main" || w.New != "0x10" {
		t.Errorf("head->next->next: got %+v", w)
	}
	if w = lastWrite(t, s, "magic"); !w.Kernel || w.Old != `"initial"` || !strings.Contains(w.New, "ELF") {
		t.Errorf("magic: got %+v", w)
	}
	contains(t, "magic", names(w.Frames), "fill", "main")
	if w = lastWrite(t, s, "total"); w.Function != "add" || w.Old != "10" || w.New != "15" {
		t.Errorf("total: got %+v", w)
	}
	walkSteps(t, s)

	// Before walk is entered its variables are other functions' leavings.
	if err := s.Goto(ctx, s.Failure().Position); err != nil {
		t.Fatal(err)
	}
	list, err := s.Writes(ctx, "sum", rewind.AnyFrame, 12)
	if err != nil || list[0].Foreign || list[0].Function != "walk" || !list[len(list)-1].Foreign {
		t.Errorf("sum: got %+v, %v", list, err)
	}
}

// walkSteps moves gdb through the system call that reads the file: forward and
// back it must come by the same instructions, and a watchpoint must be told of
// in both directions and by single steps.
func walkSteps(t *testing.T, s *rewind.Session) {
	t.Helper()
	ctx := t.Context()
	if err := s.Goto(ctx, s.Failure().Position); err != nil {
		t.Fatal(err)
	}
	lastWrite(t, s, "magic")
	if _, err := s.Console(ctx, "tbreak fill"); err != nil {
		t.Fatal(err)
	}
	if reason, _, err := s.Resume(ctx, "-exec-continue --reverse"); err != nil || reason != "breakpoint-hit" {
		t.Fatalf("back to fill: %s, %v", reason, err)
	}
	var forward []string
	for range 40 {
		_, pc, err := s.Resume(ctx, "-exec-step-instruction")
		if err != nil {
			t.Fatal(err)
		}
		forward = append(forward, pc)
	}
	if st, err := s.Stack(ctx); err != nil || !strings.Contains(names(st.Frames), "main") {
		t.Errorf("after 40 steps: %+v, %v", st, err)
	}
	for i := len(forward) - 2; i >= len(forward)-25; i-- {
		_, pc, err := s.Resume(ctx, "-exec-step-instruction --reverse")
		if err != nil {
			t.Fatal(err)
		}
		if pc != forward[i] {
			t.Fatalf("%d steps back: at %s, want %s; on the way there %v", len(forward)-1-i, pc, forward[i], forward)
		}
	}

	// A watched store under a single step.
	if err := s.Goto(ctx, s.Failure().Position); err != nil {
		t.Fatal(err)
	}
	lastWrite(t, s, "total")
	if _, err := s.Console(ctx, "watch -location total"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{"-exec-step-instruction", "-exec-step-instruction --reverse"} {
		if reason, _, err := s.Resume(ctx, c); err != nil || reason != "watchpoint-trigger" {
			t.Errorf("%s over the store: %s, %v", c, reason, err)
		}
	}
	if reason, _, err := s.Resume(ctx, "-exec-continue"); err != nil || reason != "watchpoint-trigger" {
		t.Errorf("continue over the store: %s, %v", reason, err)
	}
	if reason, _, err := s.Resume(ctx, "-exec-continue"); err != nil || reason != "no-history" {
		t.Errorf("continue to the end: %s, %v", reason, err)
	}
	if _, err := s.Console(ctx, "delete"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{"print total = 5", "call add(3)", "print $rip = 0"} {
		if text, err := s.Console(ctx, c); err == nil {
			t.Errorf("%s changed the past: %s", c, text)
		}
	}
	if now, err := s.Position(ctx); err != nil || now != s.Failure().Position {
		t.Errorf("at %s, %v, want the failure's %s", now, err, s.Failure().Position)
	}
}

// TestVMProcesses: addresses are the same in parent and child.
func TestVMProcesses(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "children")
	run(t, "gcc", "-g", "-O1", "-o", exe, "testdata/programs/children.c")
	p := recordVM(t, 0, exe)
	s := p.open(t, 0)
	f := s.Failure()
	if f.Code != 7 || f.Signal != "" || len(f.Others) != 1 || f.Others[0].Signal != "SIGABRT" || f.Others[0].Name != "children" {
		t.Fatalf("failure: got %+v", f)
	}
	if w := lastWrite(t, s, "counter"); w.Function != "in_parent" || w.Old != "500" || w.New != "600" || w.Thread.ID != p.Pid {
		t.Errorf("parent: got %+v", w)
	}
	child := p.open(t, f.Others[0].PID)
	if w := lastWrite(t, child, "counter"); w.Function != "in_child" || w.Old != "9" || w.New != "12" || w.Thread.ID != f.Others[0].PID {
		t.Errorf("child: got %+v", w)
	}
}

// TestVMDeadlock: a process that the time limit found is seen as it was.
func TestVMDeadlock(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "deadlock")
	run(t, "gcc", "-g", "-O1", "-pthread", "-o", exe, "testdata/programs/deadlock.c")
	s := recordVM(t, time.Second, exe).open(t, 0)
	if f := s.Failure(); !f.Running && f.Signal != "SIGKILL" {
		t.Errorf("failure: got %+v", f)
	}
	threads, err := s.Threads(t.Context())
	if err != nil || len(threads) != 3 {
		t.Fatalf("got %d threads, %v", len(threads), err)
	}
	contains(t, "main", names(threads[0].Frames), "main")
	contains(t, "one", names(threads[1].Frames), "___pthread_mutex_lock", "one", "start_thread")
	contains(t, "two", names(threads[2].Frames), "___pthread_mutex_lock", "two", "start_thread")
	if w := lastWrite(t, s, "a.__data.__owner"); w.Thread.ID != threads[1].Thread.ID {
		t.Errorf("owner of a: got %+v", w)
	}
}

// TestVMGo: the panic, not the exit after it; goroutines; package.name.
func TestVMGo(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "account")
	run(t, "go", "build", "-o", exe, "testdata/programs/account.go")
	s := recordVM(t, 0, exe).open(t, 0)
	ctx := t.Context()
	if f := s.Failure(); f.Code != 2 || !strings.HasPrefix(f.Panic, "runtime.fatalpanic") {
		t.Errorf("failure: got %+v", f)
	}
	st, err := s.Stack(ctx)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "stack", names(st.Frames), "runtime.gopanic", "runtime.sigpanic", "main.main")
	if st.Thread.Goroutine != 1 {
		t.Errorf("goroutine %d, want 1", st.Thread.Goroutine)
	}
	w := lastWrite(t, s, "main.counter")
	if w.Function != "main.draw" || w.New != "300" || w.Thread.Goroutine < 2 {
		t.Errorf("main.counter: got %+v", w)
	}
	if v, err := s.Print(ctx, "main.acc.balance", rewind.AnyFrame); err != nil || v.Value == "" {
		t.Errorf("main.acc.balance: got %+v, %v", v, err)
	}
	if err := s.Goto(ctx, s.Failure().Position); err != nil {
		t.Fatal(err)
	}
	if w = lastWrite(t, s, "main.acc.name"); w.Function != "main.main" || !strings.Contains(w.New, `"bob"`) {
		t.Errorf("main.acc.name: got %+v", w)
	}
}

func TestVMNoSuchProcess(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "children")
	run(t, "gcc", "-g", "-O1", "-o", exe, "testdata/programs/children.c")
	p := recordVM(t, 0, exe)
	dir := t.TempDir()
	stub := filepath.Join(dir, "stub")
	m, err := vm.Launch(t.Context(), vm.Spec{Mode: vm.Replay, Base: p.base, Image: p.image, Params: p.Params, Log: p.log, Dir: dir, Debug: stub})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Kill()
	guest := rewind.Guest{Symbols: p.base.Symbols, Offsets: p.base.Offsets}
	_, err = rewind.OpenVM(t.Context(), rewind.VMConfig{Stub: "unix:" + stub, PID: 4000, End: p.Instructions.Shutdown, Guest: guest})
	if err == nil || !strings.Contains(err.Error(), "process 4000 doesn't end in the recording") || !strings.Contains(err.Error(), "children") {
		t.Errorf("got %v", err)
	}
	if _, err := rewind.OpenVM(t.Context(), rewind.VMConfig{Stub: "unix:" + stub}); err == nil || !strings.Contains(err.Error(), "kernel's") {
		t.Errorf("no facts: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the user has left"))
	if _, err := rewind.OpenVM(ctx, rewind.VMConfig{Stub: "unix:" + stub + "-not", PID: 4000, Guest: guest}); err == nil {
		t.Error("no stub: no error")
	}
}
