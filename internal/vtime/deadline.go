package vtime

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// A futex can be waited for until a moment, as condition variables are. The
// kernel knows that moment by its own clock alone: by the world's it may be past
// or years ahead. A wait for some time, rather than until one, needs no help.

// What linux/futex.h has and package unix has not.
const (
	futexCommand    = 0x7f // of an operation; the rest are flags
	futexWaitBitset = 9    // the wait whose time is a moment
	futexRealtime   = 256  // by the wall clock
)

// futexFilter sends those waits to the listener, and no other use of futexes: of
// these there are millions. The accumulator holds the call's number, before and after.
func futexFilter() []unix.SockFilter {
	const op, time = 24, 40 // low halves of the second argument, and of the fourth: an address
	load := func(off uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off}
	}
	equal := func(k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: yes, Jf: no, K: k}
	}
	return []unix.SockFilter{
		equal(unix.SYS_FUTEX, 0, 7),
		load(op),
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: futexCommand},
		equal(futexWaitBitset, 0, 2),
		load(time),
		equal(0, 0, 1),
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
	}
}

// deadline is a moment that was put in the place of another one.
type deadline struct{ asked, put int64 }

// slack is for the world's clock, which moves on from beat to beat: it is to be
// past the moment when the wait ends.
const slack = int64(2 * beat)

// maxDeadlines bounds what is remembered of them.
const maxDeadlines = 1 << 14

// until lets a wait go on with the moment of the machine's clock that is as far
// away as the one that was asked for is by the world's. It stands in the program's
// memory afterwards: who waits again with the same one is known by that.
func (w *World) until(n notification, pid int) {
	defer w.reply(n.ID, 0, 0, carryOn)
	at := n.Args[3]
	var b [16]byte
	if k, err := peek(pid, at, b[:]); err != nil || k != 16 {
		return
	}
	asked := int64(binary.LittleEndian.Uint64(b[:]))*1e9 + int64(binary.LittleEndian.Uint64(b[8:]))
	key := [2]uint64{uint64(pid), at}
	w.mu.Lock()
	defer w.mu.Unlock()
	if d, ok := w.deadlines[key]; ok && d.put == asked {
		asked = d.asked
	}
	clock, now := int32(unix.CLOCK_REALTIME), w.wall().Load()
	if n.Args[1]&futexRealtime == 0 {
		clock, now = unix.CLOCK_MONOTONIC, now-w.off
	}
	var real unix.Timespec
	if unix.ClockGettime(clock, &real) != nil {
		return
	}
	put := real.Nano() + max(asked-now, 0) + slack
	binary.LittleEndian.PutUint64(b[:], uint64(put/1e9))
	binary.LittleEndian.PutUint64(b[8:], uint64(put%1e9))
	if poke(pid, at, b[:]) != nil {
		return
	}
	if len(w.deadlines) >= maxDeadlines {
		clear(w.deadlines)
	}
	w.deadlines[key] = deadline{asked: asked, put: put}
}
