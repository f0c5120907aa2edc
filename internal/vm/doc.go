// Package vm runs a program in a small guest that QEMU records and replays
// instruction by instruction. It needs no performance counters and no KVM, so
// it works where rr can't: on hosted runners, cloud machines, in containers.
//
// A [Kernel] is taken from the distribution, a [Base] is a snapshot of it just
// after boot, a [World] is the disk with the program's files, and [Run] starts
// a machine from the three, either to record or to replay.
package vm
