package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/exttool"
	"github.com/tapedeck-dev/tapedeck/internal/record"
	vmrec "github.com/tapedeck-dev/tapedeck/internal/record/vm"
	"github.com/tapedeck-dev/tapedeck/internal/vm"
	"github.com/tapedeck-dev/tapedeck/internal/watch"
)

// files are what a bundle of a recording holds: path to content.
type files map[string][]byte

func cacheDir() (string, error) {
	if dir := os.Getenv("TAPEDECK_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "tapedeck"), err
}

// recording is one real recording of the trial program, made once.
var recording = sync.OnceValues(func() (files, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tapedeck-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	prog := filepath.Join(dir, "trial")
	if err := os.WriteFile(prog, vm.TrialProgram(), 0o755); err != nil {
		return nil, err
	}
	ctx := context.Background()
	r, err := vmrec.Prepare(ctx, record.Job{Args: []string{prog}, Dir: dir},
		vmrec.Options{Cache: cache, Include: []string{prog}, Seen: &watch.Seen{}, Say: func(string) {}})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	rec, err := r.Record(ctx, 7)
	if err != nil {
		return nil, err
	}
	snapshot, err := r.Snapshot()
	if err != nil {
		return nil, err
	}
	all := files{}
	for _, f := range append(rec.Files, snapshot) {
		if all[f.Path], err = os.ReadFile(f.Host); err != nil {
			return nil, err
		}
	}
	return all, nil
})

func recorded(t *testing.T) files {
	t.Helper()
	f, err := recording()
	if err != nil {
		t.Fatalf("%v (make test installs what is missing)", err)
	}
	return maps.Clone(f)
}

// pack writes a bundle. Its digests are right, whatever is in it.
func pack(t *testing.T, all files, kinds ...string) string {
	t.Helper()
	dir := t.TempDir()
	out := filepath.Join(dir, "b.tar.zst")
	w, err := bundle.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for name, data := range all {
		host := filepath.Join(dir, "file")
		if err := os.WriteFile(host, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.AddFile(name, host, bundle.FileInfo{}); err != nil {
			t.Fatal(err)
		}
	}
	m := &bundle.Manifest{CreatedAt: time.Unix(1700000000, 0).UTC()}
	for _, k := range kinds {
		m.Recorders = append(m.Recorders, bundle.Recorder{"kind": k})
	}
	if err := w.Commit(m); err != nil {
		t.Fatal(err)
	}
	return out
}

func open(t *testing.T, path, cache string) (*Tape, error) {
	t.Helper()
	tape, err := Open(t.Context(), path, cache)
	if err == nil {
		t.Cleanup(func() { tape.Close() })
	}
	return tape, err
}

// TestMain looks at what the tests leave behind: nothing, if every folder is
// removed however a replay ends.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "replay-test-")
	if err != nil {
		panic(err)
	}
	os.Setenv("TMPDIR", dir)
	code := m.Run()
	if left, _ := filepath.Glob(dir + "/tapedeck-*"); len(left) > 0 {
		fmt.Printf("FAIL: left behind: %q\n", left)
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// edit changes fields of vm.json.
func (f files) edit(t *testing.T, change func(m map[string]any)) files {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(f[vmDir+vm.TapeFile], &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	f[vmDir+vm.TapeFile] = b
	return f
}

func TestReplay(t *testing.T) {
	t.Parallel()
	cache := t.TempDir() // without the snapshot: it comes out of the bundle
	tape, err := open(t, pack(t, recorded(t), "jfr", "vm"), cache)
	if err != nil {
		t.Fatal(err)
	}
	if len(tape.Warnings) > 0 {
		t.Errorf("%q", tape.Warnings)
	}
	for range 2 {
		rep, err := tape.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !rep.Identical || string(rep.Stdout) != "recorded\n" || rep.ExitCode != 0 || rep.Instructions == 0 || rep.Outcome != "exit code 0" {
			t.Errorf("%+v %v", rep, rep.Divergence)
		}
	}
	if left, _ := filepath.Glob(tape.Dir + "/run-*"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	// From now on a thin bundle will do.
	thin := recorded(t)
	delete(thin, vmDir+vm.SnapshotFile)
	if _, err := open(t, pack(t, thin, "vm"), cache); err != nil {
		t.Error(err)
	}
	var missing *exttool.Missing
	if _, err := open(t, pack(t, thin, "vm"), t.TempDir()); !errors.As(err, &missing) || missing.Fix == "" {
		t.Errorf("%v", err)
	}
}

// The console says what was recorded: a replay that shows something else has
// diverged, and says where.
func TestDiverged(t *testing.T) {
	t.Parallel()
	cache, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(f files) files
		want   string
	}{
		"output": {func(f files) files {
			f[vmDir+vm.ConsoleFile] = []byte(strings.Replace(string(f[vmDir+vm.ConsoleFile]), `"recorded\n"`, `"regarded\n"`, 1))
			return f
		}, "stdout"},
		"instructions": {func(f files) files {
			return f.edit(t, func(m map[string]any) { m["instructions"] = map[string]any{"shutdown": 1, "total": 2} })
		}, "instructions"},
		"a frame more": {func(f files) files {
			f[vmDir+vm.ConsoleFile] = []byte(string(f[vmDir+vm.ConsoleFile]) + `{"kind":"stdout","tsc":1,"text":"x"}`)
			return f
		}, "stdout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := c.change(recorded(t))
			delete(all, vmDir+vm.SnapshotFile)
			tape, err := open(t, pack(t, all, "vm"), cache)
			if err != nil {
				t.Fatal(err)
			}
			rep, err := tape.Run(t.Context())
			if err != nil || rep.Identical || rep.Divergence == nil || rep.Divergence.What != c.want {
				t.Errorf("%+v, %v, %v", rep, rep.Divergence, err)
			}
		})
	}
}

// Every one of these has the right digests, and must be refused before QEMU
// sees it.
func TestHostile(t *testing.T) {
	t.Parallel()
	base := func(m map[string]any) map[string]any { return m["base"].(map[string]any) }
	for name, c := range map[string]struct {
		change func(f files) files
		want   string
	}{
		"cpu": {func(f files) files {
			return f.edit(t, func(m map[string]any) { base(m)["machine"].(map[string]any)["cpu"] = "max,foo" })
		}, "base.machine to be"},
		"memory": {func(f files) files {
			return f.edit(t, func(m map[string]any) { base(m)["machine"].(map[string]any)["memory_mib"] = 1e9 })
		}, "base.machine to be"},
		"digest": {func(f files) files {
			return f.edit(t, func(m map[string]any) { base(m)["sha256"] = "../../x" })
		}, "base.sha256 to be"},
		"params": {func(f files) files {
			return f.edit(t, func(m map[string]any) { m["params"] = "seed=1\nx y" })
		}, "params to be"},
		"other snapshot": {func(f files) files {
			return f.edit(t, func(m map[string]any) { base(m)["sha256"] = strings.Repeat("0", 64) })
		}, "base.qcow2.zst: need SHA-256 000"},
		"no snapshot": {func(f files) files { f[vmDir+vm.SnapshotFile] = []byte("x"); return f }, "base.qcow2.zst: need zstd data"},
		"world":       {func(f files) files { f[vmDir+vm.WorldFile] = []byte("x"); return f }, "world.ext4: need SHA-256"},
		"log":         {func(f files) files { f[vmDir+vm.LogFile] = nil; return f }, "replay.log: need SHA-256"},
		"no tape":     {func(f files) files { delete(f, vmDir+vm.TapeFile); return f }, "no such file"},
		"version":     {func(f files) files { return f.edit(t, func(m map[string]any) { m["version"] = 2 }) }, "has version 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := c.change(recorded(t))
			if !strings.Contains(name, "snapshot") {
				delete(all, vmDir+vm.SnapshotFile)
			}
			_, err := open(t, pack(t, all, "vm"), t.TempDir())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			}
			if strings.Contains(c.want, "need") && !errors.Is(err, bundle.ErrDamaged) {
				t.Errorf("not an error of the bundle: %v", err)
			}
		})
	}
}

func TestNothingToReplay(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"no recorder": pack(t, files{"traces/x": nil}), "others": pack(t, files{"traces/x": nil}, "jfr", "ebpf")} {
		if _, err := Open(t.Context(), path, t.TempDir()); !errors.Is(err, ErrNothingToReplay) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(t.Context(), "/nowhere", t.TempDir()); !errors.Is(err, bundle.ErrNoBundle) {
		t.Errorf("%v", err)
	}
	if _, err := Open(t.Context(), pack(t, files{"traces/x": nil}, "vm"), t.TempDir()); err == nil {
		t.Error("a recorder without its files was opened")
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	cache, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	tape, err := open(t, pack(t, recorded(t), "vm"), cache)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tape.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(tape.Dir + "/run-*"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
