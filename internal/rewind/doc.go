// Package rewind debugs a recording backwards: from the failure to the store
// that corrupted a variable. [Open] is the entry point. It drives gdb through
// its machine interface over a [Target], which is an rr replay server or, by
// [OpenVM], one process of a recorded virtual machine. The latter is a gdb
// server of its own (server.go, motion.go) that turns QEMU's view, one CPU and
// physical history, into gdb's: a process with threads, libraries and signals.
package rewind
