package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain is also a recorder that is killed: see TestDiesWithUs.
func TestMain(m *testing.M) {
	if dir := os.Getenv("VM_TEST_RECORDER"); dir != "" {
		recordForever(dir)
	}
	os.Exit(m.Run())
}

// testBase is the guest that recordings of small programs start from, out of
// the cache that the program itself uses.
var testBase = sync.OnceValues(func() (*Base, error) {
	cache := os.Getenv("TAPEDECK_CACHE")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		cache = filepath.Join(dir, "tapedeck")
	}
	m := DefaultMachine()
	m.Memory = 256
	return EnsureBase(context.Background(), cache, m, func(string) {})
})

func base(t *testing.T) *Base {
	t.Helper()
	b, err := testBase()
	if err != nil {
		t.Fatalf("%v (make test installs what is missing)", err)
	}
	return b
}

// trial packs the trial program into a world.
func trial(ctx context.Context, dir string) (*World, error) {
	prog := filepath.Join(dir, "trial")
	if err := os.WriteFile(prog, TrialProgram(), 0o755); err != nil {
		return nil, err
	}
	return BuildWorld(ctx, dir, Program{Path: prog, Args: []string{"trial"}, Dir: "/"}, []string{prog}, "", nil)
}

const trialParams = "seed=7\nnow=1700000000\nuid=0\ngid=0\n"

