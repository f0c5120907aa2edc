package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// Sleeps tells whether each of the program's threads sleeps, those too of
// processes that their parents left behind.
func (b *Box) Sleeps() bool {
	if !sleeps(b.pid) {
		return false
	}
	for _, pid := range childrenOf(b.init, b.init) { // the kernel gives them to pid 1's first thread
		if pid != b.pid && !sleeps(pid) {
			return false
		}
	}
	return true
}

// Read tells whether the program has read all that came to its connections. The
// kernel goes through all its sockets for that, which takes a millisecond.
func (b *Box) Read() bool {
	for _, file := range []string{"tcp", "tcp6"} {
		sockets, err := readSockets(fmt.Sprintf("/proc/%d/net/%s", b.init, file))
		if err != nil {
			return false
		}
		for _, s := range sockets {
			if !s.listens && s.unread > 0 && s.local.Port() != catchPort { // our own ends are on that port
				return false
			}
		}
	}
	return true
}

func childrenOf(pid, thread int) (all []int) {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, thread)) // none: it has ended
	for _, c := range bytes.Fields(children) {
		if n, err := strconv.Atoi(string(c)); err == nil {
			all = append(all, n)
		}
	}
	return all
}

// sleeps looks at a process and those below it.
func sleeps(pid int) bool {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return true // it has ended
	}
	for _, t := range tasks {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/stat", pid, t.Name()))
		if err != nil {
			continue
		}
		if i := bytes.LastIndexByte(stat, ')'); i < 0 || i+2 >= len(stat) || stat[i+2] != 'S' && stat[i+2] != 'Z' {
			return false
		}
		thread, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		for _, c := range childrenOf(pid, thread) {
			if !sleeps(c) {
				return false
			}
		}
	}
	return true
}
