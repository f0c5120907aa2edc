package rewind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// timeline moves through a recording: forward by replaying, backward by loading
// the nearest snapshot and replaying from there.
type timeline struct {
	kernel
	pid   int
	cr3   uint64   // of the process's last program
	task  uint64   // its leader's task_struct
	born  uint64   // first user instruction of that program
	end   uint64   // the failure
	last  uint64   // the recording's own end, 0 if not known
	snaps []uint64 // positions of the snapshots taken here, ascending
	taken int      // how many have been taken: names are unique
	names map[uint64]string
}

// A snapshot each snapshotEvery of replaying keeps a step back short; what they
// may take on disk is bounded by their number.
const (
	snapshotEvery = 700 * time.Millisecond
	maxSnapshots  = 16
	chunkLimit    = 20 * time.Second // for a stretch of less than snapshotEvery
)

// death is how a process of the recording ended.
type death struct {
	task
	at      uint64 // when its end began: its threads and memory are still there
	status  int    // as wait(2) gives it
	core    bool   // of a signal that dumps core
	running bool   // the recording ends first
}

// toFailure replays until the process begins to die. It notes the deaths of the
// others on the way.
func (t *timeline) toFailure(ctx context.Context) (death, []death, error) {
	coredump := point{1, t.guest.Symbols["do_coredump"], 1}
	exit := point{1, t.guest.Symbols["do_group_exit"], 1}
	exec := point{1, t.guest.Symbols["start_thread"], 1}
	stops := []point{coredump, exit, exec}
	if err := t.set(ctx, true, stops...); err != nil {
		return death{}, nil, err
	}
	defer t.set(context.WithoutCancel(ctx), false, stops...)
	limit := t.limit
	t.limit = min(limit, chunkLimit)
	defer func() { t.limit = limit }()
	chunk := uint64(5_000_000)
	var others []death
	started := time.Now()
	for {
		at, err := t.position(ctx)
		if err != nil {
			return death{}, others, err
		}
		to := at + chunk
		if t.last > 0 {
			if to = min(to, t.last); at >= to {
				return t.atLast(ctx, others)
			}
		}
		_, hit, err := t.run(ctx, to)
		if errors.Is(err, errGuestEnded) {
			return death{}, others, t.noSuchProcess(others)
		}
		if err != nil {
			return death{}, others, err
		}
		if !hit {
			if took := time.Since(started); took >= snapshotEvery {
				if err := t.snapshot(ctx); err != nil {
					return death{}, others, err
				}
				started = time.Now()
			} else if took < snapshotEvery/8 {
				chunk *= 2
			}
			continue
		}
		now, err := t.current(ctx)
		if err != nil {
			return death{}, others, err
		}
		rip, _ := t.reg(ctx, "rip")
		rdi, _ := t.reg(ctx, "rdi")
		switch {
		case rip == exec.addr && now.tgid == t.pid:
			t.task = now.addr
			if err := t.birth(ctx, stops); err != nil {
				return death{}, others, err
			}
			continue
		case rip == coredump.addr || rip == exit.addr:
			d := death{task: now, status: int(uint32(rdi))}
			if d.at, err = t.position(ctx); err != nil {
				return d, others, err
			}
			if rip == coredump.addr {
				sig, err := t.u32(ctx, rdi) // kernel_siginfo.si_signo
				if err != nil {
					return d, others, err
				}
				d.status, d.core = int(sig), true
			}
			if now.tgid == t.pid {
				t.cr3, t.end = now.cr3(), d.at
				t.task, err = t.leader(ctx, now)
				return d, others, err
			}
			if !slices.ContainsFunc(others, func(o death) bool { return o.tgid == d.tgid }) {
				others = append(others, d)
			}
		}
		if _, err := t.step(ctx); err != nil {
			return death{}, others, err
		}
	}
}

