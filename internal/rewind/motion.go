package rewind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// errInterrupted ends a motion at gdb's request.
var errInterrupted = errors.New("interrupted")

// move runs a motion of the machine while listening for gdb's interrupt, and
// returns the stop reply. The motion returns what goes into it.
func (s *server) move(motion func(context.Context) (string, error)) (string, error) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	type result struct {
		extra string
		err   error
	}
	done := make(chan result, 1)
	s.threads = nil
	go func() {
		extra, err := motion(ctx)
		done <- result{extra, err}
	}()
	for {
		select {
		case r := <-done:
			if errors.Is(r.err, errInterrupted) {
				r.err = nil
			}
			if r.err != nil {
				return "", r.err
			}
			return s.stopReply(r.extra)
		case packet, open := <-s.packets:
			if !open {
				cancel(errInterrupted)
				<-done
				return "", errGuestEnded
			}
			if packet == interruptPacket {
				cancel(errInterrupted)
			}
		}
	}
}

// toPending goes where the session wants to be, if it does.
func (s *server) toPending() func(context.Context) (string, error) {
	at := s.vm.pending
	if at == 0 {
		return nil
	}
	s.vm.pending = 0
	return func(ctx context.Context) (string, error) {
		return "", s.vm.line.seek(ctx, at)
	}
}

// vCont obeys "c", "s:THREAD;c" and the like: all threads run, one may step.
func (s *server) vCont(rest string) (string, error) {
	step := false
	for action := range strings.SplitSeq(rest, ";") {
		verb, id, _ := strings.Cut(action, ":")
		if strings.HasPrefix(verb, "s") || strings.HasPrefix(verb, "S") {
			step = true
			if n, err := strconv.ParseInt(id, 16, 64); err == nil {
				s.moving = int(n)
			}
		}
	}
	return s.resume(step)
}

func (s *server) resume(step bool) (string, error) {
	if to := s.toPending(); to != nil {
		return s.move(to)
	}
	if step {
		return s.move(s.watching(s.stepForward))
	}
	return s.move(s.runForward)
}

func (s *server) back(step bool) (string, error) {
	if to := s.toPending(); to != nil {
		return s.move(to)
	}
	if step {
		return s.move(s.watching(s.stepBack))
	}
	return s.move(s.runBack)
}

const (
	historyBegins = "replaylog:begin;"
	historyEnds   = "replaylog:end;"
)

func stopAt(p point) string {
	switch p.kind {
	case 2:
		return fmt.Sprintf("watch:%x;", p.addr)
	case 3:
		return fmt.Sprintf("rwatch:%x;", p.addr)
	case 4:
		return fmt.Sprintf("awatch:%x;", p.addr)
	}
	return "hwbreak:;"
}

// runForward goes on to the next stop of gdb's that belongs to the process.
func (s *server) runForward(ctx context.Context) (string, error) {
	line := s.vm.line
	w, _ := line.watch(s.points)
	if err := w.begin(ctx); err != nil {
		return "", err
	}
	if err := line.set(ctx, true, w.points...); err != nil {
		return "", err
	}
	defer line.set(context.WithoutCancel(ctx), false, w.points...)
	if _, err := line.leave(ctx, w.points); err != nil {
		return "", err
	}
	for {
		stop, hit, err := line.run(ctx, line.end)
		if err != nil {
			return "", err
		}
		if !hit {
			return historyEnds, nil
		}
		p, err := line.which(ctx, stop, w.points)
		if err != nil {
			return "", err
		}
		if _, good, err := w.accept(ctx, p); err != nil || good {
			return stopAt(p), err
		}
		if _, err := line.leave(ctx, w.points); err != nil {
			return "", err
		}
	}
}

// watching makes a step tell of a watched value that it changed.
func (s *server) watching(step func(context.Context) (string, error)) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		w, _ := s.vm.line.watch(s.points)
		if err := w.begin(ctx); err != nil {
			return "", err
		}
		before := w.values
		extra, err := step(ctx)
		if err != nil || extra != "" {
			return extra, err
		}
		if err := w.begin(ctx); err != nil {
			return "", err
		}
		for p, b := range before {
			if !bytes.Equal(b, w.values[p]) {
				return stopAt(p), nil
			}
		}
		return "", nil
	}
}

// leave steps off a breakpoint.
func (t *timeline) leave(ctx context.Context, points []point) (string, error) {
	rip, err := t.reg(ctx, "rip")
	if err != nil {
		return "", err
	}
	for _, p := range points {
		if p.kind == 1 && p.addr == rip {
			if at, err := t.position(ctx); err != nil || at >= t.end {
				return "", err
			}
			return t.step(ctx)
		}
	}
	return "", nil
}

