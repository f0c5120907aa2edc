package watch

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Notes are the files that traced threads used. It is for whoever traces a
// program already, as a process has one tracer: its filter has to stop the
// calls of [Traced], and at each such stop it calls [Notes.Syscall].
type Notes struct {
	mu            sync.Mutex
	files, listed map[string]bool
}

// NewNotes returns notes with nothing in them.
func NewNotes() *Notes { return &Notes{files: map[string]bool{}, listed: map[string]bool{}} }

// Add notes a path and what it leads to.
func (n *Notes) Add(paths ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range paths {
		n.file(p)
	}
}

// Syscall is called at the start of a traced system call of a thread that the
// caller traces, from the thread that traces it.
func (n *Notes) Syscall(tid int) {
	var r unix.PtraceRegs
	if unix.PtraceGetRegs(tid, &r) != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.call(tid, &r)
}

// Executable is called when a process has become another program.
func (n *Notes) Executable(pid int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.executable(pid)
}

// Seen is what is noted by now: files and listed folders, sorted.
func (n *Notes) Seen() *Seen {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := &Seen{}
	for f := range n.files {
		s.Files = append(s.Files, f)
	}
	for f := range n.listed {
		s.Listed = append(s.Listed, f)
	}
	slices.Sort(s.Files)
	slices.Sort(s.Listed)
	return s
}

// Merge adds what another run used.
func (s *Seen) Merge(more *Seen) {
	s.Files, s.Listed = merged(s.Files, more.Files), merged(s.Listed, more.Listed)
	s.MaxRSS += more.MaxRSS
}

func merged(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
