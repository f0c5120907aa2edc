package vm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/record"
	machine "github.com/tapedeck-dev/tapedeck/internal/vm"
	"github.com/tapedeck-dev/tapedeck/internal/watch"
)

func TestMain(m *testing.M) {
	watch.Main()
	os.Exit(m.Run())
}

// compile builds a program of testdata.
func compile(t *testing.T, source string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("gcc", "-O1", "-g", "-pthread", "-o", out, filepath.Join("testdata", source))
	if filepath.Ext(source) == "" {
		cmd = exec.Command("go", "build", "-o", out, "./testdata/"+source)
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, text)
	}
	return out
}

func prepare(t *testing.T, job record.Job) *Recorder {
	t.Helper()
	cache := os.Getenv("TAPEDECK_CACHE")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(dir, "tapedeck")
	}
	job.Dir = t.TempDir()
	r, err := Prepare(t.Context(), job, Options{Cache: cache, Say: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatalf("%v (make test installs what is missing)", err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// points are the perturbations that a recording tells of.
func points(t *testing.T, rec *record.Recording) []string {
	t.Helper()
	frames, err := machine.LoadConsole(filepath.Join(rec.Dir, machine.ConsoleFile))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, f := range frames {
		if f.Kind == machine.FramePoint {
			list = append(list, string(f.Data))
		}
	}
	return list
}

// The bugs of these programs need a switch between two instructions: plain
// runs on one processor don't show them.
func TestChaosFinds(t *testing.T) {
	for _, source := range []string{"lost.c", "lostgo"} {
		t.Run(source, func(t *testing.T) {
			r := prepare(t, record.Job{Args: []string{compile(t, source)}, Chaos: true})
			rec, tally, err := record.UntilFail(t.Context(), record.Attempts{Max: 60, Jobs: 2, Seed: 1}, r.Record, func(record.Tally) {})
			if err != nil {
				t.Fatal(err)
			}
			if rec == nil {
				t.Fatalf("none of %d attempts failed", tally.Done)
			}
			defer rec.Close()
			if rec.Outcome.Code != 1 || rec.Outcome.Signal != 0 {
				t.Errorf("outcome: %v\n%s", rec.Outcome, rec.Stderr)
			}
			if p := points(t, rec); len(p) == 0 || len(p) > 100 || !strings.HasPrefix(p[0], "plan ") {
				t.Errorf("points: %q", p)
			}
			if diff, err := r.Check(t.Context(), rec); err != nil || diff != "" {
				t.Errorf("replay: %q, %v", diff, err)
			}
			if rec.Manifest["chaos"] != true || rec.Manifest["seed"] == nil {
				t.Errorf("manifest: %v", rec.Manifest)
			}
		})
	}
}

// Whatever is done to a correct program, it ends as it would without.
func TestChaosSparesTheRight(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	r := prepare(t, record.Job{Args: []string{compile(t, "right.c")}, Chaos: true, Timeout: 30 * time.Second})
	one := func(ctx context.Context, seed uint64) (*record.Recording, error) {
		rec, err := r.Record(ctx, seed)
		if err != nil {
			return nil, err
		}
		if rec.Outcome.Code != 7 || string(rec.Stdout) != "right\n" || len(rec.Stderr) > 0 {
			t.Errorf("seed %d: %v, %q, %q after %q", seed, rec.Outcome, rec.Stdout, rec.Stderr, points(t, rec))
		}
		rec.Outcome.Code = 0 // as it should be
		return rec, nil
	}
	if _, _, err := record.UntilFail(t.Context(), record.Attempts{Max: 40, Jobs: 2, Seed: 1}, one, func(record.Tally) {}); err != nil {
		t.Fatal(err)
	}
}

// The plan comes from the seed alone. The run does not: the guest's clock
// starts at the host's time, and interrupts come when they come.
func TestChaosPlan(t *testing.T) {
	r := prepare(t, record.Job{Args: []string{compile(t, "lost.c")}, Chaos: true})
	var plans []string
	for _, seed := range []uint64{5, 5, 6} {
		rec, err := r.Record(t.Context(), seed)
		if err != nil {
			t.Fatal(err)
		}
		plans = append(plans, points(t, rec)[0])
		rec.Close()
	}
	if plans[0] != plans[1] || plans[0] == plans[2] {
		t.Errorf("plans of seeds 5, 5 and 6: %q", plans)
	}
}

func TestChaosPlain(t *testing.T) {
	r := prepare(t, record.Job{Args: []string{compile(t, "lost.c")}})
	if r.program.Sites != nil || strings.Contains(r.params(1), "chaos") {
		t.Errorf("without chaos: %d bytes of sites, params %q", len(r.program.Sites), r.params(1))
	}
}

func TestIsSystem(t *testing.T) {
	for path, want := range map[string]bool{"/usr/bin/python3": true, "/usr/local/bin/x": false, "/home/a/usr/x": false, "/lib64/ld.so": true} {
		if isSystem(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}

func TestLeakSanitizer(t *testing.T) {
	out := filepath.Join(t.TempDir(), "program")
	if text, err := exec.Command("gcc", "-fsanitize=address", "-pthread", "-o", out, "testdata/lost.c").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, env := range [][]string{nil, {"ASAN_OPTIONS=detect_leaks=0"}} {
		r := &Recorder{job: record.Job{Env: env}}
		r.chaos(out, nil)
		want, warnings := noTracer, 1
		if env != nil {
			want, warnings = mixture, 0
		}
		if r.strategy != want || len(r.warnings) != warnings {
			t.Errorf("%v: strategy %q, warnings %q", env, r.strategy, r.warnings)
		}
	}
}

func TestChaosOfOwnLibraries(t *testing.T) {
	prog := compile(t, "lost.c")
	r := &Recorder{}
	r.chaos("/bin/sh", []string{prog, prog, "/etc/hostname", "/nowhere"})
	files := slices.Collect(func(yield func(string) bool) {
		for line := range strings.Lines(string(r.program.Sites)) {
			if strings.HasPrefix(line, "file ") && !yield(strings.TrimSpace(line)) {
				return
			}
		}
	})
	if want := []string{fmt.Sprintf("file %s c 0", prog)}; !slices.Equal(files, want) || len(r.warnings) > 0 {
		t.Errorf("files %q, want %q; warnings %q", files, want, r.warnings)
	}
}
