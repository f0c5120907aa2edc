// Package replay runs a recording again and compares it with what was
// recorded. [Open] unpacks what a replay needs from a bundle; [Tape.Run] runs it.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/vm"
)

// Tape is a recording taken out of its bundle, ready to run. Every byte of it
// has been compared with its digest.
type Tape struct {
	Manifest *bundle.Manifest
	Kind     string // of the recorder
	Dir      string // the recording's files; removed by Close
	VM       *vm.Tape
	Base     *vm.Base
	RR       bundle.Recorder // the manifest's entry, of a recording with rr
	Warnings []string
}

// Report is what a replay showed.
type Report struct {
	Kind         string         `json:"recorder"`
	Identical    bool           `json:"identical"`
	Tries        int            `json:"tries"` // 1, or more if QEMU got stuck on the way
	Divergence   *vm.Divergence `json:"divergence,omitempty"`
	Instructions uint64         `json:"instructions"`
	Frames       int            `json:"frames"` // pieces of output and marks that were compared
	Outcome      string         `json:"outcome"`
	ExitCode     int            `json:"exit_code"`
	Stdout       []byte         `json:"-"`
	Stderr       []byte         `json:"-"`
	CPU          time.Duration  `json:"cpu_ns"`
	Elapsed      time.Duration  `json:"elapsed_ns"`
}

// ErrNothingToReplay says that a bundle has no recording that can be run.
var ErrNothingToReplay = errors.New("the bundle holds no recording that can be replayed")

// Open takes the first recording that can be run out of the bundle at path.
// cache is tapedeck's cache directory, where boot snapshots are kept.
func Open(ctx context.Context, path, cache string) (*Tape, error) {
	return OpenSealed(ctx, path, cache, nil)
}

// OpenSealed is Open for a recording that may be encrypted.
func OpenSealed(ctx context.Context, path, cache string, op bundle.Opener) (*Tape, error) {
	r, err := bundle.OpenOptions{Opener: op}.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for _, rec := range r.Manifest().Recorders {
		if gone, _ := rec["withheld"].(bool); gone {
			continue // what it left was taken out when the bundle was scrubbed
		}
		switch rec.Kind() {
		case "vm":
			return openVM(ctx, r, cache)
		case "rr":
			return openRR(ctx, r, rec)
		}
	}
	return nil, ErrNothingToReplay
}

// Close removes the unpacked files.
func (t *Tape) Close() error { return os.RemoveAll(t.Dir) }

const vmDir = "traces/vm/"