// atLast is for a process that is still there when the recording ends.
func (t *timeline) atLast(ctx context.Context, others []death) (death, []death, error) {
	if t.task == 0 {
		return death{}, others, t.noSuchProcess(others)
	}
	leader, err := t.readTask(ctx, t.task)
	if err != nil {
		return death{}, others, err
	}
	if leader.tgid != t.pid || leader.mm == 0 {
		return death{}, others, t.noSuchProcess(others)
	}
	t.cr3 = leader.cr3()
	t.end, err = t.position(ctx)
	return death{task: leader, at: t.end, running: true}, others, err
}

func (t *timeline) noSuchProcess(others []death) error {
	var list []string
	for _, d := range others {
		list = append(list, fmt.Sprintf("%d %s", d.tgid, d.comm))
	}
	return fmt.Errorf("process %d doesn't end in the recording; those that do: %s", t.pid, strings.Join(list, ", "))
}

// birth goes from the kernel's start_thread to the first user instruction of
// the program that it starts.
func (t *timeline) birth(ctx context.Context, stops []point) error {
	entry, err := t.reg(ctx, "rsi")
	if err != nil {
		return err
	}
	if err := t.set(ctx, false, stops...); err != nil {
		return err
	}
	defer t.set(context.WithoutCancel(ctx), true, stops...)
	first := point{1, entry, 1}
	if err := t.set(ctx, true, first); err != nil {
		return err
	}
	at, err := t.position(ctx)
	if err != nil {
		return err
	}
	for range 100 {
		if _, hit, err := t.run(ctx, at+50_000_000); err != nil {
			return err
		} else if !hit {
			break
		}
		now, err := t.current(ctx)
		if err != nil {
			return err
		}
		if now.tgid == t.pid && !now.inKernel {
			if t.born, err = t.position(ctx); err != nil {
				return err
			}
			if err := t.set(ctx, false, first); err != nil {
				return err
			}
			// Later searches start here, not at the recording's start. There the guest
			// attaches its disk, in which a QEMU under load may deadlock.
			return t.snapshot(ctx)
		}
		if _, err := t.step(ctx); err != nil {
			return err
		}
	}
	return t.set(ctx, false, first)
}

// leader returns the task of the process's first thread.
func (t *timeline) leader(ctx context.Context, one task) (uint64, error) {
	all, err := t.readThreads(ctx, one)
	if err != nil {
		return 0, err
	}
	for _, x := range all {
		if x.pid == x.tgid {
			return x.addr, nil
		}
	}
	return one.addr, nil // the first thread has ended before the process
}

// snapshot saves the machine's state here. Where there are too many already,
// it drops every other one first.
func (t *timeline) snapshot(ctx context.Context) error {
	if t.names == nil {
		t.names = map[uint64]string{}
	}
	if len(t.snaps) >= maxSnapshots {
		kept := t.snaps[:0]
		for i, at := range t.snaps {
			if i%2 == 0 || at == t.born {
				kept = append(kept, at)
				continue
			}
			if _, err := t.monitor(ctx, "delvm "+t.names[at]); err != nil {
				return err
			}
			delete(t.names, at)
		}
		t.snaps = kept
	}
	// With events under way QEMU can't save; some instructions later it can.
	for try := range 20 {
		at, err := t.position(ctx)
		if err != nil {
			return err
		}
		name := "td" + strconv.Itoa(t.taken)
		text, err := t.monitor(ctx, "savevm "+name)
		if err != nil {
			return err
		}
		if strings.TrimSpace(text) == "" {
			t.taken++
			t.names[at] = name
			t.snaps = append(t.snaps, at)
			return nil
		}
		if _, hit, err := t.run(ctx, at+uint64(1000<<try)); err != nil || hit {
			return err
		}
	}
	return nil
}

// write is one store that changed a watched value.
type write struct {
	at       uint64 // right after it
	inKernel bool   // by a system call
	point    point
}

// scanBudget is how many stops a scan makes before it is given up: a stop costs
// as much as some hundred thousand replayed instructions.
const scanBudget = 300

