package rewind

import (
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
			if ends, err := t.execs(ctx, now); err != nil {
				return death{}, others, err
			} else if ends && rip == exit.addr {
				break // a thread only, to make room for another program
			}
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