// A folder that needs every kind of quoting, and is longer than a socket's path may be.
func oddDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a, b,,c\nd \"e\"", strings.Repeat("long", 40))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func sub(t *testing.T, dir, name string) string {
	t.Helper()
	dir = filepath.Join(dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRecordReplay(t *testing.T) {
	t.Parallel()
	dir := oddDir(t)
	w, err := trial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	spec := Spec{Mode: Record, Base: base(t), Image: w.Image, Params: trialParams, Log: filepath.Join(dir, LogFile), Dir: sub(t, dir, "record")}
	rec, err := Run(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	told, err := Tell(rec.Frames)
	if err != nil || string(told.Stdout) != "recorded\n" || told.Outcome.Failed() || told.Pid == 0 {
		t.Fatalf("%+v, %v", told, err)
	}
	count, err := CountLog(spec.Log)
	if err != nil || rec.Instructions < count.Shutdown || rec.Instructions > count.Total {
		t.Errorf("QEMU says %d instructions, the log %+v, %v", rec.Instructions, count, err)
	}
	if left, _ := filepath.Glob(spec.Dir + "/*.qcow2"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	replay := func(t *testing.T, name string, change func(*Spec)) (*Result, error) {
		t.Helper()
		s := spec
		s.Mode, s.Dir = Replay, sub(t, dir, name)
		change(&s)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
		defer cancel()
		start := time.Now()
		r, err := Run(ctx, s)
		if d := time.Since(start); d > 40*time.Second {
			t.Errorf("%s: took %v", name, d)
		}
		return r, err
	}
	t.Run("identical", func(t *testing.T) {
		t.Parallel()
		before, err := Digest(w.Image)
		if err != nil {
			t.Fatal(err)
		}
		r, err := replay(t, "identical", func(*Spec) {})
		if err != nil {
			t.Fatal(err)
		}
		if d := Compare(rec.Frames, r.Frames); d != nil {
			t.Error(d)
		}
		if r.Instructions < count.Shutdown || r.Instructions > count.Total {
			t.Errorf("%d instructions, the log has %+v", r.Instructions, count)
		}
		if after, _ := Digest(w.Image); after != before {
			t.Error("the replay changed the image")
		}
	})
	log, err := os.ReadFile(spec.Log)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(spec.Log, 0o400); err != nil {
		t.Fatal(err)
	}
	// A replay of something else ends, soon, and not as if nothing had been.
	for name, change := range map[string]func(*Spec){
		"other params":  func(s *Spec) { s.Params = "seed=8\nnow=1700000000\nuid=0\ngid=0\n" },
		"cut log":       func(s *Spec) { s.Log = changed(t, dir, log[:len(log)*2/3]) },
		"no events":     func(s *Spec) { s.Log = changed(t, dir, log[:logHeader]) },
		"empty log":     func(s *Spec) { s.Log = changed(t, dir, nil) },
		"noise":         func(s *Spec) { s.Log = changed(t, dir, append(log[:len(log)/2:len(log)/2], "what is this, then?"...)) },
		"other version": func(s *Spec) { s.Log = changed(t, dir, append([]byte{0xff}, log[1:]...)) },
		"no log":        func(s *Spec) { s.Log = filepath.Join(dir, "nothing") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := replay(t, name, func(s *Spec) { s.Stall = 2 * time.Second; change(s) })
			if err == nil && Compare(rec.Frames, r.Frames) == nil && r.Instructions >= count.Shutdown {
				t.Error("it passed for identical")
			}
		})
	}
}

func changed(t *testing.T, dir string, log []byte) string {
	t.Helper()
	f, err := os.CreateTemp(dir, "log-*")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(log); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// launchStopped starts a recording that waits for a debugger, for ever.
func launchStopped(ctx context.Context, b *Base, dir string) (*Instance, error) {
	w, err := trial(ctx, dir)
	if err != nil {
		return nil, err
	}
	return Launch(ctx, Spec{Mode: Record, Base: b, Image: w.Image, Params: trialParams, Log: filepath.Join(dir, LogFile), Dir: dir,
		Debug: filepath.Join(dir, "stub")})
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m, err := launchStopped(t.Context(), base(t), dir)
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := m.wait(ctx, nil); !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
	pid := m.cmd.Process.Pid
	m.Kill()
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("QEMU is still there: %v", err)
	}
	if _, err := Launch(ctx, Spec{Mode: Record, Base: base(t), Image: "x", Params: trialParams, Log: dir + "/log", Dir: dir}); !errors.Is(err, cause) {
		t.Errorf("launched all the same: %v", err)
	}
	if left, _ := filepath.Glob(dir + "/*.qcow2"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// QEMU's own words reach the user when it does not start.
func TestLaunchFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := *base(t)
	b.Machine.CPU = "no-such-cpu"
	_, err := Run(t.Context(), Spec{Mode: Record, Base: &b, Image: "/dev/null", Params: trialParams, Log: dir + "/log", Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "no-such-cpu") {
		t.Errorf("%v", err)
	}
	b = *base(t)
	b.QEMU.Path = "/nowhere/qemu"
	if _, err := Run(t.Context(), Spec{Mode: Record, Base: &b, Image: "/dev/null", Log: dir + "/log", Dir: dir}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// recordForever is the process that TestDiesWithUs kills.
func recordForever(dir string) {
	b, err := testBase()
	if err == nil {
		var m *Instance
		if m, err = launchStopped(context.Background(), b, dir); err == nil {
			fmt.Println(m.cmd.Process.Pid)
			// Threads come and go: QEMU must not end with the one that started it.
			for range 50 {
				go func() { runtime.LockOSThread(); time.Sleep(time.Millisecond) }()
			}
			select {}
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

func TestDiesWithUs(t *testing.T) {
	t.Parallel()
	base(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "VM_TEST_RECORDER="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(line)
	}
	time.Sleep(100 * time.Millisecond)
	if !alive(pid) {
		t.Error("QEMU did not stay")
	}
	cmd.Process.Kill()
	cmd.Wait()
	for end := time.Now().Add(5 * time.Second); alive(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("QEMU lives on")
		}
	}
}

func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// What QEMU has no need for, it can't reach, where the kernel helps.
func TestConfine(t *testing.T) {
	t.Parallel()
	_, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	landlock := errno == 0
	dir := t.TempDir()
	mine, other := sub(t, dir, "mine"), sub(t, dir, "other")
	for _, d := range []string{mine, other} {
		if err := os.WriteFile(d+"/file", []byte(d), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sh := func(script string) error {
		done := make(chan error)
		go func() {
			runtime.LockOSThread()
			if err := confine(rights{write: []string{mine}, read: append(QEMU{Path: "/bin/sh"}.system(), dir+"/gone")}); err != nil {
				done <- err
				return
			}
			cmd := exec.Command("/bin/sh", "-c", script)
			cmd.Dir = "/"
			done <- cmd.Run()
		}()
		return <-done
	}
	for script, allowed := range map[string]bool{
		"true":                        true,
		"cat " + mine + "/file":       true,
		"echo x >" + mine + "/new":    true,
		"cat " + other + "/file":      !landlock,
		"echo x >" + other + "/new":   !landlock,
		"ls " + other:                 !landlock,
		"cat /etc/shadow /etc/passwd": !landlock,
		"rm -f " + other + "/file":    !landlock,
		"exec 3<>/dev/null":           true,
	} {
		if err := sh(script); (err == nil) != allowed {
			t.Errorf("%s: %v; allowed: %v", script, err, allowed)
		}
	}
	if err := os.WriteFile(other+"/file", nil, 0o600); err != nil {
		t.Errorf("we have lost our own rights: %v", err)
	}
}

func TestFindQEMU(t *testing.T) {
	q, err := FindQEMU(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !digestText.MatchString(q.Digest) || !versionText.MatchString(q.Version) || !strings.Contains(q.Version, ".") || !q.Sandbox || !q.Confine {
		t.Errorf("%+v", q)
	}
	t.Run("odd builds", func(t *testing.T) {
		for name, c := range map[string]struct {
			script string
			want   QEMU
		}{
			"no sandbox": {"[ \"$1\" != -sandbox ] || exit 1; echo QEMU emulator version 9.1", QEMU{Version: "9.1", Confine: true}},
			"escapes":    {"printf 'QEMU emulator version 9\\033[31m\\n'", QEMU{Version: "9[31m", Confine: true, Sandbox: true}},
		} {
			dir := t.TempDir()
			path := filepath.Join(dir, "qemu-system-x86_64")
			if err := os.WriteFile(path, []byte("#!/bin/sh\n"+c.script), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", dir+":/usr/bin:/bin")
			got, err := FindQEMU(t.Context())
			got.Digest, got.Path = "", ""
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
			}
		}
		t.Setenv("PATH", t.TempDir())
		if _, err := FindQEMU(t.Context()); err == nil || !strings.Contains(err.Error(), "need qemu-system-x86_64") {
			t.Errorf("%v", err)
		}
	})
}

// A log that could not be written must not pass for a recording.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, err := trial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(t.Context(), Spec{Mode: Record, Base: base(t), Image: w.Image, Params: trialParams, Log: "/dev/full", Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "write /dev/full") {
		t.Errorf("%v", err)
	}
}
