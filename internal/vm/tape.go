package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"github.com/tapedeck-dev/tapedeck/internal/record"
)

// The files of a recording, as they lie in a bundle's traces/vm.
const (
	TapeFile     = "vm.json"
	LogFile      = "replay.log"
	WorldFile    = "world.ext4"
	ConsoleFile  = "console.ndjson"
	SnapshotFile = "base.qcow2.zst"
)

// Tape describes a recording: what a replay needs to know beside the files.
type Tape struct {
	Version      int            `json:"version"`
	Base         Base           `json:"base"`
	Params       string         `json:"params"`
	Path         string         `json:"path"` // of the program, in the guest
	Pid          int            `json:"pid"`  // of the program, in the guest
	Outcome      record.Outcome `json:"outcome"`
	Instructions Count          `json:"instructions"` // since the guest booted; zero if unknown
	LogDigest    string         `json:"log_sha256"`
	WorldDigest  string         `json:"world_sha256"`
}

// TapeVersion is the version of vm.json that this package writes and reads.
const TapeVersion = 1

// VersionError is a vm.json of another version.
type VersionError struct{ Found int }

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s has version %d, this tapedeck reads version %d", TapeFile, e.Found, TapeVersion)
}

// Hint says what to do about it.
func (e *VersionError) Hint() string {
	if e.Found > TapeVersion {
		return "read it with a newer version of tapedeck"
	}
	return ""
}

// TapeError is a vm.json that no recorder wrote.
type TapeError struct {
	Field string // as JSON names it; "" for the text as a whole
	Need  string
	Found string
}

func (e *TapeError) Error() string {
	where := TapeFile
	if e.Field != "" {
		where += ": " + e.Field
	}
	return fmt.Sprintf("%s: need %s, found %s", where, e.Need, e.Found)
}

// maxTape is far more than a vm.json has.
const maxTape = 1 << 20

// ReadTape reads vm.json from dir. Bundles come from anywhere and its fields
// end up on QEMU's command line, so each of them is checked.
func ReadTape(dir string) (*Tape, error) {
	f, err := os.Open(filepath.Join(dir, TapeFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxTape+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxTape {
		return nil, &TapeError{Need: fmt.Sprintf("at most %d bytes", maxTape), Found: "more"}
	}
	var v struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, &TapeError{Need: "a JSON object", Found: err.Error()}
	}
	if v.Version == nil || *v.Version < 1 {
		return nil, &TapeError{Field: "version", Need: "1 or more", Found: "none"}
	}
	if *v.Version != TapeVersion {
		return nil, &VersionError{*v.Version}
	}
	t := &Tape{}
	if err := json.Unmarshal(b, t); err != nil {
		return nil, &TapeError{Need: "the fields of version 1", Found: err.Error()}
	}
	return t, t.check()
}

// Write writes vm.json into dir.
func (t *Tape) Write(dir string) error {
	if err := t.check(); err != nil {
		return err // before somebody relies on it
	}
	b, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, TapeFile), append(b, '\n'), 0o600)
}

// What the fields of vm.json look like, whole.
var (
	digestText  = regexp.MustCompile(`^[0-9a-f]{64}$`)                                                        // a SHA-256: the name of a folder in the cache is made from it
	cpuText     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}(,[a-z0-9][a-z0-9-]{0,19}=off){0,16}$`) // a model, and what it lacks
	versionText = regexp.MustCompile(`^[ -~]{0,200}$`)                                                        // is shown on a terminal
	symbolText  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]{0,99}$`)
	memberText  = regexp.MustCompile(`^[a-z_0-9]{1,60}\.[a-z_0-9]{1,60}$`)
	paramsText  = regexp.MustCompile(`^([a-z_]{1,40}=[!-~]{0,400}\n)*$`)
)

const (
	maxParams = 8 << 10 // of guest/init.c, its NUL included
	maxLevel  = 1 << 12 // symbols and members in vm.json
	maxOffset = 1 << 20
	pathMax   = 4096
)