// runBack goes back to the last stop of gdb's that belongs to the process.
func (s *server) runBack(ctx context.Context) (string, error) {
	line := s.vm.line
	at, err := line.position(ctx)
	if err != nil {
		return "", err
	}
	if len(s.points) > 0 {
		w, what := line.watch(s.points)
		what.accept = func(ctx context.Context, p point) (write, bool, error) {
			hit, good, err := w.accept(ctx, p)
			if err == nil && good && p.kind == 1 {
				now, err := line.position(ctx)
				return hit, now < at, err
			}
			return hit, good, err
		}
		hits, err := line.lastHits(ctx, line.born, at, 1, what)
		if err != nil {
			return "", err
		}
		if len(hits) > 0 {
			to := hits[0].at
			if hits[0].point.kind != 1 {
				to-- // gdb wants to see the value from before
			}
			return stopAt(hits[0].point), line.seek(ctx, to)
		}
	}
	return historyBegins, line.seek(ctx, line.born)
}

// inUser finds the thread on the CPU and in user mode.
func (t *timeline) inUser(ctx context.Context, tid int) (bool, error) {
	if ours, err := t.ours(ctx); err != nil || !ours {
		return false, err
	}
	now, err := t.current(ctx)
	return now.pid == tid && !now.inKernel, err
}

// stepForward executes one user instruction of the moving thread. What happens
// in the kernel and in other threads meanwhile is passed over.
func (s *server) stepForward(ctx context.Context) (string, error) {
	line := s.vm.line
	t, err := s.thread(s.moving)
	if err != nil {
		return "", err
	}
	if !t.onCPU || t.inKernel {
		u, err := line.userRegs(ctx, t)
		if err != nil {
			return "", err
		}
		if there, err := s.runTo(ctx, t.pid, u.rip); err != nil || !there {
			return historyEnds, err
		}
		if u.inSyscall() {
			return "", nil // the call was the instruction
		}
	}
	if at, err := line.position(ctx); err != nil || at >= line.end {
		return historyEnds, err
	}
	if _, err := line.step(ctx); err != nil {
		return "", err
	}
	if ok, err := line.inUser(ctx, t.pid); err != nil || ok {
		return "", err
	}
	// In the kernel. Where it returns to is in rcx for a system call, and on the
	// kernel's stack for an interrupt, of which an instruction may have run.
	var back []uint64
	rcx, _ := line.reg(ctx, "rcx")
	back = append(back, rcx)
	rsp, _ := line.reg(ctx, "rsp")
	for i := range uint64(4) {
		if word, err := line.u64(ctx, rsp+8*i); err == nil {
			back = append(back, word)
		}
	}
	if there, err := s.runTo(ctx, t.pid, back...); err != nil || !there {
		return historyEnds, err
	}
	return "", nil
}

// runTo goes on until the thread is in user mode at one of the addresses.
func (s *server) runTo(ctx context.Context, tid int, addrs ...uint64) (bool, error) {
	line := s.vm.line
	var points []point
	for _, a := range addrs {
		if a>>47 == 0 && a >= pageSize {
			points = append(points, point{1, a, 1})
		}
	}
	if err := line.set(ctx, true, points...); err != nil {
		return false, err
	}
	defer line.set(context.WithoutCancel(ctx), false, points...)
	for {
		_, hit, err := line.run(ctx, line.end)
		if err != nil || !hit {
			return false, err
		}
		if ok, err := line.inUser(ctx, tid); err != nil || ok {
			return ok, err
		}
		if _, err := line.leave(ctx, points); err != nil {
			return false, err
		}
	}
}

// stepBack goes to the user instruction that the moving thread executed before.
func (s *server) stepBack(ctx context.Context) (string, error) {
	line := s.vm.line
	t, err := s.thread(s.moving)
	if err != nil {
		return "", err
	}
	at, err := line.position(ctx)
	if err != nil {
		return "", err
	}
	before, err := line.userRegs(ctx, t)
	if err != nil {
		return "", err
	}
	onCPU := t.onCPU && !t.inKernel
	for range 8 {
		if onCPU {
			if at <= line.born {
				return historyBegins, nil
			}
			at--
			if err := line.seek(ctx, at); err != nil {
				return "", err
			}
			if ok, err := line.inUser(ctx, t.pid); err != nil || ok {
				return "", err
			}
			s.threads = nil
			if t, err = s.thread(t.pid); err != nil {
				return "", err
			}
			if before, err = line.userRegs(ctx, t); err != nil {
				return "", err
			}
		}
		// It came from the kernel, where it went from one of these.
		points := []point{{1, before.rip, 1}}
		if before.inSyscall() {
			points = []point{{1, before.rip - 2, 1}}
		}
		w, what := line.watch(points)
		what.accept = func(ctx context.Context, p point) (write, bool, error) {
			hit, good, err := w.accept(ctx, p)
			if err != nil || !good {
				return hit, false, err
			}
			now, err := line.position(ctx)
			if err != nil || now >= at {
				return hit, false, err
			}
			good, err = line.inUser(ctx, t.pid)
			return hit, good, err
		}
		hits, err := line.lastHits(ctx, line.born, at, 1, what)
		if err != nil {
			return "", err
		}
		if len(hits) == 0 {
			return historyBegins, line.seek(ctx, line.born)
		}
		at = hits[0].at
		if before.inSyscall() {
			return "", line.seek(ctx, at)
		}
		onCPU = true // the interrupted instruction had not run yet: one more
	}
	return "", line.seek(ctx, at)
}
