package rewind

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// RRConfig is an rr that serves a trace to a debugger.
type RRConfig struct {
	Addr    string    // where it listens, host:port
	Exe     string    // the program, for its symbols
	Sysroot string    // where its libraries are; "" is this machine's root
	Server  io.Closer // ended with the target, unless it is nil
}

// RR returns the [Target] of an rr's debug server. rr presents processes and
// threads and goes backwards by itself, so there is little to add.
func RR(config RRConfig) Target {
	if config.Sysroot == "" {
		config.Sysroot = "/"
	}
	return &rrTarget{config}
}

type rrTarget struct{ config RRConfig }

func (r *rrTarget) Attach(context.Context) ([]string, error) {
	return []string{"set sysroot " + r.config.Sysroot, "file " + r.config.Exe, "target extended-remote " + r.config.Addr}, nil
}

func (r *rrTarget) Close() error {
	if r.config.Server == nil {
		return nil
	}
	return r.config.Server.Close()
}

// crashes are the signals after which a stack is worth looking at.
var crashes = []string{"SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP"}

// maxSignals bounds the signals that a program gets on its way to the end.
const maxSignals = 10_000

// ToFailure goes on to the end, where rr stops with SIGKILL, and from there
// back to the signal that killed the program, if it was a crash.
func (r *rrTarget) ToFailure(ctx context.Context, g *GDB) (Failure, error) {
	var f Failure
	last := ""
	for range maxSignals {
		stop, err := g.resume(ctx, "-exec-continue")
		if err != nil {
			return f, err
		}
		switch stop.str("reason") {
		case "signal-received":
			if name := stop.str("signal-name"); name != "SIGKILL" {
				last = name
				continue
			}
			if slices.Contains(crashes, last) {
				if stop, err = g.resume(ctx, "-exec-continue --reverse"); err != nil {
					return f, err
				}
				if stop.str("signal-name") == last {
					f.Signal, f.Core = last, true
					f.Code = 128 + signalNumber(last)
				}
			}
		case "no-history":
		case "exited", "exited-normally", "exited-signalled":
			return f, errors.New("rr let the program end: it can't be stepped back from there")
		default:
			continue
		}
		info, err := g.do(ctx, "-thread-info")
		if err != nil {
			return f, err
		}
		for _, t := range info.results.get("threads").items {
			if t.str("id") == info.results.str("current-thread-id") {
				f.PID, f.Thread = rrIDs(t.str("target-id"))
				f.Name = t.str("name")
			}
		}
		f.Position, err = r.Position(ctx, g)
		return f, err
	}
	return f, fmt.Errorf("the program doesn't end within %d signals", maxSignals)
}

var rrThreadRE = regexp.MustCompile(`(\d+)\.(\d+)`)

// rrIDs reads "Thread 591.792": process and thread.
func rrIDs(target string) (pid, tid int) {
	if m := rrThreadRE.FindStringSubmatch(target); m != nil {
		pid, _ = strconv.Atoi(m[1])
		tid, _ = strconv.Atoi(m[2])
	}
	return pid, tid
}

var rrEventRE = regexp.MustCompile(`(?m)event: (\d+)`)

func (r *rrTarget) Position(ctx context.Context, g *GDB) (Position, error) {
	text, err := g.console(ctx, "monitor when")
	if err != nil {
		return "", err
	}
	m := rrEventRE.FindStringSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("rr doesn't say where it is: %q", strings.TrimSpace(text))
	}
	return Position("rr:" + m[1]), nil
}

// Goto restarts the replay at an event: rr's positions are no finer.
func (r *rrTarget) Goto(ctx context.Context, g *GDB, p Position) error {
	event, ok := strings.CutPrefix(string(p), "rr:")
	if _, err := strconv.ParseUint(event, 10, 63); !ok || err != nil {
		return fmt.Errorf("position %q: want rr:EVENT", p)
	}
	_, err := g.resume(ctx, "-interpreter-exec console "+quote("run "+event))
	return err
}

// Arrive gives the commands that take a user's gdb to a position.
func (r *rrTarget) Arrive(p Position) []string {
	return []string{"run " + strings.TrimPrefix(string(p), "rr:")}
}
