// Package vtime gives unmodified programs a clock and randomness of our making,
// static and dynamic ones alike.
//
// A [World] traces the program's processes, only to be there when one begins or
// runs another program. The kernel's vDSO, from which programs read the clock
// without a system call, is then patched in that process: to read the clock from
// a page that all processes of the world share (20 ns, against 12 µs for a
// trap). What programs ask the kernel itself, a seccomp filter sends here:
// getrandom, the clock's system calls, sleeps, and waits until a moment.
//
// Randomness is one stream for each process, drawn from the seed and the process's
// place in the tree of creations, so that processes don't disturb one another.
// Within a process it goes to who asks first: a goroutine has no thread of its
// own that could have a stream.
package vtime

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tapedeck-dev/tapedeck/internal/sandbox"
	"github.com/tapedeck-dev/tapedeck/internal/watch"
)

// Options of a world.
type Options struct {
	Clock      bool  // a clock of its own; else the machine's
	Wall, Mono int64 // where it begins, in nanoseconds
	Random     bool  // randomness from the seed; else the machine's
	Seed       [32]byte
	Notes      *watch.Notes // is told which files are used; nil: nobody. A process has one tracer, and that is the world
}

// Step is by how much a reading moves the clock on, in nanoseconds.
const Step = 100

// World is the time and the randomness of some processes.
type World struct {
	opt   Options
	state *os.File
	page  []byte // the state, which the stubs read
	off   int64  // wall minus monotonic

	listener  *os.File
	ended     chan struct{}  // all processes are gone
	serving   sync.WaitGroup // of what uses the listener
	attached  chan error
	answering atomic.Int64 // calls

	mu      sync.Mutex
	threads map[int]*thread
	sleeps  map[uint64]*sleep // by notification
	stats   Stats
	early   map[int]bool // children that stopped too early; the tracing thread's alone

	deadlines map[[2]uint64]deadline // of waits, by thread and address
}

// Stats say what was done, and what could not be.
type Stats struct {
	Programs int // that were begun
	Threads  int
	Failed   []string // programs whose clock could not be patched, and why
}

// thread is a thread of the world.
type thread struct {
	process *process
	known   chan struct{} // closed when the process is set
	inject  bool          // the next getrandom is ours
}

// process is a process of the world, and its stream.
type process struct {
	key      [32]byte
	children uint64
	mu       sync.Mutex
	random   *rand.ChaCha8
}

func newProcess(key [32]byte) *process { return &process{key: key, random: rand.NewChaCha8(key)} }

func (p *process) read(b []byte) {
	p.mu.Lock()
	_, _ = p.random.Read(b) // never fails
	p.mu.Unlock()
}

