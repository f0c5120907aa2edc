package rr

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
	"github.com/tapedeck-dev/tapedeck/internal/record"
)

// run is a session in which the recorded program really runs.
const runs = "$ rr record -o DIR ...\n[run]\n"

func shell(script string) record.Job {
	return record.Job{Args: []string{"/bin/sh", "-c", script}, Dir: "/"}
}

func TestRecord(t *testing.T) {
	parent := t.TempDir()
	var out, errOut bytes.Buffer
	job := record.Job{Args: []string{"./hello", "7"}, Dir: t.TempDir(), Env: []string{"TZ=UTC", "TOKEN=hunter2"}}
	info := fake(t, "hardware.rr")
	rec, err := Record(t.Context(), job, Options{Info: info, Parent: parent, Stdout: &out, Stderr: &errOut})
	if err != nil {
		t.Fatal(err)
	}
	if rec.Outcome != (record.Outcome{Code: 7}) || string(rec.Stdout) != "counter 2000\n" || len(rec.Stderr) != 0 || out.String() != "counter 2000\n" || errOut.Len() != 0 {
		t.Errorf("outcome %v, stdout %q, stderr %q, teed %q %q", rec.Outcome, rec.Stdout, rec.Stderr, &out, &errOut)
	}
	if filepath.Dir(rec.Dir) != parent {
		t.Errorf("dir %s, want one under %s", rec.Dir, parent)
	}
	var names []string
	for _, f := range rec.Files {
		name, ok := strings.CutPrefix(f.Path, "traces/rr/trace-0001/")
		if !ok || f.Class != "restricted" || f.Media == "" || f.Host != filepath.Join(rec.Dir, "trace", name) {
			t.Errorf("file %+v", f)
		}
		names = append(names, name)
	}
	want := []string{"data", "events", "mmap_copy_18_librrpreload.so", "mmap_copy_3_librrpage.so", "mmap_copy_5_hello", "mmap_pack_0_libc.so.6", "mmap_pack_1_ld-linux-x86-64.so.2", "mmap_pack_2_libdl.so.2", "mmaps", "tasks", "version"}
	if !slices.Equal(names, want) {
		t.Errorf("files %v, want %v", names, want)
	}
	m := rec.Manifest
	for k, v := range map[string]any{
		"kind": "rr", "rr_version": "5.6.0", "kernel": "6.18.44", "rr_trace_dir": "traces/rr/trace-0001", "uuid": "465e8c34-2b9e-08e1-d58c-17ad97b91ae8",
		"chaos": false, "ticks": "rcb", "program": "mmap_copy_5_hello", "packed": true, "software_counters": false, "exit_code": 7, "cpuid_faulting": false,
	} {
		if m[k] != v {
			t.Errorf("manifest %s: %v, want %v", k, m[k], v)
		}
	}
	if got := m["command"]; !slices.Equal(got.([]string), job.Args) {
		t.Errorf("command %v", got)
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	// No value of the environment that rr traceinfo shows, and no path.
	for _, secret := range []string{"/nonexistent", "/usr/bin", "hunter2", parent, "DIR/", "nodename"} {
		if bytes.Contains(b, []byte(secret)) {
			t.Errorf("the manifest holds %q: %s", secret, b)
		}
	}
	if !slices.Contains(m["env_withheld"].([]string), "LD_PRELOAD") {
		t.Errorf("withheld %v", m["env_withheld"])
	}
	if rec.Toolchain["rr"] != "5.6.0" {
		t.Errorf("toolchain %v", rec.Toolchain)
	}
	all := strings.Join(rec.Warnings, "\n")
	for _, w := range []string{"whole environment", "CPUID faulting"} {
		if !strings.Contains(all, w) {
			t.Errorf("warnings %q lack %q", rec.Warnings, w)
		}
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(parent); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

// TestRecordOutcome tells the program's ends from rr's own.
func TestRecordOutcome(t *testing.T) {
	const glog = "! F1122 08:23:00.000000 12 main.cc:12] Check failed: x > 0\n"
	tests := []struct {
		name    string
		session string // what rr does
		want    record.Outcome
		err     error
	}{
		{name: "success", session: records, want: record.Outcome{}},
		{name: "failure", session: "[trace complete]\n[exit 1]\n", want: record.Outcome{Code: 1}},
		{name: "the program's own 65", session: "[trace complete]\n[exit 65]\n", want: record.Outcome{Code: 65}},
		{name: "the program's own 69", session: "! no server\n[trace complete]\n[exit 69]\n", want: record.Outcome{Code: 69}},
		{name: "the program's own 134", session: "[trace complete]\n[exit 134]\n", want: record.Outcome{Code: 134}},
		{name: "killed by SIGSEGV", session: "[trace complete]\n[signal 11]\n", want: record.Outcome{Code: 139, Signal: syscall.SIGSEGV}},
		{name: "aborted", session: glog + "[trace complete]\n[signal 6]\n", want: record.Outcome{Code: 134, Signal: syscall.SIGABRT}},
		{name: "killed by SIGKILL", session: "[trace complete]\n[signal 9]\n", want: record.Outcome{Code: 137, Signal: syscall.SIGKILL}},
		{name: "prints rr's words and fails", session: "! [FATAL ./src/PerfCounters.cc:306:start_counter()] Unable to open performance counter\n[trace complete]\n[exit 1]\n", want: record.Outcome{Code: 1}},
		{name: "program not found", session: "! \n! execve failed: '/bin/x' (or interpreter) not found (ENOENT)\n[trace complete]\n[exit 69]\n", err: exec.ErrNotFound},
		{name: "program not executable", session: "! \n! execve of '/bin/x' failed (EACCES)\n[trace complete]\n[exit 69]\n", err: fs.ErrPermission},
		{name: "no counters", session: noCounters, err: ErrNoCounters},
		{name: "rr aborts", session: "! [FATAL src/RecordSession.cc:1:f()]\n!  (task 1 (rec:1) at time 9)\n!  -> Assertion `x' failed to hold.\n[trace complete]\n[signal 6]\n", err: ErrCrashed},
		{name: "ptrace denied", session: ptrace, err: ErrPtrace},
		{name: "rr killed", session: "[trace incomplete]\n[signal 9]\n", err: ErrIncomplete},
		{name: "disk full", session: "! [FATAL src/CompressedWriter.cc:200:f() errno: ENOSPC] Can't write\n[trace incomplete]\n[signal 6]\n", err: ErrSpace},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parent := t.TempDir()
			info := fake(t, "$ rr record -o DIR ...\n"+tt.session, "hardware.rr")
			rec, err := Record(t.Context(), shell(""), Options{Info: info, Parent: parent})
			if tt.err != nil {
				if !errors.Is(err, tt.err) || rec != nil {
					t.Errorf("error %v, want %v", err, tt.err)
				}
				if left, _ := os.ReadDir(parent); len(left) != 0 {
					t.Errorf("left over: %v", left)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if rec.Outcome != tt.want {
				t.Errorf("outcome %+v, want %+v", rec.Outcome, tt.want)
			}
		})
	}
}

// TestRecordPlumbing runs a real program in rr's place: what it sees is what
// the job says, and nothing else.
func TestRecordPlumbing(t *testing.T) {
	in := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(in, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OUTER", "not for the program")
	info := fake(t, runs, "hardware.rr")
	dir := t.TempDir()
	job := record.Job{Args: []string{"sh", "-c", "pwd; cat; env; echo oops >&2; ls /proc/self/fd; exit 3"}, Dir: dir, Env: []string{"PATH=/usr/bin:/bin", "A=1"}, Stdin: in}
	var out bytes.Buffer
	rec, err := Record(t.Context(), job, Options{Info: info, Parent: t.TempDir(), Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	if rec.Outcome.Code != 3 || string(rec.Stderr) != "oops\n" || !bytes.Equal(rec.Stdout, out.Bytes()) {
		t.Errorf("outcome %v, stderr %q", rec.Outcome, rec.Stderr)
	}
	lines := strings.Split(strings.TrimSpace(string(rec.Stdout)), "\n")
	if lines[0] != dir || lines[1] != "from a file" {
		t.Errorf("got %q", lines)
	}
	var env, fds []string
	for _, l := range lines[2:] {
		if name, _, ok := strings.Cut(l, "="); ok {
			env = append(env, name)
		} else {
			fds = append(fds, l)
		}
	}
	slices.Sort(env)
	// sh sets PWD and such.
	env = slices.DeleteFunc(env, func(s string) bool { return s == "PWD" || s == "SHLVL" || s == "_" || s == "OLDPWD" })
	if !slices.Equal(env, []string{"A", "PATH"}) {
		t.Errorf("environment %v", env)
	}
	// Its descriptors are those that it would have without rr.
	plain, err := exec.Command("sh", "-c", "echo oops >&2; ls /proc/self/fd").Output()
	if err != nil || !slices.Equal(fds, strings.Fields(string(plain))) {
		t.Errorf("descriptors %v, want %s, %v", fds, plain, err)
	}

	rec, err = Record(t.Context(), record.Job{Args: []string{"cat"}, Dir: dir}, Options{Info: info, Parent: t.TempDir()})
	if err != nil || len(rec.Stdout) != 0 || rec.Outcome.Code != 0 {
		t.Errorf("no stdin and no PATH: %v", err)
	}
	if !strings.Contains(calls(t, info), "-- /") {
		t.Error("without a PATH in the job, the program is to be found in ours")
	}
	for name, job := range map[string]record.Job{
		"program": {Args: []string{"no-such-program"}, Env: []string{"PATH=/usr/bin:/bin"}},
		"PATH":    {Args: []string{"sh"}, Env: []string{"PATH=" + t.TempDir()}},
	} {
		if _, err := Record(t.Context(), job, Options{Info: info}); !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("no such %s: %v", name, err)
		}
	}
	if _, err := Record(t.Context(), record.Job{}, Options{Info: info}); err == nil {
		t.Error("no program: no error")
	}
	if _, err := Record(t.Context(), record.Job{Args: job.Args, Dir: dir, Stdin: "/no/such/file"}, Options{Info: info, Parent: dir}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such input: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestRecordFlags(t *testing.T) {
	info := fake(t, "$ rr record -W -n -c 1000 -s --num-cores=4 -h -o DIR -- ./hello\n"+records, "hardware.rr")
	info.Software, info.NoBuffer = true, true
	job := record.Job{Args: []string{"./hello"}, Dir: "/", Chaos: true, Seed: 7}
	rec, err := Record(t.Context(), job, Options{Info: info, Parent: t.TempDir(), Sched: Sched{Ticks: 1000, AlwaysSwitch: true, Cores: 4}})
	if err != nil {
		t.Fatal(err)
	}
	m := rec.Manifest
	if m["chaos"] != true || m["software_counters"] != true || !slices.Equal(m["options"].([]string), []string{"-W", "-n", "-c", "1000", "-s", "--num-cores=4", "-h"}) {
		t.Errorf("manifest %v", m)
	}
}

// TestRecordEnds ends a program that would run on, in every way.
func TestRecordEnds(t *testing.T) {
	job := record.Job{Args: []string{"sleep", "100"}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin"}}
	t.Run("time limit", func(t *testing.T) {
		t.Parallel()
		job := job
		job.Timeout = 1500 * time.Millisecond // the fake must be up by then
		rec, err := Record(t.Context(), job, Options{Info: fake(t, "hardware.rr"), Parent: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if !rec.Outcome.TimedOut || rec.Outcome.Code != 124 || len(rec.Files) == 0 || stateOf(filepath.Join(rec.Dir, "trace")) != complete {
			t.Errorf("outcome %+v, %d files", rec.Outcome, len(rec.Files))
		}
	})
	t.Run("stop", func(t *testing.T) {
		t.Parallel()
		info, stop := fake(t, "hardware.rr"), make(chan struct{})
		go func() {
			waitHanging(t, info)
			close(stop)
		}()
		rec, err := Record(t.Context(), job, Options{Info: info, Parent: t.TempDir(), Stop: stop})
		if err != nil {
			t.Fatal(err)
		}
		if rec.Outcome.TimedOut || rec.Outcome.Code != 143 || len(rec.Files) == 0 {
			t.Errorf("outcome %+v, %d files", rec.Outcome, len(rec.Files))
		}
	})
	t.Run("cancel", func(t *testing.T) {
		t.Parallel()
		info, parent := fake(t, "hardware.rr"), t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			waitHanging(t, info)
			cancel()
		}()
		if _, err := Record(ctx, job, Options{Info: info, Parent: parent}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if left, _ := os.ReadDir(parent); len(left) != 0 {
			t.Errorf("left over: %v", left)
		}
	})
	t.Run("before the program runs", func(t *testing.T) {
		t.Parallel()
		job := job
		job.Timeout = 1500 * time.Millisecond // the fake must be up by then
		info := fake(t, "$ rr record -o DIR ...\n[hang]\n[signal 15]\n")
		if _, err := Record(t.Context(), job, Options{Info: info, Parent: t.TempDir()}); !errors.Is(err, ErrIncomplete) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("an rr that won't end", func(t *testing.T) {
		t.Parallel()
		info := fake(t, "$ rr record ...\n[hang hard]\n[exit 0]\n")
		r, err := run(t.Context(), spec{path: info.Path, args: []string{"record", "x"}, limit: 1500 * time.Millisecond, grace: 100 * time.Millisecond})
		if err != nil || !r.timedOut || r.signal != syscall.SIGKILL {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestRecordKeep(t *testing.T) {
	info := fake(t, "hardware.rr")
	var seen record.Outcome
	keep := func(r *record.Recording) bool {
		seen = r.Outcome
		return r.Outcome.Failed() || bytes.Contains(r.Stdout, []byte("1999"))
	}
	for args, want := range map[string]bool{"./hello": false, "./hello 7": true} {
		rec, err := Record(t.Context(), record.Job{Args: strings.Fields(args), Dir: "/"}, Options{Info: info, Parent: t.TempDir(), Keep: keep})
		if err != nil {
			t.Fatal(err)
		}
		if (len(rec.Files) > 0) != want || (rec.Manifest != nil) != want || rec.Outcome != seen || stateOf(filepath.Join(rec.Dir, "trace")) == complete != want {
			t.Errorf("%s: %d files, outcome %v", args, len(rec.Files), rec.Outcome)
		}
	}
	if n := strings.Count(calls(t, info), "pack "); n != 1 {
		t.Errorf("packed %d times, want once", n)
	}
}

// TestRecordWeaker has the steps after the recording fail: the recording stays.
func TestRecordWeaker(t *testing.T) {
	info := fake(t,
		"$ rr pack DIR\n! [FATAL src/PackCommand.cc:1:f() errno: ENOSPC] Can't write\n[exit 1]\n",
		"$ rr traceinfo DIR\nnot json\n[exit 0]\n",
		"hardware.rr")
	info.Warnings = []string{"of the probe"}
	rec, err := Record(t.Context(), record.Job{Args: []string{"./hello"}, Dir: "/", Env: []string{"TZ=UTC", "X=y"}}, Options{Info: info, Parent: t.TempDir(), Stdout: failingWriter{}})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(rec.Warnings, "\n")
	for _, w := range []string{"of the probe", "rr pack: need room on the disk", "replays on this machine alone", "the manifest lacks", "could not be passed on: gone"} {
		if !strings.Contains(all, w) {
			t.Errorf("warnings %q lack %q", rec.Warnings, w)
		}
	}
	if rec.Manifest["packed"] != false || len(rec.Files) == 0 || string(rec.Stdout) != "counter 2000\n" || fmt.Sprint(rec.Manifest["env"]) != "map[TZ:UTC]" {
		t.Errorf("manifest %v, %d files", rec.Manifest, len(rec.Files))
	}
}

// TestRecordSideBySide records under one parent from many goroutines.
func TestRecordSideBySide(t *testing.T) {
	info, parent := fake(t, runs, "hardware.rr"), t.TempDir()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			rec, err := Record(t.Context(), shell(fmt.Sprintf("echo %d; exit %d", i, i)), Options{Info: info, Parent: parent})
			if err != nil {
				t.Error(err)
				return
			}
			if rec.Outcome.Code != i || string(rec.Stdout) != fmt.Sprintln(i) {
				t.Errorf("%d: %v %q", i, rec.Outcome, rec.Stdout)
			}
			if err := rec.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if left, _ := os.ReadDir(parent); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestFilesLeavesOutOddities(t *testing.T) {
	dir := t.TempDir()
	write(dir, "version", "85\n")
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "mmap_clone_1_x")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "files.rr"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(dir, "files.rr/rr_git_revision", "x")
	list, warnings, err := files(dir)
	if err != nil || len(list) != 2 || list[0].Path != BundleDir+"/files.rr/rr_git_revision" || len(warnings) != 1 {
		t.Errorf("got %v %v %v", list, warnings, err)
	}
}

func TestRecordProbes(t *testing.T) {
	inPath(t, fake(t, version56, "$ rr record ...\n"+noCounters))
	_, err := Record(t.Context(), shell("true"), Options{Parent: t.TempDir()})
	var m *exttool.Missing
	if !errors.As(err, &m) || !errors.Is(err, ErrNoCounters) {
		t.Errorf("got %v", err)
	}
}
