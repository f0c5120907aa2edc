package vm

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

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

// ReadTape reads vm.json from dir.
func ReadTape(dir string) (*Tape, error) {
	b, err := os.ReadFile(filepath.Join(dir, TapeFile))
	if err != nil {
		return nil, err
	}
	t := &Tape{}
	if err := json.Unmarshal(b, t); err != nil {
		return nil, fmt.Errorf("%s: %w", TapeFile, err)
	}
	if t.Version != TapeVersion {
		return nil, fmt.Errorf("%s has version %d, this tapedeck reads version %d", TapeFile, t.Version, TapeVersion)
	}
	return t, nil
}

// Write writes vm.json into dir.
func (t *Tape) Write(dir string) error {
	b, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, TapeFile), append(b, '\n'), 0o600)
}

// Told is what the frames of a run say about its program.
type Told struct {
	Pid            int
	Start          uint64 // time stamp counter
	Outcome        record.Outcome
	Stdout, Stderr []byte
	OutOfMemory    bool
	Lookups        string // the kernel's trace of look-ups of paths
}

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
			return t, fmt.Errorf("the guest could not start the program: %s", f.Data)
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
		return record.Outcome{Code: n}
	case "signal":
		return record.Outcome{Code: 128 + n, Signal: syscall.Signal(n)}
	}
	return record.Outcome{Code: 124, TimedOut: true}
}

// frameLine is one line of console.ndjson.
type frameLine struct {
	Kind string `json:"kind"`
	TSC  uint64 `json:"tsc"` // nanoseconds of the guest's own time since its boot
	Text string `json:"text,omitempty"`
	Data string `json:"base64,omitempty"` // instead of text, for what is not UTF-8
}

var frameNames = map[FrameKind]string{FrameReady: "ready", FrameSymbols: "symbols", FrameStart: "start", FrameStdout: "stdout",
	FrameStderr: "stderr", FrameExit: "exit", FrameOpens: "lookups", FrameError: "error", FrameMemory: "memory", FramePoint: "point"}

// WriteConsole writes frames as NDJSON.
func WriteConsole(w io.Writer, frames []Frame) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, f := range frames {
		l := frameLine{Kind: frameNames[f.Kind], TSC: f.TSC}
		if utf8.Valid(f.Data) {
			l.Text = string(f.Data)
		} else {
			l.Data = base64.StdEncoding.EncodeToString(f.Data)
		}
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	return nil
}

// LoadConsole reads a file that WriteConsole wrote.
func LoadConsole(name string) ([]Frame, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseConsole(f)
}

func parseConsole(r io.Reader) ([]Frame, error) {
	kinds := map[string]FrameKind{}
	for k, n := range frameNames {
		kinds[n] = k
	}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 8*maxFrame)
	var frames []Frame
	for n := 1; s.Scan(); n++ {
		var l frameLine
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("%s line %d: %w", ConsoleFile, n, err)
		}
		k, ok := kinds[l.Kind]
		if !ok {
			return nil, fmt.Errorf("%s line %d: unknown kind %q", ConsoleFile, n, l.Kind)
		}
		f := Frame{Kind: k, TSC: l.TSC, Data: []byte(l.Text)}
		if l.Data != "" {
			b, err := base64.StdEncoding.DecodeString(l.Data)
			if err != nil {
				return nil, fmt.Errorf("%s line %d: %w", ConsoleFile, n, err)
			}
			f.Data = b
		}
		frames = append(frames, f)
	}
	return frames, s.Err()
}

// PackedSnapshot returns the snapshot compressed, as bundles hold it. It is
// made once and kept beside the snapshot.
func (b *Base) PackedSnapshot() (string, error) {
	name := filepath.Join(b.Dir, SnapshotFile)
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	in, err := os.Open(b.Snapshot())
	if err != nil {
		return "", err
	}
	defer in.Close()
	tmp, err := os.CreateTemp(b.Dir, "pack-*.partial")
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	z, err := zstd.NewWriter(tmp, zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(z, in); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	return name, os.Rename(tmp.Name(), name)
}

// hexDigest is a SHA-256: the name of a folder in the cache is made from it.
var hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// UnpackBase returns the base of a recording from the cache, by its digest, or
// unpacks it there from packed. The machine's QEMU is the one found here.
func UnpackBase(cache string, want Base, packed io.Reader, q QEMU) (*Base, error) {
	if !hexDigest.MatchString(want.Digest) {
		return nil, fmt.Errorf("%s: %q is no digest", TapeFile, want.Digest)
	}
	dir := baseDir(cache, want.Digest)
	b := want
	b.Dir, b.QEMU.Path = dir, q.Path
	unlock, err := lock(cache)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if d, err := fileDigest(b.Snapshot()); err == nil && d == want.Digest {
		return &b, nil
	}
	if packed == nil {
		return nil, fmt.Errorf("the boot snapshot %.12s… is neither in the bundle nor in the cache", want.Digest)
	}
	os.RemoveAll(dir)
	tmp, err := os.MkdirTemp(cache, "base-*.partial")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	z, err := zstd.NewReader(packed)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	f, err := os.Create(filepath.Join(tmp, snapshotFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// One byte more than it should have is enough to know that it is wrong.
	if _, err := io.Copy(f, io.LimitReader(z, want.Size+1)); err != nil {
		return nil, fmt.Errorf("unpack the boot snapshot: %w", err)
	}
	got, err := fileDigest(f.Name())
	if err != nil {
		return nil, err
	}
	if got != want.Digest {
		return nil, fmt.Errorf("the boot snapshot has digest %.12s…, the recording was made from %.12s…", got, want.Digest)
	}
	return &b, os.Rename(tmp, dir)
}

// Digest is the SHA-256 of a file, in hex.
func Digest(name string) (string, error) { return fileDigest(name) }
