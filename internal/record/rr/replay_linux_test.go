package rr

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
	"github.com/tapedeck-dev/tapedeck/internal/record"
)

// wholeTrace is a directory that looks like a trace.
func wholeTrace(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "trace")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(dir, "version", "85\n")
	return dir
}

func TestReplay(t *testing.T) {
	info := fake(t, "hardware.rr")
	rec, err := Record(t.Context(), record.Job{Args: []string{"./hello"}, Dir: "/"}, Options{Info: info, Parent: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	re, err := Replay(t.Context(), filepath.Join(rec.Dir, "trace"), ReplayOptions{Info: info, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	if string(re.Stdout.Tail) != "counter 2000\n" || re.Stdout.Bytes != 13 || out.String() != "counter 2000\n" || re.Code != 0 || len(re.Procs) != 1 || re.Procs[0].Command != "./hello" {
		t.Errorf("got %+v", re)
	}
	if d := re.Differences(rec.Manifest); len(d) != 0 {
		t.Errorf("differences %q", d)
	}
	// The manifest as it comes back from YAML or JSON.
	other := map[string]any{"exit_code": 7.0, "stdout": map[string]any{"sha256": strings.Repeat("0", 64), "size": int64(12)}, "stderr": "?"}
	d := re.Differences(other)
	if len(d) != 2 || !strings.Contains(d[0], "exit code 0, recorded 7") || !strings.Contains(d[1], "stdout of 13 bytes") {
		t.Errorf("differences %q", d)
	}
}

func TestReplayFails(t *testing.T) {
	tests := []struct {
		name    string
		session string
		prepare func(dir string)
		err     error
	}{
		{name: "no trace", prepare: func(dir string) { os.Remove(filepath.Join(dir, "version")) }, err: ErrNoTrace},
		{name: "no directory", prepare: func(dir string) { os.RemoveAll(dir) }, err: ErrNoTrace},
		{name: "incomplete", prepare: func(dir string) {
			os.Rename(filepath.Join(dir, "version"), filepath.Join(dir, "incomplete"))
		}, err: ErrIncomplete},
		{name: "damaged", session: "! terminate called after throwing an instance of 'kj::ExceptionImpl'\n!   what():  kj/io.c++:53: failed: expected n >= minBytes [0 >= 8]; Premature EOF\n[signal 6]\n", err: ErrDamaged},
		{name: "another version", session: "! \n! rr: error: Recorded trace `DIR/version' has an incompatible version 84; expected\n!            85.  Did you record it with an older version\n[exit 65]\n", err: ErrTraceVersion},
		{name: "another CPU", session: "! [FATAL src/ReplaySession.cc:190:ReplaySession()] Trace was recorded on a machine with different CPUID values\n[signal 6]\n", err: ErrOtherCPU},
		{name: "no counters here", session: noCounters, err: ErrNoCounters},
		{name: "diverged", session: "! [FATAL src/ReplaySession.cc:945:check_ticks_consistency()]\n!  (task 15597 (rec:29537) at time 19)\n!  -> Assertion `ticks_now == trace_ticks' failed to hold.\n[signal 6]\n", err: ErrDiverged},
		{name: "stuck", session: "[hang]\n[exit 143]\n", err: ErrStuck},
		{name: "stuck hard", session: "[hang hard]\n", err: ErrStuck},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			limit := time.Minute
			if tt.err == ErrStuck {
				limit = 300 * time.Millisecond
			}
			dir := wholeTrace(t)
			if tt.prepare != nil {
				tt.prepare(dir)
			}
			info := fake(t, "$ rr replay -a DIR\n"+tt.session, "hardware.rr")
			re, err := Replay(t.Context(), dir, ReplayOptions{Info: info, Limit: limit})
			if !errors.Is(err, tt.err) || re != nil {
				t.Errorf("got %v, %v", re, err)
			}
		})
	}
	t.Run("software counters needed", func(t *testing.T) {
		inPath(t, fake(t, "hardware.rr"))
		_, err := Replay(t.Context(), wholeTrace(t), ReplayOptions{Software: true})
		var m *exttool.Missing
		if !errors.As(err, &m) || !strings.Contains(m.Need, "-W") {
			t.Errorf("got %v", err)
		}
		inPath(t, fake(t, "software.rr"))
		if _, err := Replay(t.Context(), wholeTrace(t), ReplayOptions{Software: true}); err != nil {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		info := fake(t, "$ rr replay -a DIR\n[hang]\n[exit 143]\n")
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			waitHanging(t, info)
			cancel()
		}()
		if _, err := Replay(ctx, wholeTrace(t), ReplayOptions{Info: info}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestServe(t *testing.T) {
	for name, session := range map[string]string{"before 5.9": "hardware.rr", "5.9": "software.rr"} {
		t.Run(name, func(t *testing.T) {
			inPath(t, fake(t, session))
			dir := wholeTrace(t)
			s, err := Serve(t.Context(), dir, ServeOptions{Software: session == "software.rr"})
			if err != nil {
				t.Fatal(err)
			}
			if s.Addr != "127.0.0.1:1172" || s.Exe != filepath.Join(dir, "mmap_copy_5_hello") || len(s.Args) != 6 {
				t.Errorf("got %+v", s)
			}
			select {
			case <-s.Done():
				t.Error("ended at once")
			default:
			}
			for range 2 {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			if !strings.Contains(string(s.Stderr()), "Launch ") {
				t.Errorf("stderr %q", s.Stderr())
			}
			if err := s.cmd.Process.Signal(syscall.Signal(0)); err == nil {
				t.Error("rr still runs")
			}
		})
	}
}

func TestServeFails(t *testing.T) {
	tests := []struct {
		name, session string
		err           error
	}{
		{"diverged on the way", "! [FATAL src/ReplaySession.cc:1:f()]\n!  (task 1 (rec:2) at time 3)\n!  -> Assertion `x' failed to hold.\n[signal 6]\n", ErrDiverged},
		{"no counters", noCounters, ErrNoCounters},
		{"ends", "[exit 0]\n", errNoLine},
		{"says nothing", "[hang]\n[exit 143]\n", ErrStuck},
		{"another machine", "! Launch gdb with\n!   gdb '-ex' 'target extended-remote 203.0.113.9:1172' '/t/a'\n[hang]\n[exit 143]\n", errNoLine},
		{"nonsense", "! Launch gdb with\n! \n[hang]\n[exit 143]\n", errNoLine},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			limit := time.Minute
			if tt.err == ErrStuck {
				limit = 300 * time.Millisecond
			}
			info := fake(t, "$ rr replay -g 12 -e -q -s 0 -k DIR\n"+tt.session)
			s, err := Serve(t.Context(), wholeTrace(t), ServeOptions{Info: info, Event: 12, AtExit: true, Limit: limit})
			if !errors.Is(err, tt.err) || s != nil {
				t.Errorf("got %v, %v", s, err)
			}
		})
	}
	if _, err := Serve(t.Context(), t.TempDir(), ServeOptions{}); !errors.Is(err, ErrNoTrace) {
		t.Errorf("no trace: %v", err)
	}
	info := fake(t, "hardware.rr")
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Serve(ctx, wholeTrace(t), ServeOptions{Info: info})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case <-s.Done():
	case <-time.After(10 * time.Second):
		t.Error("outlives its context")
	}
}