// search is a search for stops that belong to the process.
type search struct {
	points []point
	begin  func(context.Context) error                       // a scan starts anew at this position
	accept func(context.Context, point) (write, bool, error) // does this stop count?
}

// lastHits returns the last n accepted stops in (lo, hi], oldest first.
func (t *timeline) lastHits(ctx context.Context, lo, hi uint64, n int, what search) ([]write, error) {
	var found []write
	edges := slices.Concat([]uint64{lo}, t.snaps)
	for i := len(edges) - 1; i >= 0 && len(found) < n; i-- {
		from := edges[i]
		if from >= hi || from < lo {
			continue
		}
		more, reached, err := t.scan(ctx, from, hi, what)
		if err == nil && reached < hi {
			more, err = t.scanDense(ctx, from, hi, n-len(found), what)
		}
		if err != nil {
			return nil, err
		}
		found = append(tail(more, n-len(found)), found...)
		hi = from
	}
	return found, nil
}

// A search for many stops tries the last denseWindow instructions first, and
// lets QEMU find the last stop only within as few: it needs a microsecond for
// each stop that it passes.
const denseWindow = 1 << 20

// scanDense is for a stretch with more stops than a scan can make: a counter in
// a loop, or an address that another process uses as well. It looks at windows
// that end where the search has come to.
func (t *timeline) scanDense(ctx context.Context, lo, hi uint64, n int, what search) ([]write, error) {
	var found []write
	width, grow := uint64(denseWindow), uint64(8)
	for len(found) < n && hi > lo {
		from := max(lo, hi-min(hi, width))
		more, reached, err := t.scan(ctx, from, hi, what)
		if err != nil {
			return nil, err
		}
		if reached < hi && width > denseWindow {
			width, grow = width/8, 1
			continue
		}
		if reached < hi {
			last, ok, err := t.lastStop(ctx, from, hi, what.points)
			if err != nil {
				return nil, err
			}
			if !ok {
				width = max(width/8, 1)
				continue
			}
			// So many instructions can't make more stops than a scan does.
			from = max(from, last-min(last, scanBudget-1))
			if more, _, err = t.scan(ctx, from, last, what); err != nil {
				return nil, err
			}
		}
		found = append(more, found...)
		hi, width = from, width*grow
	}
	return found, nil
}

// windowName is the snapshot at the start of the window that is looked at.
const windowName = "tdwindow"

// lastStop finds the last stop at or before hi, whosever it is. There is one
// after lo. It is false where the machine can't go back from.
func (t *timeline) lastStop(ctx context.Context, lo, hi uint64, points []point) (at uint64, ok bool, err error) {
	if err := t.seek(ctx, lo); err != nil {
		return 0, false, err
	}
	// QEMU searches from a snapshot on. Where it can't make one now it takes longer.
	if _, err := t.monitor(ctx, "savevm "+windowName); err != nil {
		return 0, false, err
	}
	if err := t.seek(ctx, hi); err != nil {
		return 0, false, err
	}
	if ok, err := t.idle(ctx); err != nil || !ok {
		return 0, false, err
	}
	if err := t.set(ctx, true, points...); err != nil {
		return 0, false, err
	}
	err = t.stub.runBack(ctx)
	if off := t.set(context.WithoutCancel(ctx), false, points...); err == nil {
		err = off
	}
	if err != nil {
		return 0, false, err
	}
	at, err = t.position(ctx)
	return at, true, err
}

func tail[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }

