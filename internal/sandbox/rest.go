package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// Sleeps tells whether each of the program's threads sleeps, those too of
// processes that their parents left behind: these are pid 1's. Pid 1 itself,
// which is ours, does not count.
func (b *Box) Sleeps() bool {
	for _, pid := range childrenOf(b.init) {
		if !sleeps(pid) {
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

func childrenOf(pid int) (all []int) {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)) // none: it has ended
	for _, t := range tasks {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
		for _, c := range bytes.Fields(children) {
			if n, err := strconv.Atoi(string(c)); err == nil {
				all = append(all, n)
			}
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
		dir := fmt.Sprintf("/proc/%d/task/%s/", pid, t.Name())
		stat, err := os.ReadFile(dir + "stat")
		if err != nil {
			continue
		}
		if i := bytes.LastIndexByte(stat, ')'); i < 0 || i+2 >= len(stat) || stat[i+2] != 'S' && stat[i+2] != 'Z' {
			return false
		}
	}
	for _, c := range childrenOf(pid) {
		if !sleeps(c) {
			return false
		}
	}
	return true
}
