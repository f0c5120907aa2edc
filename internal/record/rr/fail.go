package rr

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
)

// The ways in which rr fails: an [exttool.Missing] of this package wraps one
// of them, or [exec.ErrNotFound] or [fs.ErrPermission] when it is the recorded
// program that couldn't be started.
var (
	ErrNoCounters   = errors.New("no hardware performance counters")
	ErrParanoid     = errors.New("perf_event_paranoid forbids it")
	ErrCPU          = errors.New("rr doesn't know this CPU")
	ErrConfig       = errors.New("the CPU is not set up for rr")
	ErrPtrace       = errors.New("ptrace or seccomp is denied")
	ErrNested       = errors.New("already running under rr")
	ErrSpace        = errors.New("no room for the trace")
	ErrInstall      = errors.New("rr is not installed whole")
	ErrCrashed      = errors.New("rr itself failed")
	ErrNoTrace      = errors.New("no rr trace")
	ErrIncomplete   = errors.New("the rr trace is incomplete")
	ErrDamaged      = errors.New("the rr trace is damaged")
	ErrTraceVersion = errors.New("the rr trace is of another version")
	ErrOtherCPU     = errors.New("the rr trace is of another CPU")
	ErrDiverged     = errors.New("the replay diverged from the recording")
	ErrStuck        = errors.New("the replay did not end in time")
)

const (
	installFix = "apt-get install rr, or build it from https://github.com/rr-debugger/rr"
	otherFix   = "record with the vm recorder, which needs no counters: --recorder vm"
	dockerFix  = "docker run --cap-add=SYS_PTRACE --security-opt seccomp=unconfined …"
)

// host is what the advice depends on.
type host struct {
	container bool
	yama      int // ptrace_scope, 0 if there is none
}

func readHost() host {
	var h host
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(mark); err == nil {
			h.container = true
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); err == nil {
		h.yama, _ = strconv.Atoi(strings.TrimSpace(string(b)))
	}
	return h
}

func (h host) ptraceFix() string {
	if h.yama > 1 && !h.container {
		return "sudo sysctl -w kernel.yama.ptrace_scope=1"
	}
	return "in a container: " + dockerFix
}

func (h host) permissionFix() string {
	if h.container {
		return "docker run --cap-add=PERFMON --cap-add=SYS_PTRACE --security-opt seccomp=unconfined …"
	}
	return "sudo sysctl -w kernel.perf_event_paranoid=1"
}

// failure is one way in which rr fails, known by what it says.
type failure struct {
	says *regexp.Regexp
	err  error
	need string
	fix  func(h host, m []string) string // m is what says matched; nil is no fix
}

func fixed(s string) func(host, []string) string {
	return func(host, []string) string { return s }
}