// scan replays from lo to hi and returns the accepted stops, and how far it
// came before scanBudget was spent.
func (t *timeline) scan(ctx context.Context, lo, hi uint64, what search) (found []write, reached uint64, err error) {
	if err := t.seek(ctx, lo); err != nil {
		return nil, lo, err
	}
	if err := what.begin(ctx); err != nil {
		return nil, lo, err
	}
	if err := t.set(ctx, true, what.points...); err != nil {
		return nil, lo, err
	}
	defer func() {
		if off := t.set(context.WithoutCancel(ctx), false, what.points...); err == nil {
			err = off
		}
	}()
	for range scanBudget {
		stop, hit, err := t.run(ctx, hi)
		if err != nil {
			return found, lo, err
		}
		if !hit {
			return found, hi, nil
		}
		for { // stepping off a breakpoint may trigger a watchpoint
			p, err := t.which(ctx, stop, what.points)
			if err != nil {
				return found, lo, err
			}
			w, good, err := what.accept(ctx, p)
			if err != nil {
				return found, lo, err
			}
			if good {
				if w.at, err = t.position(ctx); err != nil {
					return found, lo, err
				}
				found = append(found, w)
			}
			if p.kind != 1 {
				break
			}
			if stop, err = t.step(ctx); err != nil {
				return found, lo, err
			}
			if !watched(stop) {
				break
			}
		}
	}
	reached, err = t.position(ctx)
	return found, reached, err
}

func watched(stop string) bool { return strings.Contains(stop, "watch:") }

// which finds the point that a stop belongs to.
func (t *timeline) which(ctx context.Context, stop string, points []point) (point, error) {
	addr, kind := uint64(0), 1
	for field := range strings.SplitSeq(stop[min(len(stop), 3):], ";") {
		name, value, _ := strings.Cut(field, ":")
		switch name {
		case "watch":
			kind = 2
		case "rwatch":
			kind = 3
		case "awatch":
			kind = 4
		default:
			continue
		}
		var err error
		if addr, err = strconv.ParseUint(value, 16, 64); err != nil {
			return point{}, fmt.Errorf("the machine stopped with %q", stop)
		}
	}
	if kind == 1 {
		var err error
		if addr, err = t.reg(ctx, "rip"); err != nil {
			return point{}, err
		}
	}
	for _, p := range points {
		if p.kind == kind && addr >= p.addr && addr < p.addr+max(p.size, 1) {
			return p, nil
		}
	}
	return point{kind: kind, addr: addr}, nil
}

// ours tells whether the process is on the CPU.
func (t *timeline) ours(ctx context.Context) (bool, error) {
	cr3, err := t.reg(ctx, "cr3")
	return cr3&^(pageSize-1) == t.cr3, err
}

// watcher accepts the stores of the process that change a watched value, and
// every execution of a breakpoint by it.
type watcher struct {
	*timeline
	points []point
	values map[point][]byte
}

func (t *timeline) watch(points []point) (*watcher, search) {
	w := &watcher{timeline: t, points: slices.Clone(points)}
	return w, search{w.points, w.begin, w.accept}
}

func (w *watcher) begin(ctx context.Context) error {
	w.values = map[point][]byte{}
	for _, p := range w.points {
		if p.kind == 2 {
			b, err := w.userMemory(ctx, w.cr3+directMap, p.addr, int(p.size))
			if err != nil && !errors.Is(err, errUnmapped) {
				return err
			}
			w.values[p] = b
		}
	}
	return nil
}

func (w *watcher) accept(ctx context.Context, p point) (write, bool, error) {
	ours, err := w.ours(ctx)
	if err != nil || !ours || p.size == 0 {
		return write{}, false, err
	}
	cs, _ := w.reg(ctx, "cs")
	hit := write{inKernel: cs&3 == 0, point: p}
	switch p.kind {
	case 1:
		return hit, !hit.inKernel, nil
	case 2:
		b, err := w.peek(ctx, p.addr, p.size)
		if err != nil && !errors.Is(err, errUnmapped) {
			return hit, false, err
		}
		changed := !bytes.Equal(b, w.values[p])
		w.values[p] = b
		return hit, changed, nil
	}
	return hit, true, nil
}

// lastWrites returns the last n changes of size bytes at addr before position
// before, oldest first.
func (t *timeline) lastWrites(ctx context.Context, addr, size, before uint64, n int) ([]write, error) {
	_, what := t.watch([]point{{2, addr, size}})
	return t.lastHits(ctx, t.born, before, n, what)
}
