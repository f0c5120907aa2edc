// Package sandbox runs a program in a network of its own, in which every
// address leads to this process, as root and without privileges alike.
//
// [Start] runs three stages of this very executable, one below the other. The
// first makes the namespaces. The second, pid 1 in them, brings up loopback,
// routes every address to it, and redirects every TCP connection to one socket:
// it makes that socket inside and passes it out, so that this process can serve
// connections and nothing of it is within the program's reach. The third stage
// gives up what it may, and becomes the program.
//
// For recording, the program sees the machine's files, with some put over
// others ([Bind]). For a replay it sees a read-only view of what it needs and
// what it writes is thrown away ([Config.Hermetic]), and a seccomp filter closes
// what namespaces leave open.
package sandbox