// failures lists them, the particular before the general. The words are those
// of rr 5.2 to 5.9.
var failures = []failure{
	{
		regexp.MustCompile(`execve failed: '[^\n]*' \(or interpreter\) not found[^\n]*`),
		exec.ErrNotFound, "the program to record", fixed("check its name, its PATH and the interpreter that its first line names"),
	},
	{
		regexp.MustCompile(`execve of '[^\n]*' failed[^\n]*`),
		fs.ErrPermission, "a program to record that can be executed", fixed("chmod +x it, and check that it is built for this machine"),
	},
	{
		regexp.MustCompile(`rr needs /proc/sys/kernel/perf_event_paranoid <= (\d), but it is (\w+)\.`),
		ErrParanoid, "kernel.perf_event_paranoid low enough for rr",
		func(_ host, m []string) string { return "sudo sysctl -w kernel.perf_event_paranoid=" + m[1] },
	},
	{
		regexp.MustCompile(`Permission denied to use 'perf_event_open'[^\n]*|Failed to initialize counter`),
		ErrNoCounters, "permission to use the CPU's performance counters",
		func(h host, _ []string) string { return h.permissionFix() },
	},
	{
		regexp.MustCompile(`Unable to open performance counter with 'perf_event_open'[^\n]*`),
		ErrNoCounters, "a CPU whose performance counters are there (most VMs, clouds and hosted CI hide them)", fixed(otherFix),
	},
	{
		regexp.MustCompile(`Got \d+ branch events, expected at least \d+\.|Overcount triggered by PMU interrupts[^\n]*`),
		ErrNoCounters, "performance counters that count right", fixed(otherFix),
	},
	{
		regexp.MustCompile(`(?:AMD|Intel|aarch64|ARM) CPU type 0x[0-9a-f]+(?: \(ext family 0x[0-9a-f]+\))? unknown|Unknown CPU vendor '[^\n]*|Unknown aarch64 CPU[^\n]*|No supported microarchitectures found\.|Microarchitecture [^\n]*currently unsupported[^\n]*|Forced uarch [^\n]* isn't known\.`),
		ErrCPU, "an rr that knows this CPU", fixed("install a newer rr, or " + otherFix),
	},
	{
		regexp.MustCompile(`On Zen CPUs, rr will not work reliably unless you disable the hardware SpecLockMap optimization\.`),
		ErrConfig, "the SpecLockMap optimization of AMD Zen turned off",
		fixed("sudo python3 zen_workaround.py, the script of rr's sources; see https://github.com/rr-debugger/rr/wiki/Zen"),
	},
	{
		regexp.MustCompile(`Freezing performance counters on SMIs should be enabled`),
		ErrConfig, "performance counters that freeze on SMIs", fixed("echo 1 | sudo tee /sys/devices/cpu/freeze_on_smi"),
	},
	{
		regexp.MustCompile(`CPUID faulting required to disable CPUID features`),
		ErrConfig, "a CPU and kernel with CPUID faulting, for an option that hides CPU features", fixed("leave that option out"),
	},
	{
		regexp.MustCompile(`rr: cannot run rr recording under rr\. Exiting\.`),
		ErrNested, "to run outside of rr", fixed("run tapedeck itself without rr"),
	},
	{
		regexp.MustCompile(`SECCOMP_FILTER is not available[^\n]*`),
		ErrPtrace, "a kernel or sandbox that allows seccomp filters",
		func(h host, _ []string) string { return h.ptraceFix() },
	},
	{
		regexp.MustCompile(`PTRACE_SEIZE failed for tid[^\n]*|Failed to PTRACE_SEIZE|Tracee died before reaching SIGSTOP|PTRACE_SETSIGMASK not supported[^\n]*`),
		ErrPtrace, "an rr that may ptrace its children",
		func(h host, _ []string) string { return h.ptraceFix() },
	},
	{
		regexp.MustCompile("Trace directory `[^\\n]*' already exists\\.|Permission denied to create trace directory `[^\\n]*'|Unable to create trace directory `[^\\n]*'"),
		fs.ErrExist, "a new directory for the trace", nil,
	},
	{
		regexp.MustCompile(`\[FATAL [^\n]*errno: (?:ENOSPC|EDQUOT)\][^\n]*`),
		ErrSpace, "room on the disk for the trace", fixed("free some, or point TMPDIR at a larger disk"),
	},
	{
		regexp.MustCompile(`rr recording terminated abnormally and the trace is incomplete\.`),
		ErrIncomplete, "a complete rr trace", fixed("record again; end a recording with SIGTERM, never with SIGKILL"),
	},
	{
		regexp.MustCompile("rr: Trace file `[^\\n]*' not found\\. There is no trace there\\."),
		ErrNoTrace, "an rr trace", nil,
	},
	{
		regexp.MustCompile("rr: Trace file `[^\\n]*' not readable\\."),
		fs.ErrPermission, "an rr trace that this user may read", nil,
	},
	{
		regexp.MustCompile(`has an incompatible (?:syscallbuf protocol )?version -?\d+; expected\s+-?\d+|This rr build is too old to replay the trace[^\n]*`),
		ErrTraceVersion, "the rr that wrote the trace, or one that reads it", fixed("install the version that the bundle's manifest names as rr_version"),
	},
	{
		regexp.MustCompile(`Trace was recorded on a machine with different CPUID values|Trace was recorded with CPUID faulting enabled, but this\s+system does not support CPUID faulting|Trace XCR0 value [^\n]*|Ticks semantics [^\n]* not supported`),
		ErrOtherCPU, "a CPU like the one that the trace was recorded on", fixed("replay on the same CPU family; the bundle's manifest names it under cpu"),
	},
	{
		regexp.MustCompile(`Failed to stat [^\n]*: replay is impossible`),
		ErrDamaged, "a packed rr trace, with the files that the program had mapped", fixed("run rr pack on it where it was recorded"),
	},
	{
		regexp.MustCompile(`Unable to find TraceTaskEvent; trace is corrupt[^\n]*|Malformed trace file[^\n]*|Invalid trace\b|Can't read (?:version|from trace) file[^\n]*|Invalid version: [^\n]*|Invalid XSAVE data[^\n]*|kj::ExceptionImpl[^\n]*\n[^\n]*|Invalid UUID length`),
		ErrDamaged, "an undamaged rr trace", fixed("take the trace from its bundle again"),
	},
	{
		regexp.MustCompile(`Failed to open rrpage library[^\n]*|Failed to locate [^\n]*`),
		ErrInstall, "rr with its libraries", fixed(installFix),
	},
}

