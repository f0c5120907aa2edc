package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain is also the programs that are watched: those that no shell can play.
func TestMain(m *testing.M) {
	Main()
	if part := os.Getenv("WATCH_TEST_PART"); part != "" {
		parts[part]()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var parts = map[string]func(){
	"deaf": func() {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		fmt.Println("deaf")
		time.Sleep(time.Hour)
	},
	"debugger": func() {
		c := exec.Command("/bin/true")
		c.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
		fmt.Println(c.Run())
	},
	"dirfd": func() {
		dir, err := unix.Open(os.Args[1], unix.O_PATH|unix.O_DIRECTORY, 0)
		must(err)
		fd, err := unix.Openat(dir, "in/file", unix.O_RDONLY, 0)
		must(err)
		unix.Close(fd)
		must(unix.Fchdir(dir))
		_, err = os.Stat("by-cwd")
		must(err)
	},
	"threads": func() {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				runtime.LockOSThread()
				_, err := os.ReadFile(filepath.Join(os.Args[1], fmt.Sprint(i)))
				must(err)
			})
		}
		wg.Wait()
	},
	"trap": func() {
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTRAP)
		syscall.Kill(os.Getpid(), syscall.SIGTRAP)
		fmt.Println(<-c)
	},
	"stopped": func() {
		pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", "kill -STOP $$; exit 5"}, nil)
		must(err)
		var ws syscall.WaitStatus
		_, err = syscall.Wait4(pid, &ws, syscall.WUNTRACED, nil)
		must(err)
		fmt.Println(ws.Stopped())
		must(syscall.Kill(pid, syscall.SIGCONT))
		_, err = syscall.Wait4(pid, &ws, 0, nil)
		must(err)
		fmt.Println(ws.ExitStatus())
	},
	"longpath": func() {
		_, err := os.Stat("/" + strings.Repeat("x/", 3000))
		fmt.Println(errors.Is(err, syscall.ENAMETOOLONG))
		_, _, errno := unix.Syscall(unix.SYS_STAT, 1, 1, 0)
		fmt.Println(errno == unix.EFAULT)
	},
}

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(99)
	}
}

type watched struct {
	*Seen
	out string
}

func (w watched) has(t *testing.T, files ...string) {
	t.Helper()
	for _, f := range files {
		if !slices.Contains(w.Files, f) {
			t.Errorf("%s was not seen; seen: %q", f, w.Files)
		}
	}
}

func (w watched) hasNot(t *testing.T, files ...string) {
	t.Helper()
	for _, f := range files {
		if slices.Contains(w.Files, f) {
			t.Errorf("%s was seen", f)
		}
	}
}

// see runs a program in a folder of its own, which it returns.
func see(t *testing.T, p Program) watched {
	t.Helper()
	var out bytes.Buffer
	p.Stdout, p.Stderr = &out, &out
	if p.Dir == "" {
		p.Dir = "/"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := Run(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	return watched{s, out.String()}
}

func part(t *testing.T, name string, args ...string) Program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Program{Path: self, Args: append([]string{"self"}, args...), Env: []string{"WATCH_TEST_PART=" + name}}
}

func shell(script string) Program {
	return Program{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}}
}

