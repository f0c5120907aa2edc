package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what a command and everything below it used.
type usage struct {
	wall   time.Duration
	user   time.Duration
	system time.Duration
	parts  parts
}

func (u *usage) cpu() time.Duration { return u.user + u.system }

// take reads the resources of a process that has ended; the kernel adds those
// of its children, and theirs, if they were waited for.
func (u *usage) take(s *os.ProcessState) {
	if r, ok := s.SysUsage().(*syscall.Rusage); ok {
		u.user, u.system = time.Duration(r.Utime.Nano()), time.Duration(r.Stime.Nano())
	}
}

// parts is the CPU time by kind of process.
type parts struct {
	guest    time.Duration // QEMU
	pack     time.Duration // mkfs
	tapedeck time.Duration // the command itself
}

// program is what is left: the program's native run.
func (u *usage) program() time.Duration {
	return max(0, u.cpu()-u.parts.guest-u.parts.pack-u.parts.tapedeck)
}

// sampler reads the CPU time of a tree of processes again and again: nobody
// but the parent is told the final one.
type sampler struct {
	root int
	seen map[int]*process
	quit chan struct{}
	done chan struct{}
}

type process struct {
	name string
	cpu  map[string]time.Duration // by thread
}

const sampleEvery = 4 * time.Millisecond

func sample(root int) *sampler {
	s := &sampler{root: root, seen: map[int]*process{}, quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			s.visit(root)
			select {
			case <-s.quit:
				return
			case <-tick.C:
			}
		}
	}()
	return s
}

func (s *sampler) stop() parts {
	close(s.quit)
	<-s.done
	var p parts
	for pid, proc := range s.seen {
		var sum time.Duration
		for _, t := range proc.cpu {
			sum += t
		}
		switch {
		case pid == s.root:
			p.tapedeck += sum
		case strings.HasPrefix(proc.name, "qemu"):
			p.guest += sum
		case strings.HasPrefix(proc.name, "mkfs"), strings.HasPrefix(proc.name, "mke2fs"):
			p.pack += sum
		}
	}
	return p
}

// visit notes one process and those below it.
func (s *sampler) visit(pid int) {
	dir := fmt.Sprintf("/proc/%d", pid)
	name, err := os.ReadFile(dir + "/comm")
	if err != nil {
		return // it has ended
	}
	p := s.seen[pid]
	if p == nil {
		p = &process{cpu: map[string]time.Duration{}}
		s.seen[pid] = p
	}
	p.name = strings.TrimSpace(string(name))
	threads, _ := filepath.Glob(dir + "/task/*")
	for _, t := range threads {
		if text, err := os.ReadFile(t + "/schedstat"); err == nil {
			f := strings.Fields(string(text))
			if n, err := strconv.ParseInt(f[0], 10, 64); err == nil {
				p.cpu[t] = time.Duration(n)
			}
		}
		text, _ := os.ReadFile(t + "/children")
		for _, f := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(f); err == nil {
				s.visit(child)
			}
		}
	}
}
