package rr

import "syscall"

// childAttr has the kernel end rr when we die, so that no recording or debug
// server outlives us: SIGTERM, which leaves a trace that can be replayed. A
// process group of its own keeps the terminal's interrupts from a server.
func childAttr(ownGroup bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: ownGroup}
}
