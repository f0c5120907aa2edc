package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tapedeck-dev/tapedeck/internal/record"
	machine "github.com/tapedeck-dev/tapedeck/internal/vm"
)

// finish writes down what the run left and lists the files of the recording.
func (r *Recorder) finish(rec *record.Recording, spec machine.Spec, res *machine.Result, seed uint64) error {
	told, err := machine.Tell(res.Frames)
	if err != nil {
		return err
	}
	rec.Stdout, rec.Stderr = told.Stdout, told.Stderr
	rec.Outcome = told.Outcome
	if told.OutOfMemory {
		rec.Warnings = append(rec.Warnings, fmt.Sprintf("the guest ran out of its %d MiB and killed a process: give it more with --memory", r.base.Machine.Memory))
	}
	first := 0 // whose look-ups are of interest: what runs the program looks at much that is not there
	if r.opt.Inner != nil {
		if first = r.opt.Inner(told.Stderr); first != 0 {
			told.Pid = first
		}
	}
	for _, path := range r.missed(told.Lookups, first) {
		rec.Warnings = append(rec.Warnings, "the program looked for "+path+", which is here but was not in the guest; give it with --include "+path)
	}
	executed, err := machine.CountLog(spec.Log)
	if errors.Is(err, machine.ErrLogVersion) {
		rec.Warnings = append(rec.Warnings, err.Error()+"; replays compare output and the guest's clock, but no count of instructions")
	} else if err != nil {
		return err
	} else if executed.Total < res.Instructions {
		return fmt.Errorf("%s is not complete: it has %d instructions of %d; is the disk full?", machine.LogFile, executed.Total, res.Instructions)
	}
	tape := machine.Tape{Version: machine.TapeVersion, Base: *r.base, Params: spec.Params, Path: r.program.Path,
		Pid: told.Pid, Outcome: told.Outcome, Instructions: executed}
	if tape.LogDigest, err = machine.Digest(spec.Log); err != nil {
		return err
	}
	if tape.WorldDigest, err = r.worldDigest(); err != nil {
		return err
	}
	if err := tape.Write(rec.Dir); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(rec.Dir, machine.ConsoleFile), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := machine.WriteConsole(f, res.Frames); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	rec.Manifest = map[string]any{
		"kind": "vm", "vm_dir": "traces/vm", "kernel": r.base.Kernel, "qemu_version": r.base.QEMU.Version,
		"command": r.job.Args, "cwd": r.job.Dir, "memory_mib": r.base.Machine.Memory, "instructions": executed.Shutdown,
		"seed": seed, "chaos": r.job.Chaos, "outcome": rec.Outcome.String(), "exit_code": rec.Outcome.Code,
	}
	rec.Toolchain = map[string]any{"qemu": r.base.QEMU.Version, "qemu_sha256": r.base.QEMU.Digest, "guest_kernel": r.base.Package}
	rec.Program = record.Program{Path: r.program.Path, Root: r.opt.Rootfs, Uses: r.uses}
	add := func(name, host, media string) {
		rec.Files = append(rec.Files, record.File{Path: "traces/vm/" + name, Host: host, Media: media, Class: "restricted"})
	}
	add(machine.TapeFile, filepath.Join(rec.Dir, machine.TapeFile), "application/json")
	add(machine.ConsoleFile, filepath.Join(rec.Dir, machine.ConsoleFile), "application/x-ndjson")
	add(machine.LogFile, spec.Log, "application/octet-stream")
	add(machine.WorldFile, r.world.Image, "application/octet-stream")
	return nil
}

// begun tells whether the program has been started.
func begun(frames []machine.Frame) bool {
	return slices.ContainsFunc(frames, func(f machine.Frame) bool { return f.Kind == machine.FrameStart })
}

// Snapshot is the boot snapshot that the recordings start from, as a bundle
// holds it. The first call for a snapshot compresses it.
func (r *Recorder) Snapshot() (record.File, error) {
	name, err := r.base.PackedSnapshot()
	return record.File{Path: "traces/vm/" + machine.SnapshotFile, Host: name, Media: "application/zstd", Class: "public"}, err
}

// worldDigest hashes the disk once for all attempts.
func (r *Recorder) worldDigest() (string, error) {
	r.hash.Do(func() { r.hashed, r.hashErr = machine.Digest(r.world.Image) })
	return r.hashed, r.hashErr
}

var (
	lookupLine = regexp.MustCompile(`-(\d+)\s+\[\d+\].*(?:open|look): .*name="(.*)"`)
	missLine   = regexp.MustCompile(`-(\d+)\s+\[\d+\].*(?:opened|looked): .*ret=-2`)
)

// missed returns the files that the program looked for in vain and that this
// machine has. Programs look in many places: only such a file is news. Threads
// with a number below first don't count.
func (r *Recorder) missed(trace string, first int) []string {
	last := map[string]string{} // thread to the path it looks up
	var paths []string
	for line := range strings.Lines(trace) {
		if m := lookupLine.FindStringSubmatch(line); m != nil {
			last[m[1]] = m[2]
			continue
		}
		m := missLine.FindStringSubmatch(line)
		if m == nil || last[m[1]] == "" {
			continue
		}
		path := last[m[1]]
		delete(last, m[1])
		if tid, err := strconv.Atoi(m[1]); err != nil || tid < first {
			continue
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(r.job.Dir, path)
		}
		path = filepath.Clean(path)
		if r.world.Has(path) || slices.Contains(paths, path) || strings.HasPrefix(path, "/j/") ||
			strings.HasPrefix(path, "/proc/") || strings.HasPrefix(path, "/sys/") || strings.HasPrefix(path, "/dev/") {
			continue
		}
		// Searched in both /bin and /usr/bin, it is one file all the same.
		real, err := filepath.EvalSymlinks(path)
		if err != nil || slices.Contains(paths, real) {
			continue
		}
		if fi, err := os.Stat(real); err == nil && fi.Mode().IsRegular() && unix.Access(real, unix.R_OK) == nil {
			paths = append(paths, real)
		}
	}
	return paths
}

// Check replays a recording in place and tells how the replay differs, "" if
// it does not.
func (r *Recorder) Check(ctx context.Context, rec *record.Recording) (string, error) {
	dir := filepath.Join(rec.Dir, "check")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	tape, err := machine.ReadTape(rec.Dir)
	if err != nil {
		return "", err
	}
	want, err := machine.LoadConsole(filepath.Join(rec.Dir, machine.ConsoleFile))
	if err != nil {
		return "", err
	}
	res, err := machine.Run(ctx, machine.Spec{Mode: machine.Replay, Base: r.base, Image: r.world.Image, Params: tape.Params,
		Log: filepath.Join(rec.Dir, machine.LogFile), Dir: dir})
	if err != nil {
		return "", err
	}
	if d := machine.Compare(want, res.Frames); d != nil {
		return d.String(), nil
	}
	return "", nil
}
