package rr

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
	"github.com/tapedeck-dev/tapedeck/internal/record"
)

// TestReal uses the rr of this machine. Where it works, a racy program is
// recorded, replayed and served; where it doesn't, the reason that Probe gives
// is checked against what rr itself says. It never skips.
func TestReal(t *testing.T) {
	info, err := Probe(t.Context())
	if err == nil {
		t.Logf("rr %s works here (software counters %v): recording", info.Version, info.Software)
		realRecording(t, info)
		return
	}
	var m *exttool.Missing
	if !errors.As(err, &m) || m.Need == "" || m.Found == "" || m.Fix == "" {
		t.Fatalf("got %v, want a Missing with need, found and fix", err)
	}
	if _, lookErr := exec.LookPath("rr"); lookErr != nil {
		t.Logf("rr is not installed: %v", err)
		if !strings.Contains(m.Fix, "install rr") {
			t.Errorf("fix %q", m.Fix)
		}
		return
	}
	t.Logf("rr does not work here: %v; hint: %s", err, m.Fix)
	if m.Err == nil || errors.Is(err, ErrCrashed) {
		t.Errorf("a failure that is not in the table: %v", err)
	}
	if errors.Is(err, ErrPtrace) && strings.Contains(m.Found, "no answer") {
		return // rr says nothing
	}

	// The words are rr's own.
	dir := t.TempDir()
	words := strings.TrimPrefix(m.Found, "rr "+info.Version+": ")
	said := ""
	for _, extra := range [][]string{nil, {"-n"}, {"-W"}} {
		args := append(append([]string{"record"}, extra...), "-o", filepath.Join(dir, "x"+strings.Join(extra, "")), "true")
		out, _ := exec.Command("rr", args...).CombinedOutput()
		said += strings.Join(strings.Fields(string(out)), " ")
	}
	if !strings.Contains(said, strings.TrimSuffix(words, "…")) {
		t.Errorf("Probe found %q, rr says %q", words, said)
	}

	// A recording fails the same way, and leaves nothing behind.
	_, err = Record(t.Context(), record.Job{Args: []string{"true"}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin"}}, Options{Info: info, Parent: dir})
	var again *exttool.Missing
	if !errors.As(err, &again) || !errors.Is(err, m.Err) && !errors.Is(m.Err, ErrNoCounters) {
		t.Errorf("Record: %v, want as Probe: %v", err, m)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "rr-*")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}

	// What rr left of its own attempt is an incomplete trace, and taken for one.
	if stateOf(filepath.Join(dir, "x")) == incomplete {
		if _, err := Replay(t.Context(), filepath.Join(dir, "x"), ReplayOptions{}); !errors.Is(err, ErrIncomplete) {
			t.Errorf("Replay: %v", err)
		}
		if _, err := readTraceInfo(t.Context(), info, filepath.Join(dir, "x")); !errors.Is(err, ErrIncomplete) {
			t.Errorf("traceinfo: %v", err)
		}
		// A header cut off makes rr abort without a word of its own.
		if err := os.Rename(filepath.Join(dir, "x", "incomplete"), filepath.Join(dir, "x", "version")); err != nil {
			t.Fatal(err)
		}
		if _, err := Replay(t.Context(), filepath.Join(dir, "x"), ReplayOptions{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("Replay of a damaged trace: %v", err)
		}
		if _, err := Serve(t.Context(), filepath.Join(dir, "x"), ServeOptions{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("Serve of a damaged trace: %v", err)
		}
	}
}

// racy loses updates when a thread is preempted at the wrong place.
const racy = `package main

import ("fmt"; "os"; "sync"; "time")

var n int

func main() {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200000 { n++ }
		})
	}
	wg.Wait()
	fmt.Println(n, time.Now().UnixNano())
	fmt.Fprintln(os.Stderr, os.Getpid())
	os.Exit(3)
}
`

func realRecording(t *testing.T, info Info) {
	dir := t.TempDir()
	source := filepath.Join(dir, "racy.go")
	if err := os.WriteFile(source, []byte(racy), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "racy")
	if out, err := exec.Command("go", "build", "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	job := record.Job{Args: []string{program}, Dir: dir, Env: []string{"TZ=UTC", "TOKEN=hunter2"}, Chaos: true, Timeout: time.Minute}
	rec, err := Record(t.Context(), job, Options{Info: info, Parent: dir})
	if err != nil {
		t.Fatal(err)
	}
	if rec.Outcome.Code != 3 || len(rec.Files) < 5 || rec.Manifest["chaos"] != true {
		t.Errorf("outcome %v, %d files, manifest %v", rec.Outcome, len(rec.Files), rec.Manifest)
	}
	if !slices.Contains(rec.Manifest["env_withheld"].([]string), "TOKEN") {
		t.Errorf("withheld %v", rec.Manifest["env_withheld"])
	}
	trace := filepath.Join(rec.Dir, "trace")
	for range 3 {
		re, err := Replay(t.Context(), trace, ReplayOptions{Info: info, Limit: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if d := re.Differences(rec.Manifest); len(d) != 0 || re.Code != 3 {
			t.Errorf("differences %q", d)
		}
	}
	s, err := Serve(t.Context(), trace, ServeOptions{Info: info})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, err := os.Stat(s.Exe); err != nil {
		t.Error(err)
	}

	// SIGTERM, at the time limit, leaves a trace that replays.
	job = record.Job{Args: []string{"sleep", "100"}, Dir: dir, Env: []string{"PATH=/usr/bin:/bin"}, Timeout: 2 * time.Second}
	rec, err = Record(t.Context(), job, Options{Info: info, Parent: dir})
	if err != nil {
		t.Fatal(err)
	}
	if !rec.Outcome.TimedOut {
		t.Errorf("outcome %v", rec.Outcome)
	}
	if _, err := Replay(t.Context(), filepath.Join(rec.Dir, "trace"), ReplayOptions{Info: info, Limit: time.Minute}); err != nil {
		t.Error(err)
	}
}