// tree makes files with their own name as content; a name ending in / is a folder.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		path := filepath.Join(dir, n)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(n, "/") {
			err = os.MkdirAll(path, 0o755)
		} else {
			err = os.WriteFile(path, []byte(n), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestSeesFiles(t *testing.T) {
	t.Parallel()
	w := see(t, shell("cd /etc; cat hostname; (ls /etc/apt | sort); exit 3"))
	w.has(t, "/etc/hostname", "/etc/apt", "/bin/sh", "/lib64/ld-linux-x86-64.so.2")
	if !slices.Contains(w.Listed, "/etc/apt") {
		t.Errorf("listed: %q", w.Listed)
	}
	if w.Code != 3 || w.Late || w.MaxRSS == 0 || w.Elapsed == 0 {
		t.Errorf("%+v", w.Seen)
	}
	if !slices.IsSorted(w.Files) || !slices.IsSorted(w.Listed) {
		t.Error("not sorted")
	}
}

func TestRelativePaths(t *testing.T) {
	t.Parallel()
	dir := tree(t, "in/file", "by-cwd")
	w := see(t, part(t, "dirfd", dir))
	w.has(t, dir+"/in/file", dir+"/by-cwd")
	if w.Code != 0 {
		t.Error(w.out)
	}
}

func TestLinkThenUp(t *testing.T) {
	t.Parallel()
	dir := tree(t, "far/away/", "far/file", "file")
	if err := os.Symlink("far/away", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	w := see(t, shell("cat "+dir+"/link/../file"))
	if w.out != "far/file" {
		t.Fatalf("the shell read %q", w.out)
	}
	w.has(t, dir+"/link/../file") // and not dir/file, which is another one
}

func TestScriptsAndChildren(t *testing.T) {
	t.Parallel()
	dir := tree(t, "data")
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n(sh -c 'cat data') &\nwait\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	w := see(t, Program{Path: script, Args: []string{"script"}, Dir: dir, Env: []string{"PATH=/usr/bin:/bin"}})
	shellItself, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	w.has(t, script, dir+"/data", shellItself)
	if w.out != "data" {
		t.Errorf("%q", w.out)
	}
}

func TestThreads(t *testing.T) {
	t.Parallel()
	var names []string
	for i := range 8 {
		names = append(names, fmt.Sprint(i))
	}
	dir := tree(t, names...)
	w := see(t, part(t, "threads", dir))
	for _, n := range names {
		w.has(t, filepath.Join(dir, n))
	}
}

// What the program makes is none of its inputs, but the folder where it does is.
func TestMadeAndGone(t *testing.T) {
	t.Parallel()
	dir := tree(t, "old", "sub/", "made/")
	w := see(t, Program{Path: "/bin/sh", Args: []string{"sh", "-c", "echo x >sub/new; mkdir made; cat old; rm old"},
		Dir: dir, Env: []string{"PATH=/usr/bin:/bin"}})
	w.has(t, dir+"/old", dir+"/sub", dir+"/made")
	w.hasNot(t, dir+"/sub/new")
	if got, err := os.ReadFile(dir + "/sub/new"); string(got) != "x\n" {
		t.Errorf("the program did not do its work: %q %v", got, err)
	}
}

func TestNothingOfTheKernels(t *testing.T) {
	t.Parallel()
	w := see(t, shell("cat /proc/self/stat /sys/kernel/mm/transparent_hugepage/enabled >/dev/null; ls /proc >/dev/null"))
	for _, f := range w.Files {
		if strings.HasPrefix(f, "/proc") || strings.HasPrefix(f, "/sys") || strings.HasPrefix(f, "/dev") {
			t.Error(f)
		}
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	junk := tree(t, "junk") + "/junk"
	if err := os.Chmod(junk, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		p    Program
		code int
		out  string
	}{
		{"code", shell("exit 200"), 200, ""},
		{"signal", shell("kill -SEGV $$"), 128 + 11, ""},
		{"killed child", shell("(sh -c 'kill -9 $$'; echo $?) 2>/dev/null"), 0, "137\n"},
		{"own trap", part(t, "trap"), 0, "trace/breakpoint trap\n"},
		{"debugger", part(t, "debugger"), 0, "fork/exec /bin/true: operation not permitted\n"},
		{"paths that are none", part(t, "longpath"), 0, "true\ntrue\n"},
		{"stopped child", shell("sh -c 'kill -STOP $$; echo on' & sleep 0.2; kill -CONT $! 2>/dev/null; wait; echo end"), 0, "on\nend\n"},
		{"not a program", Program{Path: junk, Args: []string{"x"}}, 127, junk + ": exec format error\n"},
		{"no stdin", shell("cat; echo end"), 0, "end\n"},
		{"stdin", Program{Path: "/bin/cat", Args: []string{"cat"}, Stdin: tree(t, "words") + "/words"}, 0, "words"},
		{"no environment", Program{Path: "/usr/bin/env", Args: []string{"env"}}, 0, ""},
		{"environment", Program{Path: "/usr/bin/env", Args: []string{"env"}, Env: []string{"A=1", "B=x y"}}, 0, "A=1\nB=x y\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := see(t, c.p)
			if w.Code != c.code || w.out != c.out || w.Late {
				t.Errorf("code %d, late %v, output %q; want code %d, output %q", w.Code, w.Late, w.out, c.code, c.out)
			}
		})
	}
}

// Whatever a program leaves behind, Run comes back, and nothing of it lives on.
func TestLeftBehind(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"background": "sleep 1000 & echo $! >pid",
		"daemon":     "setsid sh -c 'echo $$ >pid; exec sleep 1000' & while [ ! -s pid ]; do sleep 0.01; done",
		"stopped":    "sh -c 'echo $$ >pid; kill -STOP $$; sleep 1000' & while [ ! -s pid ]; do sleep 0.01; done; sleep 0.1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := tree(t)
			p := shell(script)
			p.Dir = dir
			start := time.Now()
			see(t, p)
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("took %v", d)
			}
			gone(t, dir)
		})
	}
}

// gone fails if the process whose number is in the file pid is alive.
func gone(t *testing.T, dir string) {
	t.Helper()
	b, err := os.ReadFile(dir + "/pid")
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(b)) + "/stat")
	if err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("still there: %s", stat)
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]Program{
		"asleep":  shell("echo $$ >pid; sleep 1000"),
		"busy":    shell("echo $$ >pid; while :; do :; done"),
		"session": shell("setsid sh -c 'echo $$ >pid; exec sleep 1000'"),
		"deaf":    part(t, "deaf"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p.Dir, p.Limit = tree(t), time.Second
			w := see(t, p)
			if !w.Late || w.Code != 128+9 {
				t.Errorf("late %v, code %d, output %q", w.Late, w.Code, w.out)
			}
			if name == "deaf" {
				if w.out != "deaf\n" {
					t.Errorf("%q", w.out)
				}
				return
			}
			gone(t, p.Dir)
		})
	}
}

// A limit that passes before the program has begun is not an error either.
func TestShortLimit(t *testing.T) {
	t.Parallel()
	for i := range 60 {
		p := shell("yes")
		p.Limit = time.Duration(1 + i*i*2000)
		if w := see(t, p); !w.Late {
			t.Errorf("%v: %+v", p.Limit, w.Seen)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	dir := tree(t)
	p := shell("echo $$ >pid; sleep 1000")
	p.Dir = dir
	go func() {
		for {
			if b, _ := os.ReadFile(dir + "/pid"); len(b) > 0 {
				cancel(cause)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	_, err := Run(ctx, p)
	if !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
	gone(t, dir)
}

func TestErrors(t *testing.T) {
	t.Parallel()
	p := shell("true")
	p.Stdin = "/nowhere"
	if _, err := Run(t.Context(), p); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	p = shell("true")
	p.Dir = "/nowhere"
	if _, err := Run(t.Context(), p); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// A process that stops itself stays stopped, and its parent hears of it.
func TestStopped(t *testing.T) {
	t.Parallel()
	for range 20 {
		if w := see(t, part(t, "stopped")); w.out != "true\n5\n" {
			t.Fatalf("%q", w.out)
		}
	}
}