// New makes a world.
func New(o Options) (*World, error) {
	fd, err := unix.MemfdCreate("clock", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	w := &World{opt: o, state: os.NewFile(uintptr(fd), "clock"), off: o.Wall - o.Mono, ended: make(chan struct{}), attached: make(chan error, 1),
		threads: map[int]*thread{}, sleeps: map[uint64]*sleep{}, early: map[int]bool{}, deadlines: map[[2]uint64]deadline{}}
	size := os.Getpagesize()
	if err := w.state.Truncate(int64(2 * size)); err != nil {
		return nil, err
	}
	if w.page, err = unix.Mmap(fd, 0, 2*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, err
	}
	copy(w.page[size:], stub())
	binary.NativeEndian.PutUint64(w.page[8:], uint64(w.off))
	binary.NativeEndian.PutUint64(w.page[16:], Step)
	w.wall().Store(o.Wall)
	return w, nil
}

func (w *World) wall() *atomic.Int64 { return (*atomic.Int64)(unsafe.Pointer(&w.page[0])) }

// read is what a program does that reads the clock.
func (w *World) read() int64 { return w.wall().Add(Step) - Step }

// Set moves the clock to a moment, and never back.
func (w *World) Set(wall int64) {
	for c := w.wall(); ; {
		now := c.Load()
		if now >= wall || c.CompareAndSwap(now, wall) {
			return
		}
	}
}

// Stats are the counts up to now.
func (w *World) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

// Outside is what a world does not rule.
func Outside() []string {
	return []string{"how threads interleave", "RDTSC and RDRAND", "times of files"}
}

// personality: addresses that are the same each time (ADDR_NO_RANDOMIZE).
const personality = 0x0040000

// Enter has the program of c run in this world. dir is a folder for a file that
// is shown to it. When the program has ended, stop and then [World.Close] are called.
func (w *World) Enter(c *sandbox.Config, dir string) (stop func(), err error) {
	c.Filter, c.Hold, c.Persona = w.filter(), w.attach, personality
	if !w.opt.Random {
		return func() {}, nil
	}
	fifo := filepath.Join(dir, "random")
	if stop, err = w.devices(fifo); err != nil {
		return nil, err
	}
	c.Binds = append(c.Binds, sandbox.Bind{Source: fifo, Target: "/dev/random"}, sandbox.Bind{Source: fifo, Target: "/dev/urandom"})
	// OpenSSL takes randomness from the processor otherwise.
	if !slices.ContainsFunc(c.Env, func(e string) bool { return strings.HasPrefix(e, "OPENSSL_ia32cap=") }) {
		c.Env = append(c.Env, "OPENSSL_ia32cap=~0x4000000000000010")
	}
	return stop, nil
}

// filter is the seccomp filter that sends the world its system calls.
func (w *World) filter() []unix.SockFilter {
	load := func(off uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off}
	}
	equal := func(k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: yes, Jf: no, K: k}
	}
	ret := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	p := []unix.SockFilter{load(4), equal(unix.AUDIT_ARCH_X86_64, 1, 0), ret(unix.SECCOMP_RET_ALLOW), load(0)}
	trap := []uint32{unix.SYS_GETRANDOM} // always: it carries our own requests too
	if w.opt.Clock {
		trap = append(trap, unix.SYS_GETTIMEOFDAY, unix.SYS_TIME, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP)
	}
	for _, nr := range trap {
		p = append(p, equal(nr, 0, 1), ret(unix.SECCOMP_RET_USER_NOTIF))
	}
	if w.opt.Notes != nil {
		for _, nr := range watch.Traced() {
			p = append(p, equal(nr, 0, 1), ret(unix.SECCOMP_RET_TRACE))
		}
	}
	if w.opt.Clock {
		p = append(p, futexFilter()...)
	}
	if w.opt.Clock { // not those that count a process's own time
		p = append(p, equal(unix.SYS_CLOCK_GETTIME, 0, 6), load(16))
		p = append(p, equal(unix.CLOCK_PROCESS_CPUTIME_ID, 3, 0), equal(unix.CLOCK_THREAD_CPUTIME_ID, 2, 0),
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, Jt: 1, Jf: 0, K: unix.CLOCK_TAI}, ret(unix.SECCOMP_RET_USER_NOTIF), ret(unix.SECCOMP_RET_ALLOW))
	}
	return append(p, ret(unix.SECCOMP_RET_ALLOW))
}

// attach takes hold of a process that is about to run the program. listener is
// that of the filter; it is the world's from now on.
func (w *World) attach(pid int, listener *os.File) error {
	if listener == nil {
		return fmt.Errorf("vtime: need the filter's listener, found none")
	}
	w.listener = listener
	w.adopt(pid, newProcess(sha256.Sum256(append([]byte("first"), w.opt.Seed[:]...))))
	go w.trace(pid)
	if err := <-w.attached; err != nil {
		return err
	}
	w.serving.Go(w.serve)
	if w.opt.Clock {
		w.serving.Go(w.pace)
	}
	return nil
}

// Close frees what the world has. The processes must be gone.
func (w *World) Close() {
	if w.listener != nil {
		<-w.ended
		w.serving.Wait()
		w.listener.Close()
	}
	w.state.Close()
}

func (w *World) thread(tid int) *thread {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.threads[tid]
	if t == nil {
		t = &thread{known: make(chan struct{})}
		w.threads[tid] = t
		w.stats.Threads++
	}
	return t
}

func (w *World) adopt(tid int, p *process) {
	t := w.thread(tid)
	select {
	case <-t.known: // an earlier thread of that number, whose end was not seen
		t = &thread{known: make(chan struct{})}
		w.mu.Lock()
		w.threads[tid] = t
		w.mu.Unlock()
	default:
	}
	t.process = p
	close(t.known)
}

// born gives a new thread its process, and a new process its place in the tree.
func (w *World) born(parent, child int, thread bool) {
	p := w.thread(parent).process
	if !thread {
		p.children++
		p = newProcess(sha256.Sum256(binary.BigEndian.AppendUint64(p.key[:], p.children)))
	}
	w.adopt(child, p)
}

// devices feeds a stream of its own to a FIFO, which is to be shown in place of
// /dev/random and /dev/urandom, until stop is called.
func (w *World) devices(fifo string) (stop func(), err error) {
	if err := unix.Mkfifo(fifo, 0o666); err != nil {
		return nil, err
	}
	if err := os.Chmod(fifo, 0o666); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	random := rand.NewChaCha8(sha256.Sum256(append([]byte("devices"), w.opt.Seed[:]...)))
	go func() {
		b := make([]byte, 4096)
		for {
			_, _ = random.Read(b) // never fails
			if _, err := f.Write(b); err != nil {
				return // stopped
			}
		}
	}()
	return func() { f.Close() }, nil
}
