package vtime

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What seccomp_unotify(2) has and package unix has not.
const (
	notifRecv  = 0xc0502100
	notifSend  = 0xc0182101
	notifAddFD = 0x40182103
	carryOn    = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE
)

// injected are the flags of a getrandom that asks for the clock's descriptor.
const injected = 0x74617065

type notification struct {
	ID    uint64
	PID   uint32
	Flags uint32
	Nr    int32
	Arch  uint32
	IP    uint64
	Args  [6]uint64
}

type response struct {
	ID    uint64
	Val   int64
	Error int32
	Flags uint32
}

type addFD struct {
	ID         uint64
	Flags      uint32
	SrcFD      uint32
	NewFD      uint32
	NewFDFlags uint32
}

// sleep is a thread that waits for a time to come.
type sleep struct {
	until int64     // by the wall clock of the world
	real  time.Time // when it has really slept so long
}

// serve answers the system calls that the filter sends.
func (w *World) serve() {
	fd := int(w.listener.Fd())
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, 100); err != nil && err != unix.EINTR {
			return
		}
		select {
		case <-w.ended:
			return
		default:
		}
		if p[0].Revents&unix.POLLIN == 0 {
			if p[0].Revents != 0 {
				return // nobody has the filter any more
			}
			continue
		}
		var n notification
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), notifRecv, uintptr(unsafe.Pointer(&n))); e != 0 {
			continue // it was killed meanwhile
		}
		w.answering.Add(1)
		w.answer(n)
		w.answering.Add(-1)
	}
}

// Busy tells whether a thread waits for an answer of this world's: it looks as
// if it slept.
func (w *World) Busy() bool {
	p := []unix.PollFd{{Fd: int32(w.listener.Fd()), Events: unix.POLLIN}}
	_, err := unix.Poll(p, 0)
	return err != nil || p[0].Revents&unix.POLLIN != 0 || w.answering.Load() > 0
}

func (w *World) reply(id uint64, val int64, e unix.Errno, flags uint32) {
	r := response{ID: id, Val: val, Error: -int32(e), Flags: flags}
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, w.listener.Fd(), notifSend, uintptr(unsafe.Pointer(&r))) // it may be gone
}

func (w *World) answer(n notification) {
	pid := int(n.PID)
	put := func(at uint64, sec, part int64) {
		if at == 0 {
			w.reply(n.ID, 0, 0, 0)
			return
		}
		var b [16]byte
		binary.LittleEndian.PutUint64(b[:], uint64(sec))
		binary.LittleEndian.PutUint64(b[8:], uint64(part))
		if err := poke(pid, at, b[:]); err != nil {
			w.reply(n.ID, 0, unix.EFAULT, 0)
			return
		}
		w.reply(n.ID, 0, 0, 0)
	}
	switch n.Nr {
	case unix.SYS_GETRANDOM:
		w.random(n, pid)
	case unix.SYS_CLOCK_GETTIME:
		now := w.read()
		if monotonic(n.Args[0]) {
			now -= w.off
		}
		put(n.Args[1], now/1e9, now%1e9)
	case unix.SYS_GETTIMEOFDAY:
		now := w.read()
		put(n.Args[0], now/1e9, now%1e9/1000)
	case unix.SYS_TIME:
		now := w.read() / 1e9
		if at := n.Args[0]; at != 0 {
			var b [8]byte
			binary.LittleEndian.PutUint64(b[:], uint64(now))
			if poke(pid, at, b[:]) != nil {
				w.reply(n.ID, 0, unix.EFAULT, 0)
				return
			}
		}
		w.reply(n.ID, now, 0, 0)
	case unix.SYS_NANOSLEEP:
		w.hold(n, pid, n.Args[0], false, false)
	case unix.SYS_CLOCK_NANOSLEEP:
		w.hold(n, pid, n.Args[2], n.Args[1]&1 != 0, monotonic(n.Args[0]))
	case unix.SYS_FUTEX:
		w.until(n, pid)
	default:
		w.reply(n.ID, 0, 0, carryOn)
	}
}

func monotonic(clock uint64) bool {
	switch clock {
	case unix.CLOCK_MONOTONIC, unix.CLOCK_MONOTONIC_RAW, unix.CLOCK_MONOTONIC_COARSE, unix.CLOCK_BOOTTIME:
		return true
	}
	return false
}

const maxRandom = 1 << 20 // bytes for one call; a program asks again for more

