package sites

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// build compiles a program; flags come before its source.
func build(t *testing.T, tool, source string, flags ...string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		t.Fatalf("needs %s", tool)
	}
	out := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command(path, append(flags, "-o", out, source)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64", "GOOS=linux")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, text)
	}
	return out
}

func buildC(t *testing.T, flags ...string) string {
	return build(t, "gcc", "testdata/account.c", append([]string{"-O1", "-pthread"}, flags...)...)
}

func buildGo(t *testing.T, flags ...string) string {
	return build(t, "go", "./testdata/bank", append([]string{"build"}, flags...)...)
}

func scanFile(t *testing.T, path string) *Table {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := Scan(f)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// byName counts the sites in each function that has a symbol.
func byName(t *testing.T, path string, table *Table) map[string][]Site {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	syms, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]Site{}
	for _, fn := range table.Funcs {
		for _, s := range fn {
			name := "?"
			for _, sym := range syms {
				if s.Addr >= sym.Value && s.Addr < sym.Value+sym.Size {
					name = sym.Name
				}
			}
			got[name] = append(got[name], s)
		}
	}
	return got
}

func TestC(t *testing.T) {
	for _, flags := range [][]string{nil, {"-g"}, {"-static", "-g"}, {"-no-pie"}} {
		path := buildC(t, flags...)
		table := scanFile(t, path)
		if table.Go || table.Tracer != "" {
			t.Errorf("%v: taken for %+v", flags, table)
		}
		if (table.Base == 0) != (len(flags) < 2 && (len(flags) == 0 || flags[0] == "-g")) {
			t.Errorf("%v: base %#x", flags, table.Base)
		}
		got := byName(t, path, table)
		for name, want := range map[string]int{"pay": 3, "add": 1, "count": 1, "on_the_stack": 0} {
			// A static program's calls of a library are calls of its own functions, unless debug information tells them apart.
			if len(got[name]) != want {
				t.Errorf("%v: %d sites in %s, want %d", flags, len(got[name]), name, want)
			}
		}
		for name := range got {
			if name != "pay" && name != "add" && name != "count" && name != "main" {
				t.Errorf("%v: sites in %s", flags, name)
			}
		}
		if len(got["add"]) == 1 && len(got["count"]) == 1 && got["add"][0].Group != got["count"][0].Group {
			t.Errorf("%v: two uses of one variable are in groups %#x and %#x", flags, got["add"][0].Group, got["count"][0].Group)
		}
	}
}

func TestGo(t *testing.T) {
	for _, flags := range [][]string{nil, {"-buildmode=pie"}} {
		path := buildGo(t, flags...)
		table := scanFile(t, path)
		if !table.Go {
			t.Errorf("%v: not taken for Go", flags)
		}
		got := byName(t, path, table)
		for name, want := range map[string]int{"main.(*bank).deposit": 5, "main.(*bank).take": 1, "main.(*bank).name": 3} {
			if len(got[name]) < want {
				t.Errorf("%v: %d sites in %s, want at least %d", flags, len(got[name]), name, want)
			}
		}
		if len(got["main.pure"]) > 0 {
			t.Errorf("%v: %d sites in main.pure", flags, len(got["main.pure"]))
		}
		for name := range got {
			if !strings.HasPrefix(name, "main.") {
				t.Errorf("%v: sites in %s", flags, name)
			}
		}
	}
}

// Without symbols the functions come from the unwind tables, and from Go's own
// table; the places must be the same ones.
func TestStripped(t *testing.T) {
	for name, build := range map[string]func(*testing.T, ...string) string{"C": buildC, "Go": buildGo} {
		t.Run(name, func(t *testing.T) {
			path := build(t)
			want := byName(t, path, scanFile(t, path))
			if text, err := exec.Command("strip", path).CombinedOutput(); err != nil {
				t.Fatalf("strip: %v\n%s", err, text)
			}
			got := map[uint64]bool{}
			for _, fn := range scanFile(t, path).Funcs {
				for _, s := range fn {
					got[s.Addr] = true
				}
			}
			n := 0
			for fn, list := range want {
				for _, s := range list {
					n++
					if !got[s.Addr] {
						t.Errorf("%s: the site at %#x is lost", fn, s.Addr)
					}
				}
			}
			if len(got) > n+20 {
				t.Errorf("%d sites, with symbols %d", len(got), n)
			}
		})
	}
}

var codeLine = regexp.MustCompile(`^\s*([0-9a-f]+):\t`)

// A breakpoint in the middle of an instruction makes another program of it.
func TestBoundaries(t *testing.T) {
	for name, path := range map[string]string{"C": buildC(t), "static C": buildC(t, "-static"), "Go": buildGo(t), "this test": os.Args[0]} {
		out, err := exec.Command("objdump", "-d", "--no-show-raw-insn", path).Output()
		if err != nil {
			t.Fatalf("objdump: %v", err)
		}
		starts := map[uint64]bool{}
		for line := range bytes.Lines(out) {
			if m := codeLine.FindSubmatch(line); m != nil {
				a, _ := strconv.ParseUint(string(m[1]), 16, 64)
				starts[a] = true
			}
		}
		n := 0
		for _, fn := range scanFile(t, path).Funcs {
			for _, s := range fn {
				n++
				if !starts[s.Addr] {
					t.Errorf("%s: %#x is inside of an instruction", name, s.Addr)
				}
			}
		}
		if n == 0 || len(starts) == 0 {
			t.Errorf("%s: %d sites, %d instructions", name, n, len(starts))
		}
	}
}

func TestTracer(t *testing.T) {
	path := buildC(t)
	if table := scanFile(t, path); table.Tracer != "" {
		t.Errorf("without a sanitizer: %q", table.Tracer)
	}
	if table := scanFile(t, buildC(t, "-fsanitize=address")); table.Tracer == "" {
		t.Error("LeakSanitizer is not seen")
	}
	if path, err := exec.LookPath("gdb"); err == nil && scanFile(t, path).Tracer == "" {
		t.Error("gdb is not seen")
	}
}

func TestNotELF(t *testing.T) {
	for _, text := range []string{"", "#!/bin/sh\n", "\x7fELF", "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 60)} {
		if _, err := Scan(strings.NewReader(text)); !errors.Is(err, ErrNotELF) {
			t.Errorf("%q: error %v", text, err)
		}
	}
}

func TestAppend(t *testing.T) {
	table := &Table{Base: 0x400000, Funcs: [][]Site{{{0x401000, 7}, {0x401008, 1 << 31}}, {{0x402000, 0xab}}}}
	want := "file /a b c 400000\nfn\n401000 7\n401008 80000000\nfn\n402000 ab\n"
	if got := string(table.Append(nil, "/a b")); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzScan(f *testing.F) {
	if exe, err := os.ReadFile("/bin/true"); err == nil {
		f.Add(exe)
	}
	f.Fuzz(func(t *testing.T, b []byte) { Scan(bytes.NewReader(b)) })
}
