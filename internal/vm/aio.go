package vm

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// How QEMU can read files. A guest sees no difference, and a recording made
// with one replays with the other.
const (
	// aioThreads wakes a thread for each piece, twice for 32 KiB of a snapshot.
	aioThreads = "threads"
	// aioRing costs a third of that, but kernels and containers may forbid it.
	aioRing = "io_uring"
)

const ringEntries = 128 // as many as QEMU asks for

// bestAIO tells what the kernel lets this process have.
func bestAIO() string {
	var params [120]byte // struct io_uring_params
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringEntries, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		return aioThreads
	}
	unix.Close(int(fd))
	return aioRing
}
