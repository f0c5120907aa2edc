package vtime_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/sandbox"
	"github.com/tapedeck-dev/tapedeck/internal/vtime"
	"github.com/tapedeck-dev/tapedeck/internal/watch"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(m.Run())
}

const began = 1_700_000_000_000_000_000 // 2023-11-14T22:13:20Z

// run runs a command in a world and returns what it printed.
func run(t testing.TB, o vtime.Options, with func(*vtime.World), args ...string) string {
	t.Helper()
	if o.Clock {
		o.Wall = began
		if o.Mono == 0 {
			o.Mono = 1_000_000_000_000
		}
	}
	w, err := vtime.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var out bytes.Buffer
	c := sandbox.Config{Args: args, Dir: "/", Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/"}, Stdout: &out, Stderr: &out}
	stop, err := w.Enter(&c, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	b, err := sandbox.Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if with != nil {
		with(w)
	}
	status, err := b.Wait()
	if err != nil || status != 0 {
		t.Errorf("%v: status %#x, %v\n%s", args, status, err, out.String())
	}
	b.Close()
	w.Close()
	if s := w.Stats(); len(s.Failed) > 0 {
		t.Errorf("%v: %q", args, s.Failed)
	}
	return out.String()
}

// build compiles a C program.
func build(t testing.TB, source string, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/p.c", []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("gcc", append(append([]string{"-O1", "-o", dir + "/p"}, flags...), dir+"/p.c")...).CombinedOutput()
	if err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return dir + "/p"
}

const clockC = `
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <sys/auxv.h>
static long ns(clockid_t c) { struct timespec t; clock_gettime(c, &t); return t.tv_sec * 1000000000L + t.tv_nsec; }
int main(void) {
	struct timespec t; struct timeval v; unsigned char b[8];
	long a = ns(CLOCK_REALTIME);
	syscall(SYS_clock_gettime, CLOCK_REALTIME, &t);
	gettimeofday(&v, 0);
	long d = ns(CLOCK_REALTIME);
	printf("order %d\n", a < t.tv_sec * 1000000000L + t.tv_nsec && t.tv_sec == v.tv_sec && a < d);
	printf("year %ld %ld\n", a / 1000000000L / 31556952 + 1970, (long)time(0) - a / 1000000000L);
	printf("mono %ld\n", ns(CLOCK_MONOTONIC) / 1000000000L);
	printf("cpu %d\n", ns(CLOCK_PROCESS_CPUTIME_ID) < 1000000000L);
	a = ns(CLOCK_MONOTONIC);
	sleep(3600);
	printf("slept %ld\n", (ns(CLOCK_MONOTONIC) - a) / 1000000000L);
	if (getrandom(b, 8, 0) != 8) return 1;
	printf("random %02x%02x%02x %02x\n", b[0], b[1], b[2], ((unsigned char *)getauxval(AT_RANDOM))[0]);
	fflush(stdout);
	a = ns(CLOCK_REALTIME);
	if (fork() == 0) { printf("child %d\n", ns(CLOCK_REALTIME) > a); getrandom(b, 8, 0); printf("its random %02x%02x\n", b[0], b[1]); fflush(stdout);
		execlp("date", "date", "-u", "+%Y-%m-%d", (char *)0); }
	wait(0);
	return 0;
}`

func TestClockAndRandom(t *testing.T) {
	for _, flags := range [][]string{nil, {"-static"}} {
		prog := build(t, clockC, flags...)
		begin := time.Now()
		first := run(t, vtime.Options{Clock: true, Random: true, Seed: [32]byte{1}}, nil, prog)
		for _, want := range []string{"order 1", "year 2023 0", "mono 1000\n", "cpu 1", "slept 3600", "child 1", "2023-11-14"} {
			if !strings.Contains(first, want) {
				t.Errorf("%v: no %q in\n%s", flags, want, first)
			}
		}
		if took := time.Since(begin); took > 30*time.Second {
			t.Errorf("an hour's sleep took %v", took)
		}
		for range 4 {
			if again := run(t, vtime.Options{Clock: true, Random: true, Seed: [32]byte{1}}, nil, prog); again != first {
				t.Errorf("%v: once\n%s\nthen\n%s", flags, first, again)
			}
		}
		if other := run(t, vtime.Options{Clock: true, Random: true, Seed: [32]byte{2}}, nil, prog); other == first {
			t.Error("another seed gives the same")
		}
	}
}

func TestSet(t *testing.T) {
	out := run(t, vtime.Options{Clock: true}, func(w *vtime.World) { w.Set(began + 1000*86400*1e9); w.Set(began) }, "sh", "-c", "sleep 0.1; date -u +%Y-%m-%d")
	if !strings.Contains(out, "2026-08-10") {
		t.Error(out)
	}
}

// TestLanguages draws the same in each run.
func TestLanguages(t *testing.T) {
	for name, args := range map[string][]string{
		"python": {"/usr/bin/python3", "-c", "import os,random,time,uuid; print(random.random(), uuid.uuid4(), os.urandom(8).hex(), int(time.time()), hash('x'))"},
		"node":   {"node", "-e", "console.log(Math.random(), crypto.randomUUID(), Math.floor(Date.now()/1000))"},
		"shell":  {"sh", "-c", "head -c 8 /dev/urandom | od -An -tx1; date +%s"},
	} {
		first := run(t, vtime.Options{Clock: true, Random: true, Seed: [32]byte{3}}, nil, args...)
		for range 2 {
			if again := run(t, vtime.Options{Clock: true, Random: true, Seed: [32]byte{3}}, nil, args...); again != first {
				t.Errorf("%s: once %s, then %s", name, first, again)
			}
		}
	}
}

// TestSignal interrupts a sleep that is held, since another thread computes. It
// would take an hour.
func TestSignal(t *testing.T) {
	out := run(t, vtime.Options{Clock: true}, nil, "/usr/bin/python3", "-c", `
import signal, sys, threading, time
def stop(*a): raise TimeoutError
signal.signal(signal.SIGALRM, stop)
done = False
def compute():
    while not done: pass
threading.Thread(target=compute).start()
signal.setitimer(signal.ITIMER_REAL, 0.2)
try: time.sleep(3600); print("slept")
except TimeoutError: print("interrupted")
done = True`)
	if !strings.Contains(out, "interrupted") {
		t.Error(out)
	}
}

// TestStub compares the committed machine code with what its source makes.
func TestStub(t *testing.T) {
	dir := t.TempDir()
	for _, c := range [][]string{{"as", "stub.asm", "-o", dir + "/stub.o"}, {"objcopy", "-O", "binary", "-j", ".text", dir + "/stub.o", dir + "/stub.bin"}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", c, err, out)
		}
	}
	want, err := os.ReadFile(dir + "/stub.bin")
	if err != nil {
		t.Fatal(err)
	}
	if string(vtime.Stub()) != string(want) {
		t.Error("stub.go is not what stub.asm makes")
	}
}

// BenchmarkClockRead is of a program in C that reads the clock a million times.
func BenchmarkClockRead(b *testing.B) {
	prog := build(b, `#include <stdio.h>
#include <time.h>
#include <unistd.h>
int main(void) { struct timespec t; clock_t c = clock(); for (int i = 0; i < 10000000; i++) clock_gettime(CLOCK_MONOTONIC, &t);
printf("%g\n", (double)(clock() - c) / CLOCKS_PER_SEC * 100); }`)
	for b.Loop() {
		b.Logf("virtual: %s ns a reading", strings.TrimSpace(run(b, vtime.Options{Clock: true}, nil, prog)))
		out, err := exec.Command(prog).Output()
		if err != nil {
			b.Fatal(err)
		}
		b.Logf("native: %s ns a reading", strings.TrimSpace(string(out)))
	}
}

// TestDeadline: a wait until a moment of the world's clock lasts as long as it
// would by that clock, be the machine's far ahead of it or far behind.
func TestDeadline(t *testing.T) {
	const wait = `
import threading, time
def timed(f):
    a = time.monotonic(); f(); d = time.monotonic() - a; print(0.3 <= d < 5 or d)
timed(lambda: threading.Event().wait(0.3))
c = threading.Condition()
with c: timed(lambda: c.wait(0.3))
e = threading.Event()
threading.Timer(0.3, e.set).start()
timed(lambda: e.wait(3600))
`
	for _, mono := range []int64{1_000_000_000, 1 << 60} {
		got := run(t, vtime.Options{Clock: true, Mono: mono}, nil, "python3", "-c", wait)
		if want := "True\nTrue\nTrue\n"; got != want {
			t.Errorf("from %d: %q, want %q", mono, got, want)
		}
	}
}

// TestNotes: who traces the program can tell which files it and its children used.
func TestNotes(t *testing.T) {
	notes := watch.NewNotes()
	run(t, vtime.Options{Clock: true, Random: true, Notes: notes}, nil, "sh", "-c", "cd /etc && cat passwd >/dev/null; ls /usr/include/linux >/dev/null")
	seen := notes.Seen()
	for _, want := range []string{"/etc/passwd", "/usr/bin/cat"} {
		if !slices.ContainsFunc(seen.Files, func(f string) bool { return f == want || "/usr"+f == want }) {
			t.Errorf("not noted: %s; noted are %q", want, seen.Files)
		}
	}
	if !slices.Contains(seen.Listed, "/usr/include/linux") {
		t.Errorf("not noted as listed: %q", seen.Listed)
	}
}
