package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/record"
	"github.com/tapedeck-dev/tapedeck/internal/seal"
)

// BenchmarkAttest is what each recording pays for its provenance and its list
// of parts: cold is the first recording of a program, warm any other.
func BenchmarkAttest(b *testing.B) {
	b.Setenv("TAPEDECK_KEYS", filepath.Join(b.TempDir(), "keys.json"))
	g, err := newGuard(b.Context(), ruleFlags{salt: seal.DefaultSalt}, nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"true", "gdb", "python3"} {
		path, err := exec.LookPath(name)
		if err == nil {
			path, err = filepath.EvalSymlinks(path)
		}
		if err != nil {
			b.Fatal(err)
		}
		out, err := exec.Command("ldd", path).Output()
		if err != nil && name != "python3" { // may be a script
			b.Fatal(err)
		}
		rec := &record.Recording{Started: time.Now(), Program: record.Program{Path: path, Uses: []string{path}}}
		for _, w := range strings.Fields(string(out)) {
			if filepath.IsAbs(w) {
				rec.Program.Uses = append(rec.Program.Uses, w)
			}
		}
		for _, state := range []string{"cold", "warm"} {
			b.Run(name+"/"+state, func(b *testing.B) {
				var used time.Duration
				cache := b.TempDir()
				for b.Loop() {
					if state == "cold" {
						cache = b.TempDir()
					}
					b.Setenv("TAPEDECK_CACHE", cache)
					w, err := bundle.Create(filepath.Join(b.TempDir(), "x.tar.zst"))
					if err != nil {
						b.Fatal(err)
					}
					m := &bundle.Manifest{CreatedAt: now(), Recorders: []bundle.Recorder{{"kind": "vm", "command": []string{name}}}}
					if err := w.Add("traces/vm/replay.log", strings.NewReader("log"), bundle.FileInfo{}); err != nil {
						b.Fatal(err)
					}
					before := processorTime(b)
					if err := attestTo(w, m, rec, g); err != nil {
						b.Fatal(err)
					}
					used += processorTime(b) - before
					w.Abort()
				}
				b.ReportMetric(used.Seconds()*1e3/float64(b.N), "cpu-ms/op")
			})
		}
	}
}

func processorTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
