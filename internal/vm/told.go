package vm

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/tapedeck-dev/tapedeck/internal/record"
)

// Told is what the frames of a run say about its program.
type Told struct {
	Pid            int
	Start          uint64 // time stamp counter
	Outcome        record.Outcome
	Stdout, Stderr []byte
	OutOfMemory    bool
	Lookups        string // the kernel's trace of look-ups of paths
}

// StartError is a program that the guest could not start.
type StartError struct {
	Text string // what the guest's init said
}

func (e *StartError) Error() string { return "the guest could not start the program: " + e.Text }

// Tell reads the frames of a run. Its error is what kept the program from
// being started.
func Tell(frames []Frame) (Told, error) {
	t := Told{Outcome: record.Outcome{Cut: true, Code: 130}}
	for _, f := range frames {
		switch f.Kind {
		case FrameStart:
			t.Start = f.TSC
			t.Pid, _ = strconv.Atoi(string(f.Data))
		case FrameStdout:
			t.Stdout = append(t.Stdout, f.Data...)
		case FrameStderr:
			t.Stderr = append(t.Stderr, f.Data...)
		case FrameMemory:
			t.OutOfMemory = true
		case FrameOpens:
			t.Lookups = string(f.Data)
		case FrameError:
			return t, &StartError{fmt.Sprintf("%.500s", f.Data)}
		case FrameExit:
			t.Outcome = parseExit(string(f.Data))
		}
	}
	return t, nil
}

func parseExit(s string) record.Outcome {
	word, num, _ := strings.Cut(s, " ")
	n, _ := strconv.Atoi(num)
	switch word {
	case "code":
		return record.Outcome{Code: n & 0xff}
	case "signal":
		return record.Outcome{Code: 128 + n&0x7f, Signal: syscall.Signal(n & 0x7f)}
	}
	return record.Outcome{Code: 124, TimedOut: true}
}
