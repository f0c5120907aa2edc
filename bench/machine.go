package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// machine says where and when the numbers were made.
type machine struct {
	date    time.Time
	cpu     string
	kernel  string
	qemu    string
	version string // of tapedeck
	load    string // before the run
}

func look(ctx context.Context, l *lab) machine {
	m := machine{date: time.Now().UTC(), cpu: cpuModel(), load: load()}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.kernel = strings.TrimSpace(string(text))
	}
	m.qemu = firstLine(ctx, "qemu-system-x86_64", "--version")
	m.version = firstLine(ctx, l.tapedeck, "version")
	if strings.Contains(m.version, "(devel)") { // built without its revision
		m.version = "tapedeck at commit " + firstLine(ctx, "git", "-C", l.root, "rev-parse", "--short", "HEAD")
	}
	return m
}

func (m machine) describe() string {
	return fmt.Sprintf("- %s, %d cores, Linux %s\n- %s\n- %s, %s\n- %s; load average %s before the run, %s after it\n",
		m.cpu, runtime.NumCPU(), m.kernel, m.qemu, m.version, runtime.Version(), m.date.Format("2006-01-02 15:04 UTC"), m.load, load())
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// load is the average over the last minute: what else the machine did.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := strings.Cut(string(text), " ")
	return one
}

func firstLine(ctx context.Context, args ...string) string {
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).Output()
	if err != nil {
		return args[0] + ": " + err.Error()
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}
