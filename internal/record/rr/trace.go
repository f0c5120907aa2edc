package rr

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
	"github.com/tapedeck-dev/tapedeck/internal/record"
)

// BundleDir is where a bundle holds the trace.
const BundleDir = "traces/rr/trace-0001"

// state is what there is of a trace. rr writes its header as "incomplete" and
// renames it to "version" at the end.
type state int

const (
	absent state = iota
	incomplete
	complete
)

func stateOf(dir string) state {
	if _, err := os.Stat(filepath.Join(dir, "version")); err == nil {
		return complete
	}
	if _, err := os.Stat(filepath.Join(dir, "incomplete")); err == nil {
		return incomplete
	}
	return absent
}

func incompleteError(dir string, s state) error {
	if s == absent {
		return &exttool.Missing{Need: "an rr trace", Found: "none in " + dir, Err: ErrNoTrace}
	}
	return &exttool.Missing{
		Need: "a complete rr trace", Found: filepath.Join(dir, "incomplete") + ": the recording was cut off",
		Fix: "record again; end a recording with SIGTERM, never with SIGKILL", Err: ErrIncomplete,
	}
}

// files lists what a bundle holds of the trace. All of it is restricted: the
// memory, the inputs and the environment of the program are all over it.
func files(dir string) ([]record.File, []string, error) {
	var list []record.File
	var warnings []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() {
			warnings = append(warnings, fmt.Sprintf("the rr trace's %s is no regular file and is left out: the replay may need it", rel))
			return nil
		}
		media := "application/octet-stream"
		switch rel {
		case "version", "events", "data", "mmaps", "tasks":
			media = "application/x-rr-trace"
		}
		list = append(list, record.File{Path: path.Join(BundleDir, filepath.ToSlash(rel)), Host: name, Media: media, Class: "restricted"})
		return nil
	})
	slices.SortFunc(list, func(a, b record.File) int { return strings.Compare(a.Path, b.Path) })
	return list, warnings, err
}

// TraceInfo is the header of a trace, as rr traceinfo prints it.
type TraceInfo struct {
	UUID           UUID       `json:"uuid"`
	XCR0           uint64     `json:"xcr0"`
	BindToCPU      int        `json:"bindToCpu"`
	CPUIDFaulting  bool       `json:"cpuidFaulting"`
	Compatibility  int        `json:"requiredForwardCompatibilityVersion"`
	TicksSemantics string     `json:"ticksSemantics"`
	CPUIDRecords   [][]uint32 `json:"cpuidRecords"` // eax in, ecx in; eax, ebx, ecx, edx out
	Chaos          bool       `json:"chaosMode"`
	Improper       bool       `json:"cpuImproperlyConfigured"`
	Uname          struct {
		Release string `json:"release"`
		Machine string `json:"machine"`
	} `json:"uname"`
	Environ []string `json:"environ"`
	Program string   `json:"program"`
}

// UUID identifies a trace. rr prints it as 16 numbers.
type UUID [16]byte

func (u *UUID) UnmarshalJSON(b []byte) error {
	var list []uint8
	var numbers []uint16 // a []uint8 would be base64
	if err := json.Unmarshal(b, &numbers); err != nil {
		return err
	}
	for _, n := range numbers {
		if n > 255 {
			return fmt.Errorf("uuid: %d is no byte", n)
		}
		list = append(list, byte(n))
	}
	if len(list) != len(u) {
		return fmt.Errorf("uuid: %d bytes, want %d", len(list), len(u))
	}
	copy(u[:], list)
	return nil
}