// fatal is the prefix of rr's own last words.
var fatal = regexp.MustCompile(`(?m)^\[FATAL \S+\.(?:cc|h|c):\d+:[\w~<>:]+\(\)(?: errno: \w+)?\][ \n]`)

// crashed tells whether the words are those of an rr that failed, not of a
// recorded program that did.
func crashed(stderr []byte) bool {
	return fatal.Match(stderr) || bytes.Contains(stderr, []byte("rr itself crashed (SIGSEGV). This shouldn't happen!"))
}

// diagnose turns the end of an rr that failed into what is needed, what was
// found and how to mend it.
func diagnose(h host, version string, code int, stderr []byte) error {
	// The words are near the end; a program may have written a lot before.
	text := string(stderr[max(0, len(stderr)-256<<10):])
	for _, f := range failures {
		m := f.says.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		missing := &exttool.Missing{Need: f.need, Found: found(version, m[0]), Err: f.err}
		if f.fix != nil {
			missing.Fix = f.fix(h, m)
		}
		return missing
	}
	words := lastWords(text)
	if words == "" {
		words = fmt.Sprintf("exit code %d and no message", code)
	}
	return &exttool.Missing{Need: "an rr that works here", Found: found(version, words), Fix: otherFix, Err: ErrCrashed}
}

var fatalPrefix = regexp.MustCompile(`^\[FATAL [^\]\n]*\]\s*`)

func found(version, words string) string {
	words = oneLine(fatalPrefix.ReplaceAllString(words, ""))
	if version == "" {
		return "rr: " + words
	}
	return "rr " + version + ": " + words
}

// lastWords picks what rr said when it died: the fatal line, or the last one.
func lastWords(text string) string {
	if at := fatal.FindStringIndex(text); at != nil {
		rest := text[at[0]:]
		for _, end := range []string{"\n=== Start rr backtrace", "\nTail of trace dump", "\nLaunch "} {
			rest, _, _ = strings.Cut(rest, end)
		}
		return rest
	}
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// DivergedError is a replay that rr found to differ from the recording.
type DivergedError struct {
	Event int64  // rr's number of the event at which it was seen
	Task  int    // the recorded thread's id
	Text  string // what rr said
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("the replay diverged from the recording at rr event %d of thread %d: %s", e.Event, e.Task, e.Text)
}

func (e *DivergedError) Is(target error) bool { return target == ErrDiverged }

// diagnoseReplay is diagnose for a replay, in which a failed assertion of rr
// is a divergence.
func diagnoseReplay(h host, version string, code int, stderr []byte) error {
	if d := divergence(string(stderr)); d != nil {
		return d
	}
	return diagnose(h, version, code, stderr)
}

var assertion = regexp.MustCompile("\\(task \\d+ \\(rec:(\\d+)\\) at time (\\d+)\\)\\s*-> (Assertion `[^\\n]*)")

func divergence(text string) *DivergedError {
	m := assertion.FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	d := &DivergedError{Text: oneLine(m[3])}
	d.Task, _ = strconv.Atoi(m[1])
	d.Event, _ = strconv.ParseInt(m[2], 10, 64)
	return d
}

// saidWarnings picks the words of an rr that works all the same.
func saidWarnings(stderr []byte) []string {
	var warnings []string
	stderr = stderr[:min(len(stderr), 64<<10)] // rr warns as it starts
	for _, f := range failures {
		if f.err != ErrConfig && f.err != ErrOtherCPU {
			continue
		}
		if m := f.says.FindStringSubmatch(string(stderr)); m != nil {
			w := oneLine(fatalPrefix.ReplaceAllString(m[0], ""))
			if f.fix != nil {
				w += " (" + f.fix(host{}, m) + ")"
			}
			warnings = append(warnings, w)
		}
	}
	if m := hleWarning.Find(stderr); m != nil {
		warnings = append(warnings, oneLine(string(m)))
	}
	if m := metadataChanged.Find(stderr); m != nil {
		warnings = append(warnings, oneLine(string(m)))
	}
	return warnings
}

var (
	hleWarning      = regexp.MustCompile(`Your CPU supports Hardware Lock Elision but[^.]*\.`)
	metadataChanged = regexp.MustCompile(`Metadata of [^\n]* changed: replay divergence likely, but continuing anyway\.`)
)
