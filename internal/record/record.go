// Package record says what every recorder takes and gives: a [Job] to run and
// the [Recording] that it left. The recorders themselves are the packages
// below, one for each tool; none of them knows the bundle.
package record

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

// Job is one program to run under a recorder.
type Job struct {
	Args    []string      // the command; Args[0] is looked up in PATH
	Dir     string        // absolute working directory
	Env     []string      // "K=V", already filtered: a recorder adds no others
	Stdin   string        // file that the program reads as standard input; "" is /dev/null
	Timeout time.Duration // of the program's own time; 0 is none
	Chaos   bool          // perturb the schedule
	Seed    uint64        // of the perturbation and of the recorder's own choices
}

// Outcome is how a recorded program ended.
type Outcome struct {
	Code     int            `json:"code"`                // exit code, as a shell gives it: 128+n for a signal, 124 for a timeout
	Signal   syscall.Signal `json:"signal,omitempty"`    // the signal that ended it, or 0
	TimedOut bool           `json:"timed_out,omitempty"` // it was ended because Job.Timeout had passed
	Cut      bool           `json:"cut,omitempty"`       // the recording was ended before the program was
	Matched  string         `json:"matched,omitempty"`   // the output that a --fail-on expression matched, or ""
}

// Failed tells whether the outcome is one worth keeping.
func (o Outcome) Failed() bool { return o.Code != 0 || o.Matched != "" }

func (o Outcome) String() string {
	switch {
	case o.Cut:
		return "cut off while it ran"
	case o.TimedOut:
		return "still running at its time limit"
	case o.Signal != 0:
		return fmt.Sprintf("killed by %s (exit code %d)", signalName(o.Signal), o.Code)
	case o.Matched != "":
		text := o.Matched
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			text = strconv.Quote(text) // it goes to a terminal
		}
		return fmt.Sprintf("exit code %d, output matches: %s", o.Code, text)
	}
	return fmt.Sprintf("exit code %d", o.Code)
}

// File is one file of a recording and its place in a bundle.
type File struct {
	Path  string // slash-separated, in the bundle: traces/vm/replay.log
	Host  string // where it is now
	Media string // media type
	Class string // public, internal or restricted

	Scrubbed bool          // on its way to the disk already
	Counts   []scrub.Count // what was found then
}

// Program is what a recorder knows of the files that it recorded a run of.
type Program struct {
	Path string   // the executable, absolute; "" if unknown
	Root string   // folder that Path and Uses are in, if not /
	Uses []string // files that it used, absolute; nil if nobody watched
}

// Recording is what a recorder left behind. Its files are under Dir.
type Recording struct {
	Dir       string         // owned by the recording; Close removes it
	Files     []File         // what belongs in the bundle
	Manifest  map[string]any // the entry under "recorders" of the manifest, "kind" included
	Beside    map[string]any // the entry of another recorder, whose files are in Files, too; nil if there was one alone
	Inputs    map[string]any // fields under "inputs" of the manifest; nil if none were recorded
	Toolchain map[string]any // versions of the tools, for the manifest's "toolchain"
	Program   Program        // what was run, for the list of its parts
	Started   time.Time      // by this machine's clock
	Outcome   Outcome
	Stdout    []byte // as much as a --fail-on expression needs to see
	Stderr    []byte
	Warnings  []string // what the user must know: missing inputs, weaker guarantees
}

// Close removes the recording's directory.
func (r *Recording) Close() error { return os.RemoveAll(r.Dir) }

func signalName(s syscall.Signal) string {
	names := map[syscall.Signal]string{
		syscall.SIGABRT: "SIGABRT", syscall.SIGBUS: "SIGBUS", syscall.SIGFPE: "SIGFPE", syscall.SIGHUP: "SIGHUP",
		syscall.SIGILL: "SIGILL", syscall.SIGINT: "SIGINT", syscall.SIGKILL: "SIGKILL", syscall.SIGPIPE: "SIGPIPE",
		syscall.SIGQUIT: "SIGQUIT", syscall.SIGSEGV: "SIGSEGV", syscall.SIGSYS: "SIGSYS", syscall.SIGTERM: "SIGTERM",
		syscall.SIGTRAP: "SIGTRAP",
	}
	if n, ok := names[s]; ok {
		return n
	}
	return fmt.Sprintf("signal %d", int(s))
}