func (u UUID) String() string {
	s := hex.EncodeToString(u[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

const maxTraceInfo = 16 << 20 // an environment alone can be 2 MiB

func parseTraceInfo(b []byte) (TraceInfo, error) {
	var t TraceInfo
	if len(b) > maxTraceInfo {
		return t, fmt.Errorf("rr traceinfo: %d bytes, more than %d", len(b), maxTraceInfo)
	}
	if err := json.Unmarshal(b, &t); err != nil {
		return TraceInfo{}, fmt.Errorf("rr traceinfo: %w", err)
	}
	for _, r := range t.CPUIDRecords {
		if len(r) != 6 {
			return TraceInfo{}, fmt.Errorf("rr traceinfo: a CPUID record of %d numbers, want 6", len(r))
		}
	}
	return t, nil
}

// readTraceInfo asks rr for the header of a trace.
func readTraceInfo(ctx context.Context, info Info, dir string) (TraceInfo, error) {
	r, err := run(ctx, spec{path: info.Path, args: []string{"traceinfo", dir}, env: os.Environ(), limit: answerLimit, grace: grace, keep: maxTraceInfo})
	if err != nil {
		return TraceInfo{}, err
	}
	if r.timedOut {
		return TraceInfo{}, fmt.Errorf("rr traceinfo: no answer within %v", answerLimit)
	}
	if r.code != 0 {
		return TraceInfo{}, diagnose(readHost(), info.Version, r.code, r.stderr.kept())
	}
	return parseTraceInfo(r.stdout.kept())
}

// leaf finds the answer of CPUID to eax, the one without or with the first
// sub-leaf.
func (t TraceInfo) leaf(eax uint32) (out [4]uint32, ok bool) {
	for _, r := range t.CPUIDRecords {
		if r[0] == eax && (r[1] == 0 || r[1] == 1<<32-1) {
			return [4]uint32(r[2:6]), true
		}
	}
	return out, false
}

// CPU says on what the trace was recorded, in the terms of /proc/cpuinfo. A
// replay needs one much like it.
func (t TraceInfo) CPU() map[string]any {
	cpu := map[string]any{}
	if l, ok := t.leaf(0); ok {
		cpu["vendor"] = ascii(l[1], l[3], l[2])
	}
	if l, ok := t.leaf(1); ok {
		eax := l[0]
		family, model := eax>>8&0xf, eax>>4&0xf
		if family == 6 || family == 15 {
			model |= eax >> 16 & 0xf << 4
		}
		if family == 15 {
			family += eax >> 20 & 0xff
		}
		cpu["family"], cpu["model"], cpu["stepping"] = int(family), int(model), int(eax&0xf)
	}
	var name []uint32
	for eax := uint32(0x80000002); eax <= 0x80000004; eax++ {
		if l, ok := t.leaf(eax); ok {
			name = append(name, l[:]...)
		}
	}
	if s := ascii(name...); s != "" {
		cpu["name"] = s
	}
	if t.XCR0 != 0 {
		cpu["xcr0"] = fmt.Sprintf("%#x", t.XCR0)
	}
	return cpu
}

// ascii reads CPUID's registers as text; anything else in them is dropped.
func ascii(regs ...uint32) string {
	var b []byte
	for _, r := range regs {
		for range 4 {
			if c := byte(r); c >= ' ' && c < 0x7f {
				b = append(b, c)
			}
			r >>= 8
		}
	}
	return strings.Join(strings.Fields(string(b)), " ")
}

// keptEnv names the variables whose values a manifest may hold. The others
// appear by name alone.
var keptEnv = []string{"TZ", "LANG", "LC_ALL", "LC_CTYPE", "GOMAXPROCS", "GODEBUG", "GOGC", "GOMEMLIMIT", "OMP_NUM_THREADS", "CI"}

// scrubEnv splits an environment into the variables that may be shown and the
// names of the rest.
func scrubEnv(environ, keep []string) (kept map[string]string, withheld []string) {
	kept = map[string]string{}
	for _, kv := range environ {
		name, value, ok := strings.Cut(kv, "=")
		switch {
		case !ok || !plainName(name):
			// Not a name: it could be anything, a secret included.
			withheld = append(withheld, "(malformed)")
		case slices.Contains(keptEnv, name) || slices.Contains(keep, name):
			kept[name] = value
		default:
			withheld = append(withheld, name)
		}
	}
	slices.Sort(withheld)
	return kept, slices.Compact(withheld)
}

func plainName(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i, c := range []byte(s) {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// Process is a line of rr ps.
type Process struct {
	PID, Parent int // Parent is 0 for the program itself
	Code        int // exit code, as a shell gives it
	Signal      int // that ended it, or 0
	Command     string
}

// parsePS reads the output of rr ps. A command may hold newlines, so lines that
// are none of its own are part of the command before.
func parsePS(out []byte) []Process {
	const most = 100_000
	var list []Process
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSuffix(line, "\n")
		f := strings.SplitN(line, "\t", 4)
		p, ok := Process{}, len(f) == 4
		if ok {
			pid, _, _ := strings.Cut(f[0], " ") // "591 (2)" in a pid namespace
			var err1, err2, err3 error
			p.PID, err1 = strconv.Atoi(pid)
			if f[1] != "--" {
				p.Parent, err2 = strconv.Atoi(f[1])
			}
			p.Code, err3 = strconv.Atoi(f[2])
			if p.Code < 0 {
				p.Signal = -p.Code
				p.Code = 128 + p.Signal
			}
			p.Command = f[3]
			ok = err1 == nil && err2 == nil && err3 == nil
		}
		switch {
		case ok && len(list) < most:
			list = append(list, p)
		case !ok && len(list) > 0 && len(list) < most:
			list[len(list)-1].Command += "\n" + line
		}
	}
	return list
}
