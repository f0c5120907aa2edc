package vtime

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// trace is the one thread that ptrace lets deal with the processes.
func (w *World) trace(pid int) {
	runtime.LockOSThread() // for ever: the thread ends with the goroutine
	// Waiting for what this thread traces is waiting for its children, too. One
	// that has forked before would take them from whoever waits for them.
	if b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", unix.Gettid())); err != nil || len(b) > 0 {
		done := make(chan struct{})
		go func() { defer close(done); w.trace(pid) }() // on another thread, as this one stays locked
		<-done
		// The end of this thread would be a parent's death to its children.
		runtime.UnlockOSThread()
		return
	}
	defer close(w.ended)
	var options uintptr = unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACESYSGOOD
	if w.opt.Notes != nil {
		options |= unix.PTRACE_O_TRACESECCOMP
	}
	if _, _, e := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, options, 0, 0); e != 0 {
		w.attached <- fmt.Errorf("vtime: need to trace the program, found: %w (in a container: --cap-add=SYS_PTRACE)", e)
		return
	}
	w.attached <- nil
	for {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, unix.WALL|wNoThread, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return // no process is left
		}
		if ws.Exited() || ws.Signaled() {
			w.gone(tid)
			continue
		}
		w.stopped(tid, ws)
	}
}

const wNoThread = 0x20000000 // __WNOTHREAD: only what this thread traces

// known tells whether a thread has its process.
func (w *World) known(tid int) bool {
	select {
	case <-w.thread(tid).known:
		return true
	default:
		return false
	}
}

// letGo lets a child go on that stopped before anybody knew whose it is.
func (w *World) letGo(child int) {
	if w.early[child] {
		delete(w.early, child)
		_ = unix.PtraceCont(child, 0) // it may have been killed
	}
}

// sameProcess tells threads from processes: clone makes both.
func sameProcess(a, b int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d/task/%d", a, b))
	return err == nil
}

func (w *World) gone(tid int) {
	w.mu.Lock()
	delete(w.threads, tid)
	w.mu.Unlock()
}

// stopped lets a process go on that stopped, after what has to be done for it.
func (w *World) stopped(tid int, ws unix.WaitStatus) {
	sig := int(ws.StopSignal())
	switch event := int(uint32(ws) >> 16); event {
	case 0:
		// A signal on its way to the program.
	case unix.PTRACE_EVENT_EXEC:
		if old, err := unix.PtraceGetEventMsg(tid); err == nil && int(old) != tid {
			w.mu.Lock() // another thread than the first one ran it
			if t := w.threads[int(old)]; t != nil {
				w.threads[tid] = t
				delete(w.threads, int(old))
			}
			w.mu.Unlock()
		}
		if w.opt.Notes != nil {
			w.opt.Notes.Executable(tid)
		}
		w.begin(tid)
		sig = 0
	case unix.PTRACE_EVENT_SECCOMP:
		w.opt.Notes.Syscall(tid)
		sig = 0
	case unix.PTRACE_EVENT_CLONE, unix.PTRACE_EVENT_FORK, unix.PTRACE_EVENT_VFORK:
		if child, err := unix.PtraceGetEventMsg(tid); err == nil {
			defer w.letGo(int(child))
			w.born(tid, int(child), event == unix.PTRACE_EVENT_CLONE && sameProcess(tid, int(child)))
		}
		sig = 0
	case unix.PTRACE_EVENT_STOP:
		if !w.known(tid) { // a child whose parent's stop is still to be seen
			w.early[tid] = true
			return
		}
		switch unix.Signal(sig) {
		case unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU: // job control
			_, _, _ = unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_LISTEN, uintptr(tid), 0, 0, 0, 0)
			return
		}
		sig = 0
	default:
		sig = 0
	}
	if sig == int(unix.SIGTRAP)|0x80 {
		sig = 0
	}
	_ = unix.PtraceCont(tid, sig) // it may have been killed
}

// begin changes a program that is about to run.
func (w *World) begin(tid int) {
	w.mu.Lock()
	w.stats.Programs++
	w.mu.Unlock()
	if err := w.change(tid); err != nil {
		w.mu.Lock()
		w.stats.Failed = append(w.stats.Failed, err.Error())
		w.mu.Unlock()
	}
}

// next lets the process go on to its next stop by one request.
func next(tid int, request func() error) (unix.WaitStatus, error) {
	if err := request(); err != nil {
		return 0, err
	}
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(tid, &ws, unix.WALL|wNoThread, nil)
		if err == unix.EINTR {
			continue
		}
		return ws, err
	}
}

