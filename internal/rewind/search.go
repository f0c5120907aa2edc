package rewind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

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