func openVM(ctx context.Context, r *bundle.Reader, cache string) (t *Tape, err error) {
	defer func() { err = inBundle(err) }()
	dir, err := os.MkdirTemp("", "tapedeck-replay-")
	if err != nil {
		return nil, err
	}
	t = &Tape{Manifest: r.Manifest(), Kind: "vm", Dir: dir}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	packed := false
	for _, f := range r.Files() {
		name, ok := strings.CutPrefix(f.Path, vmDir)
		switch {
		case !ok || strings.Contains(name, "/"):
		case name == vm.SnapshotFile:
			packed = true
		default:
			if err := take(r, f.Path, filepath.Join(dir, name)); err != nil {
				return nil, err
			}
		}
	}
	if t.VM, err = vm.ReadTape(dir); err != nil {
		return nil, err
	}
	// QEMU checks none of this: with other files it would spin for ever.
	for name, want := range map[string]string{vm.LogFile: t.VM.LogDigest, vm.WorldFile: t.VM.WorldDigest} {
		got, err := vm.Digest(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if got != want {
			return nil, &bundle.DamagedError{Path: vmDir + name, Offset: -1, Need: "SHA-256 " + want, Found: got}
		}
	}
	qemu, err := vm.CachedQEMU(ctx, cache)
	if err != nil {
		return nil, err
	}
	if qemu.Digest != t.VM.Base.QEMU.Digest {
		t.Warnings = append(t.Warnings, fmt.Sprintf("recorded with QEMU %s, replaying with %s: another build may diverge", t.VM.Base.QEMU.Version, qemu.Version))
	}
	if !packed {
		t.Base, err = vm.UnpackBase(ctx, cache, t.VM.Base, nil, qemu)
		return t, err
	}
	f, err := r.Open(vmDir + vm.SnapshotFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if t.Base, err = vm.UnpackBase(ctx, cache, t.VM.Base, f, qemu); err != nil {
		return nil, err
	}
	// What the cache had already is read all the same: a damaged bundle is one
	// wherever it is opened.
	_, err = io.Copy(io.Discard, f)
	return t, err
}

// inBundle says of an error of what the bundle holds that it is the bundle's.
func inBundle(err error) error {
	var tape *vm.TapeError
	var snap *vm.SnapshotError
	switch {
	case errors.As(err, &tape):
		need := tape.Need
		if tape.Field != "" {
			need = tape.Field + " to be " + need
		}
		return &bundle.DamagedError{Path: vmDir + vm.TapeFile, Offset: -1, Need: need, Found: tape.Found, Err: err}
	case errors.As(err, &snap):
		return &bundle.DamagedError{Path: vmDir + vm.SnapshotFile, Offset: -1, Need: snap.Need, Found: snap.Found, Err: err}
	}
	return err
}

func take(r *bundle.Reader, name, dst string) error {
	in, err := r.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// Run replays the recording once.
func (t *Tape) Run(ctx context.Context) (*Report, error) {
	if t.Kind == "rr" {
		return t.runRR(ctx)
	}
	return t.runVM(ctx)
}

const maxTries = 2 // of one replay

func (t *Tape) runVM(ctx context.Context) (*Report, error) {
	start := time.Now()
	want, err := vm.LoadConsole(filepath.Join(t.Dir, vm.ConsoleFile))
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(t.Dir, "run-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var res *vm.Result
	var stall *vm.StallError
	// QEMU itself can get stuck where another replay of the same log does not.
	// A replay that does not fit its log gets stuck every time.
	tries := 0
	for again := true; again; again = errors.As(err, &stall) && tries < maxTries {
		tries++
		res, err = vm.Run(ctx, t.Spec(dir))
	}
	rep := &Report{Kind: t.Kind, Tries: tries, Elapsed: time.Since(start)}
	if errors.As(err, &stall) {
		rep.Divergence = &vm.Divergence{What: "stalled", At: position(stall.Instructions), Want: "progress", Got: stall.Error()}
		return rep, nil
	}
	if err != nil {
		return nil, err
	}
	rep.Divergence = vm.Compare(want, res.Frames)
	told, err := vm.Tell(res.Frames)
	if err != nil && rep.Divergence == nil {
		return nil, err
	}
	rep.Stdout, rep.Stderr, rep.ExitCode = told.Stdout, told.Stderr, told.Outcome.Code
	rep.Outcome = told.Outcome.String()
	rep.Instructions, rep.Frames, rep.CPU = res.Instructions, len(res.Frames), res.CPU
	if n := t.VM.Instructions; rep.Divergence == nil && n.Total != 0 {
		if got := res.Instructions; got < n.Shutdown || got > n.Total {
			rep.Divergence = &vm.Divergence{What: "instructions", Want: fmt.Sprint(n.Shutdown), Got: fmt.Sprint(got)}
		}
		rep.Instructions = n.Shutdown
	}
	rep.Identical = rep.Divergence == nil
	return rep, nil
}

// Spec is the run that replays the recording, with its own files under dir.
func (t *Tape) Spec(dir string) vm.Spec {
	return vm.Spec{Mode: vm.Replay, Base: t.Base, Image: filepath.Join(t.Dir, vm.WorldFile), Params: t.VM.Params,
		Log: filepath.Join(t.Dir, vm.LogFile), Dir: dir}
}

func position(icount uint64) string { return fmt.Sprintf("vm:icount=%d", icount) }
