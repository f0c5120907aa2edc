package rr

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is also a fake rr: a link to it with that name plays the
// session in the file "session" beside the link. Nothing goes through the
// environment, which belongs to the recorded program.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "rr" {
		// Not os.Exit: under the race detector it takes a second.
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, uintptr(fakeRR(os.Args)), 0, 0)
	}
	os.Exit(m.Run())
}

// fake installs a fake rr that plays the sessions and returns the Info of it.
// A session is the name of a file in testdata or the text itself; the first
// that matches a command line answers.
func fake(t *testing.T, sessions ...string) Info {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, s := range sessions {
		if !strings.Contains(s, "\n") {
			b, err := os.ReadFile(filepath.Join("testdata", s))
			if err != nil {
				t.Fatal(err)
			}
			s = string(b)
		}
		all.WriteString(strings.TrimRight(s, "\n") + "\n\n")
	}
	testdata, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(testdata, filepath.Join(dir, "testdata")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "session"), []byte(all.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "rr")); err != nil {
		t.Fatal(err)
	}
	return Info{Path: filepath.Join(dir, "rr"), Version: "5.6.0"}
}

// inPath makes the fake the rr that is found.
func inPath(t *testing.T, info Info) {
	t.Setenv("PATH", filepath.Dir(info.Path)+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

type block struct {
	argv  []string
	lines []string
}

func fakeRR(argv []string) int {
	home := filepath.Dir(argv[0])
	f, err := os.Open(filepath.Join(home, "session"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "fake rr:", err)
		return 99
	}
	defer f.Close()
	if log, err := os.OpenFile(filepath.Join(home, "calls"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
		fmt.Fprintf(log, "%s\n", strings.Join(argv[1:], " "))
		log.Close()
	}
	var b *block
	for in := bufio.NewScanner(f); in.Scan(); {
		line := in.Text()
		if rest, ok := strings.CutPrefix(line, "$ rr "); ok {
			if b != nil {
				break
			}
			if dir, ok := matches(strings.Fields(rest), argv[1:]); ok {
				b = &block{argv: []string{dir}}
			}
			continue
		}
		if b != nil && (line != "" || len(b.lines) > 0) {
			b.lines = append(b.lines, line)
		}
	}
	if b == nil {
		fmt.Fprintf(os.Stderr, "fake rr: no session for %q\n", argv[1:])
		return 99
	}
	return b.play(home, b.argv[0], argv)
}

// matches compares a command line with a pattern: DIR matches one argument and
// is returned, "..." the rest.
func matches(pattern, args []string) (dir string, ok bool) {
	for i, p := range pattern {
		switch {
		case p == "...":
			return dir, true
		case i >= len(args):
			return "", false
		case p == "DIR":
			dir = args[i]
		case p != args[i]:
			return "", false
		}
	}
	return dir, len(pattern) == len(args)
}

func (b *block) play(home, dir string, argv []string) int {
	if argv[1] == "record" && dir != "" {
		if err := os.Mkdir(dir, 0o750); err != nil {
			fmt.Fprintf(os.Stderr, "[FATAL ./src/TraceStream.cc:1289:make_trace_dir()] Trace directory `%s' already exists.\n", dir)
			return 1
		}
		write(dir, "incomplete", "85\n")
		for _, name := range []string{"data", "events", "mmaps", "tasks"} {
			write(dir, name, "")
		}
	}
	for _, line := range b.lines {
		switch word, arg, _ := strings.Cut(strings.Trim(line, "[]"), " "); {
		case !strings.HasPrefix(line, "["):
			out := os.Stdout
			if rest, ok := strings.CutPrefix(line, "!"); ok {
				out, line = os.Stderr, strings.TrimPrefix(rest, " ")
			}
			if line != "" || out == os.Stderr {
				fmt.Fprintln(out, strings.ReplaceAll(line, "DIR", dir))
			}
		case word == "print" || word == "print!":
			text, err := os.ReadFile(filepath.Join(home, "testdata", arg))
			if err != nil {
				panic(err)
			}
			if word == "print!" {
				os.Stderr.Write(text)
			} else {
				os.Stdout.Write(text)
			}
		case word == "run": // the program itself, for real
			at := slices.Index(argv, "--")
			cmd := exec.Command(argv[at+1], argv[at+2:]...)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
			err := cmd.Run()
			finish(dir)
			if cmd.ProcessState == nil {
				panic(err)
			}
			code, sig := exitOf(cmd.ProcessState)
			if sig != 0 {
				die(sig)
			}
			return code
		case word == "trace" && arg == "complete":
			finish(dir)
		case word == "trace": // it already is incomplete
		case word == "hang":
			c := make(chan os.Signal, 1)
			if arg != "hard" {
				signal.Notify(c, syscall.SIGTERM)
			} else {
				signal.Ignore(syscall.SIGTERM)
			}
			write(home, "hanging", "")
			select {
			case <-c:
			case <-time.After(30 * time.Second):
			}
		case word == "pack":
			for i, name := range []string{"libc.so.6", "ld-linux-x86-64.so.2", "libdl.so.2"} {
				old, _ := filepath.Glob(filepath.Join(dir, "mmap_hardlink_*_"+name))
				for _, o := range old {
					os.Rename(o, filepath.Join(dir, fmt.Sprintf("mmap_pack_%d_%s", i, name)))
				}
			}
		case word == "signal":
			n, _ := strconv.Atoi(arg)
			die(syscall.Signal(n))
		case word == "exit":
			n, _ := strconv.Atoi(arg)
			return n
		default:
			panic("fake rr: unknown line " + line)
		}
	}
	return 0
}

// finish ends a recording as rr does.
func finish(dir string) {
	for _, name := range []string{"mmap_copy_18_librrpreload.so", "mmap_copy_3_librrpage.so", "mmap_copy_5_hello", "mmap_hardlink_24_libdl.so.2", "mmap_hardlink_27_libc.so.6", "mmap_hardlink_9_ld-linux-x86-64.so.2"} {
		write(dir, name, "\x7fELF")
	}
	if err := os.Rename(filepath.Join(dir, "incomplete"), filepath.Join(dir, "version")); err != nil {
		panic(err)
	}
}

func write(dir, name, text string) {
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		panic(err)
	}
}

// die ends the fake by a signal, as rr passes on the signal that killed the
// program.
func die(sig syscall.Signal) {
	// The Go runtime would keep some signals to itself, a shell doesn't.
	err := syscall.Exec("/bin/sh", []string{"sh", "-c", fmt.Sprintf("kill -%d $$", sig)}, nil)
	panic(err)
}

// calls lists the command lines that the fake got.
func calls(t *testing.T, info Info) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(filepath.Dir(info.Path), "calls"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// waitFor waits until the fake hangs.
func waitHanging(t *testing.T, info Info) {
	t.Helper()
	for range 1000 {
		if _, err := os.Stat(filepath.Join(filepath.Dir(info.Path), "hanging")); err == nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the fake rr did not get to hang")
}