// check tells what is wrong with the fields, if anything is.
func (t *Tape) check() error {
	if err := t.Base.check(); err != nil {
		return err
	}
	switch {
	case len(t.Params) >= maxParams || !paramsText.MatchString(t.Params):
		return &TapeError{"params", "lines of KEY=VALUE", fmt.Sprintf("%.100q", t.Params)}
	case len(t.Path) > pathMax:
		return &TapeError{"path", "a path", fmt.Sprintf("%d bytes", len(t.Path))}
	case t.Pid < 0 || t.Pid > 1<<22:
		return &TapeError{"pid", "a process number", fmt.Sprint(t.Pid)}
	case t.Outcome.Code < 0 || t.Outcome.Code > 255:
		return &TapeError{"outcome.code", "0 to 255", fmt.Sprint(t.Outcome.Code)}
	case t.Instructions.Shutdown > t.Instructions.Total:
		return &TapeError{"instructions", "no more at the shutdown than in all", fmt.Sprint(t.Instructions)}
	case !digestText.MatchString(t.LogDigest):
		return &TapeError{"log_sha256", "a SHA-256", fmt.Sprintf("%.100q", t.LogDigest)}
	case !digestText.MatchString(t.WorldDigest):
		return &TapeError{"world_sha256", "a SHA-256", fmt.Sprintf("%.100q", t.WorldDigest)}
	}
	return nil
}

func (b *Base) check() error {
	for field, text := range map[string]string{"qemu.version": b.QEMU.Version, "kernel": b.Kernel, "package": b.Package} {
		if !versionText.MatchString(text) {
			return &TapeError{"base." + field, "printable text", fmt.Sprintf("%.100q", text)}
		}
	}
	for field, text := range map[string]string{"sha256": b.Digest, "qemu.sha256": b.QEMU.Digest} {
		if !digestText.MatchString(text) {
			return &TapeError{"base." + field, "a SHA-256", fmt.Sprintf("%.100q", text)}
		}
	}
	if err := b.Machine.Check(); err != nil {
		return &TapeError{"base.machine", "a machine that can be built", err.Error()}
	}
	if most := b.Machine.maxSnapshot(); b.Size < 1 || b.Size > most {
		return &TapeError{"base.size", fmt.Sprintf("1 to %d", most), fmt.Sprint(b.Size)}
	}
	if len(b.Symbols) > maxLevel || len(b.Offsets) > maxLevel {
		return &TapeError{"base", fmt.Sprintf("at most %d symbols and offsets", maxLevel), "more"}
	}
	for name := range b.Symbols {
		if !symbolText.MatchString(name) {
			return &TapeError{"base.symbols", "names of C", fmt.Sprintf("%.100q", name)}
		}
	}
	for name, n := range b.Offsets {
		if !memberText.MatchString(name) || n < 0 || n > maxOffset {
			return &TapeError{"base.offsets", "STRUCT.MEMBER and its offset", fmt.Sprintf("%.100q: %d", name, n)}
		}
	}
	return nil
}

// Check tells whether a machine can have this shape.
func (m Machine) Check() error {
	switch {
	case m.Memory < minMemory || m.Memory > maxMemory:
		return fmt.Errorf("memory needs %d to %d MiB, found %d", minMemory, maxMemory, m.Memory)
	case m.Shift < 0 || m.Shift > 10: // QEMU's own limit
		return fmt.Errorf("the shift of the instruction count needs 0 to 10, found %d", m.Shift)
	case !cpuText.MatchString(m.CPU):
		return errors.New("the CPU model is no name")
	}
	return nil
}

const (
	minMemory = 96        // the kernel and init need some
	maxMemory = 256 << 10 // more would only be asked for by mistake, or malice
)

// maxSnapshot is the most bytes that the snapshot's file may have: the guest's
// memory, and its devices' state and QEMU's tables.
func (m Machine) maxSnapshot() int64 { return int64(m.Memory)<<20*9/8 + 64<<20 }