// change gives the program its random bytes and its clock.
func (w *World) change(tid int) error {
	// To the end of execve: it would overwrite a register.
	if ws, err := next(tid, func() error { return unix.PtraceSyscall(tid, 0) }); err != nil || !ws.Stopped() {
		return fmt.Errorf("the program ended as it began (%v)", err)
	}
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	aux, err := auxiliary(tid, regs.Rsp)
	if err != nil {
		return err
	}
	const atRandom, atVDSO = 25, 33
	if at := aux[atRandom]; at != 0 && w.opt.Random {
		var b [16]byte
		w.thread(tid).process.read(b[:])
		if _, err := unix.PtracePokeData(tid, uintptr(at), b[:]); err != nil {
			return err
		}
	}
	base := aux[atVDSO]
	if base == 0 {
		return nil // then there are system calls only
	}
	image := make([]byte, 16<<10)
	n, err := peek(tid, base, image)
	if err != nil {
		return err
	}
	symbols, err := vdsoSymbols(image[:n])
	if err != nil {
		return err
	}
	if at, ok := symbols["__vdso_getrandom"]; ok && w.opt.Random {
		// mov $-ENOSYS, %rax; ret: the caller asks the kernel then, and so us.
		if _, err := unix.PtracePokeText(tid, uintptr(base+at), []byte{0x48, 0xc7, 0xc0, 0xda, 0xff, 0xff, 0xff, 0xc3}); err != nil {
			return err
		}
	}
	if !w.opt.Clock {
		return nil
	}
	code, err := w.mapClock(tid, regs)
	if err != nil {
		return err
	}
	for name, off := range map[string]uint64{"__vdso_clock_gettime": 0, "__vdso_gettimeofday": 128, "__vdso_time": 256} {
		at, ok := symbols[name]
		if !ok {
			continue
		}
		jump := []byte{0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0} // movabs $code, %rax; jmp *%rax
		for i := range 8 {
			jump[2+i] = byte((code + off) >> (8 * i))
		}
		if _, err := unix.PtracePokeText(tid, uintptr(base+at), jump); err != nil {
			return err
		}
	}
	return nil
}

// mapClock maps the world's pages into the process and returns where the stubs are.
func (w *World) mapClock(tid int, regs unix.PtraceRegs) (uint64, error) {
	size := uint64(os.Getpagesize())
	t := w.thread(tid)
	w.mu.Lock()
	t.inject = true
	w.mu.Unlock()
	// The first call makes the kernel tell the listener, which adds the descriptor.
	fd, err := call(tid, regs, unix.SYS_GETRANDOM, 0, 0, injected)
	if err == nil && fd < 0 {
		err = unix.Errno(-fd)
	}
	if err != nil {
		return 0, fmt.Errorf("hand over the clock: %w", err)
	}
	at, err := call(tid, regs, unix.SYS_MMAP, 0, 2*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED, uint64(fd), 0)
	if err == nil && at < 0 && at > -4096 {
		err = unix.Errno(-at)
	}
	if err == nil {
		_, err = call(tid, regs, unix.SYS_MPROTECT, uint64(at)+size, size, unix.PROT_READ|unix.PROT_EXEC)
	}
	if _, e := call(tid, regs, unix.SYS_CLOSE, uint64(fd)); err == nil {
		err = e
	}
	if err != nil {
		return 0, fmt.Errorf("map the clock: %w", err)
	}
	return uint64(at) + size, nil
}

// call has the process make a system call, at its first instruction, and puts
// everything back as it was.
func call(tid int, regs unix.PtraceRegs, nr uint64, args ...uint64) (int64, error) {
	at := uintptr(regs.Rip)
	saved := make([]byte, 8)
	if _, err := unix.PtracePeekText(tid, at, saved); err != nil {
		return 0, err
	}
	if _, err := unix.PtracePokeText(tid, at, []byte{0x0f, 0x05, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc}); err != nil { // syscall; int3
		return 0, err
	}
	r := regs
	r.Rax, r.Orig_rax = nr, ^uint64(0)
	for i, p := range []*uint64{&r.Rdi, &r.Rsi, &r.Rdx, &r.R10, &r.R8, &r.R9} {
		*p = 0
		if i < len(args) {
			*p = args[i]
		}
	}
	if err := unix.PtraceSetRegs(tid, &r); err != nil {
		return 0, err
	}
	// A signal may come meanwhile, or a stop of another kind: the call goes on, and
	// the signal is sent again afterwards.
	for {
		ws, err := next(tid, func() error { return unix.PtraceCont(tid, 0) })
		if err != nil {
			return 0, err
		}
		if !ws.Stopped() {
			return 0, fmt.Errorf("the program ended as it began (%#x)", uint32(ws))
		}
		if err := unix.PtraceGetRegs(tid, &r); err != nil {
			return 0, err
		}
		if ws.StopSignal() == unix.SIGTRAP && r.Rip == regs.Rip+3 { // behind the int3
			break
		}
		if event := uint32(ws) >> 16; event == 0 && ws.StopSignal() != unix.SIGTRAP {
			defer func() { _ = unix.Kill(tid, ws.StopSignal()) }()
		}
	}
	if _, err := unix.PtracePokeText(tid, at, saved); err != nil {
		return 0, err
	}
	return int64(r.Rax), unix.PtraceSetRegs(tid, &regs)
}