func (w *World) random(n notification, pid int) {
	t := w.thread(pid)
	w.mu.Lock()
	ours := t.inject && n.Args[2] == injected
	if ours {
		t.inject = false
	}
	w.mu.Unlock()
	if ours {
		add := addFD{ID: n.ID, SrcFD: uint32(w.state.Fd())}
		fd, _, e := unix.Syscall(unix.SYS_IOCTL, w.listener.Fd(), notifAddFD, uintptr(unsafe.Pointer(&add)))
		w.reply(n.ID, int64(fd), e, 0)
		return
	}
	if !w.opt.Random {
		w.reply(n.ID, 0, 0, carryOn)
		return
	}
	if n.Args[2]&^7 != 0 {
		w.reply(n.ID, 0, unix.EINVAL, 0)
		return
	}
	w.answering.Add(1)
	w.serving.Go(func() { // a thread that was born a moment ago may not have its key yet
		defer w.answering.Add(-1)
		select {
		case <-t.known:
		case <-w.ended:
			return
		}
		b := make([]byte, min(n.Args[1], maxRandom))
		t.process.read(b)
		if err := poke(pid, n.Args[0], b); err != nil {
			w.reply(n.ID, 0, unix.EFAULT, 0)
			return
		}
		w.reply(n.ID, int64(len(b)), 0, 0)
	})
}

// shortest is the sleep that is worth being held: a runtime's own little pauses
// are not.
const shortest = int64(time.Millisecond)

// hold makes a sleep last until the world's clock has come to its end.
func (w *World) hold(n notification, pid int, at uint64, absolute, mono bool) {
	var b [16]byte
	if k, err := peek(pid, at, b[:]); err != nil || k != 16 {
		w.reply(n.ID, 0, unix.EFAULT, 0)
		return
	}
	d := int64(binary.LittleEndian.Uint64(b[:]))*1e9 + int64(binary.LittleEndian.Uint64(b[8:]))
	now := w.wall().Load()
	until := now + d
	if absolute {
		until = d
		if mono {
			until += w.off
		}
	}
	if until-now < shortest {
		if absolute || d < 0 { // its end is by a clock that the kernel does not know
			w.reply(n.ID, 0, 0, 0)
			return
		}
		w.reply(n.ID, 0, 0, carryOn)
		return
	}
	w.mu.Lock()
	w.sleeps[n.ID] = &sleep{until: until, real: time.Now().Add(time.Duration(until - now))}
	w.mu.Unlock()
}

// beat is how often the threads are looked at, unless that takes more than a
// tenth of the time: the machine may be slow, or the threads many.
const beat = 2 * time.Millisecond

// pace keeps the clock going while the program waits: it moves on as real time
// does, so that who waits for a time to come does not wait in vain; and if all
// that is waited for are sleeps, to the end of the first one at once.
func (w *World) pace() {
	last, rested := time.Now(), 0
	t := time.NewTimer(beat)
	defer t.Stop()
	for {
		select {
		case <-w.ended:
			return
		case <-t.C:
		}
		now := time.Now()
		passed := now.Sub(last)
		last = now
		idle := w.idle()
		t.Reset(max(beat, 10*time.Since(now)))
		if !idle {
			rested = 0
			w.wake(now)
			continue
		}
		rested++
		w.Set(w.wall().Load() + int64(passed))
		if first, ok := w.firstSleep(); ok && rested > 2 {
			w.Set(first)
			rested = 0
		}
		w.wake(now)
	}
}

func (w *World) firstSleep() (int64, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first, ok := int64(0), false
	for _, s := range w.sleeps {
		if !ok || s.until < first {
			first, ok = s.until, true
		}
	}
	return first, ok
}

// wake ends the sleeps whose time has come, by the world's clock or the real one.
func (w *World) wake(now time.Time) {
	w.mu.Lock()
	var due []uint64
	for id, s := range w.sleeps {
		if s.until <= w.wall().Load() || !s.real.After(now) {
			w.Set(s.until)
			due = append(due, id)
			delete(w.sleeps, id)
		}
	}
	w.mu.Unlock()
	for _, id := range due {
		w.reply(id, 0, 0, 0)
	}
}

// idle tells whether every thread waits.
func (w *World) idle() bool {
	w.mu.Lock()
	tids := make([]int, 0, len(w.threads))
	for tid := range w.threads {
		tids = append(tids, tid)
	}
	w.mu.Unlock()
	var buf [512]byte
	for _, tid := range tids {
		f, err := os.Open(fmt.Sprintf("/proc/%d/stat", tid))
		if err != nil {
			continue
		}
		n, _ := f.Read(buf[:])
		f.Close()
		for i := n - 1; i > 0; i-- {
			if buf[i] == ')' {
				if i+2 < n && buf[i+2] != 'S' && buf[i+2] != 'Z' {
					return false
				}
				break
			}
		}
	}
	return true
}
