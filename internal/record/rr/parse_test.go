package rr

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTraceInfo(t *testing.T) {
	info, err := parseTraceInfo(testdata(t, "traceinfo.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.UUID.String(); got != "465e8c34-2b9e-08e1-d58c-17ad97b91ae8" {
		t.Errorf("uuid %s", got)
	}
	if info.TicksSemantics != "rcb" || info.Chaos || info.CPUIDFaulting || info.Compatibility != 3 || info.BindToCPU != 1 || info.Uname.Release != "6.18.44" {
		t.Errorf("got %+v", info)
	}
	want := map[string]any{"vendor": "AuthenticAMD", "family": 26, "model": 2, "stepping": 1, "name": "AMD EPYC", "xcr0": "0xe7"}
	if got := info.CPU(); !reflect.DeepEqual(got, want) {
		t.Errorf("cpu %v, want %v", got, want)
	}
	for _, bad := range []string{
		"", "[]", "{", `{"uuid":[1]}`, `{"uuid":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,256]}`, `{"uuid":"x"}`,
		`{"cpuidRecords":[[1,2,3]]}`, `{"environ":[1]}`, strings.Repeat(" ", maxTraceInfo+1),
	} {
		if _, err := parseTraceInfo([]byte(bad)); err == nil {
			t.Errorf("%.40q: no error", bad)
		}
	}
	if len((TraceInfo{}).CPU()) != 0 {
		t.Error("a CPU out of nothing")
	}
}

func TestScrubEnv(t *testing.T) {
	environ := []string{
		"TZ=UTC", "AWS_SECRET_ACCESS_KEY=hunter2", "FEATURE_FLAGS=checkout_v2=false", "PATH=/home/jo/bin",
		"hunter2", "=hunter2", "hunter 2=hunter2", "2HUNTER=x", "LANG=", "PATH=again", strings.Repeat("A", 200) + "=x", "BASH_FUNC_f%%=() { hunter2; }",
	}
	kept, withheld := scrubEnv(environ, []string{"FEATURE_FLAGS"})
	if want := map[string]string{"TZ": "UTC", "LANG": "", "FEATURE_FLAGS": "checkout_v2=false"}; !reflect.DeepEqual(kept, want) {
		t.Errorf("kept %v, want %v", kept, want)
	}
	if want := []string{"(malformed)", "AWS_SECRET_ACCESS_KEY", "PATH"}; !slices.Equal(withheld, want) {
		t.Errorf("withheld %v, want %v", withheld, want)
	}
}

func TestParsePS(t *testing.T) {
	got := parsePS([]byte("PID\tPPID\tEXIT\tCMD\n591\t--\t0\t./hello\n592 (2)\t591\t-11\tsh -c a\tb\nsecond line\n593\t592\t3\t(forked without exec)\n"))
	want := []Process{
		{PID: 591, Command: "./hello"},
		{PID: 592, Parent: 591, Code: 139, Signal: 11, Command: "sh -c a\tb\nsecond line"},
		{PID: 593, Parent: 592, Code: 3, Command: "(forked without exec)"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := parsePS(nil); got != nil {
		t.Errorf("got %+v", got)
	}
}

func TestParseLaunch(t *testing.T) {
	tests := []struct {
		name, line string
		want       launch
		err        string
	}{
		{
			name: "5.9, seen",
			line: "  'gdb' '-l' '10000' '-ex' 'set sysroot /' '-ex' 'target extended-remote 127.0.0.1:1172' '/t/hello-0/mmap_copy_5_hello' ",
			want: launch{addr: "127.0.0.1:1172", exe: "/t/hello-0/mmap_copy_5_hello", args: []string{"-l", "10000", "-ex", "set sysroot /", "-ex", "target extended-remote 127.0.0.1:1172"}},
		},
		{
			name: "before 5.9",
			line: "  gdb '-l' '10000' '-ex' 'target extended-remote 127.0.0.1:15597' '/usr/bin/firefox'",
			want: launch{addr: "127.0.0.1:15597", exe: "/usr/bin/firefox", args: []string{"-l", "10000", "-ex", "target extended-remote 127.0.0.1:15597"}},
		},
		{
			name: "no host, spaces and a quote in the path",
			line: "  gdb '-l' '10000' '-ex' 'target extended-remote :15597' '/home/jo's dir/a b'",
			want: launch{addr: "127.0.0.1:15597", exe: "/home/jo's dir/a b", args: []string{"-l", "10000", "-ex", "target extended-remote 127.0.0.1:15597"}},
		},
		{
			name: "lldb",
			line: "  'lldb' '--source-quietly' '-o' 'gdb-remote 127.0.0.1:1172' '/t/a' ",
			want: launch{addr: "127.0.0.1:1172", exe: "/t/a", args: []string{"-o", "target extended-remote 127.0.0.1:1172"}},
		},
		{
			name: "commands that rr does not give are left out",
			line: "  'gdb' '-x' '/t/evil' '-l' 'x' '-ex' 'shell rm -rf /' '-ex' 'set $a = $_shell(\"id\")' '-ex' 'set sysroot /x;shell id y' '-ex' 'target extended-remote localhost:1' '/t/a'",
			want: launch{addr: "127.0.0.1:1", exe: "/t/a", args: []string{"-ex", "target extended-remote 127.0.0.1:1"}},
		},
		{name: "another machine", line: "  'gdb' '-ex' 'target extended-remote 203.0.113.9:1172' '/t/a'", err: "no port of this machine"},
		{name: "no port", line: "  'gdb' '-ex' 'target extended-remote 127.0.0.1:0' '/t/a'", err: "no port of this machine"},
		{name: "no target", line: "  'gdb' '-l' '10000' '/t/a'", err: "no target"},
		{name: "a pipe for a target", line: "  'gdb' '-ex' 'target extended-remote | id' '/t/a'", err: "no target"},
		{name: "no program", line: "  'gdb' '-ex' 'target extended-remote 127.0.0.1:1' '--args'", err: "no program"},
		{name: "control characters", line: "  'gdb' '-ex' 'target extended-remote 127.0.0.1:1' '/t/a\x1b[2J'", err: "unusual path"},
		{name: "gdb alone", line: "  'gdb'", err: "no arguments"},
		{name: "no quotes", line: "hello", err: "no quoted command"},
		{name: "nothing", line: "", err: "no quoted command"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := parseLaunch(tt.line)
			if tt.err != "" {
				if got.err == nil || !strings.Contains(got.err.Error(), tt.err) || !errors.Is(got.err, errNoLine) {
					t.Fatalf("error %v, want %q", got.err, tt.err)
				}
				return
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// TestLaunchScanner feeds the announcement in pieces of every size.
func TestLaunchScanner(t *testing.T) {
	text := []byte("noise\n" + strings.Repeat("x", 3*maxLaunchLine) + "\nLaunch debugger with\n  'gdb' '-ex' 'target extended-remote 127.0.0.1:1172' '/t/a' \nLaunch gdb with\n  gdb '-ex' 'target extended-remote 127.0.0.1:9' '/t/b'\n")
	for _, size := range []int{1, 2, 3, 7, 64, 1000, len(text)} {
		l := newLaunchScanner()
		for chunk := range slices.Chunk(text, size) {
			if n, err := l.Write(chunk); n != len(chunk) || err != nil {
				t.Fatal(n, err)
			}
		}
		got := <-l.found
		if got.err != nil || got.addr != "127.0.0.1:1172" {
			t.Errorf("pieces of %d: %+v", size, got)
		}
		if cap(l.line) > 2*maxLaunchLine+1000 {
			t.Errorf("pieces of %d: a line of %d bytes kept", size, cap(l.line))
		}
	}
}

func TestVersionAndHelp(t *testing.T) {
	for text, want := range map[string]string{"rr version 5.6.0\n": "5.6.0", "rr version 5.9.0 \n": "5.9.0", "railroad 1.0\n": "", "": ""} {
		if got := parseVersion([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if hasSoftwareCounters(testdata(t, "help-5.6.txt")) {
		t.Error("5.6.0 has no software counters")
	}
	if !hasSoftwareCounters(testdata(t, "help-5.9-software.txt")) {
		t.Error("software counters not seen")
	}
}

func TestCapture(t *testing.T) {
	var tee bytes.Buffer
	c := newCapture(&tee, 10)
	var all []byte
	for i := range 100 {
		p := bytes.Repeat([]byte{byte('a' + i%26)}, i%7)
		all = append(all, p...)
		c.Write(p)
		if want := all[max(0, len(all)-10):]; !bytes.Equal(c.kept(), want) {
			t.Fatalf("kept %q, want %q", c.kept(), want)
		}
	}
	if !bytes.Equal(tee.Bytes(), all) || c.output().Bytes != int64(len(all)) || cap(c.tail) > 64 {
		t.Errorf("teed %d, counted %d of %d, cap %d", tee.Len(), c.n, len(all), cap(c.tail))
	}
	bad := newCapture(failingWriter{}, 10)
	if n, err := bad.Write([]byte("hello")); n != 5 || err != nil || bad.teeErr == nil {
		t.Errorf("a failing reader must not reach the program: %d %v", n, err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("gone") }

// FuzzParse runs every parser of rr's output; none may fail but by an error, or
// let a command or an address through that rr would not give.
func FuzzParse(f *testing.F) {
	f.Add(testdata(f, "traceinfo.json"))
	f.Add([]byte("PID\tPPID\tEXIT\tCMD\n591\t--\t-11\t./hello\n"))
	f.Add([]byte("Launch debugger with\n  'gdb' '-l' '10000' '-ex' 'set sysroot /' '-ex' 'target extended-remote 127.0.0.1:1172' '/t/a' \n"))
	f.Add([]byte("[FATAL ./src/PerfCounters_x86.h:114:compute_cpu_microarch()] AMD CPU type 0xf20 (ext family 0xb) unknown\n"))
	f.Add([]byte(" (task 1 (rec:2) at time 3)\n -> Assertion `x' failed\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		if info, err := parseTraceInfo(b); err == nil {
			for k, v := range info.CPU() {
				if s, ok := v.(string); ok && strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
					t.Errorf("cpu %s: %q", k, s)
				}
			}
			kept, withheld := scrubEnv(info.Environ, nil)
			for name := range kept {
				if !slices.Contains(keptEnv, name) {
					t.Errorf("kept %q", name)
				}
			}
			for _, name := range withheld {
				if name != "(malformed)" && !plainName(name) {
					t.Errorf("withheld %q", name)
				}
			}
		}
		parsePS(b)
		parseVersion(b)
		hasSoftwareCounters(b)
		saidWarnings(b)
		if err := diagnoseReplay(host{}, "1", 1, b); err == nil || len(err.Error()) > 1000 || strings.Contains(err.Error(), "\n") {
			t.Errorf("diagnosis %q", err)
		}
		l := newLaunchScanner()
		l.Write(b)
		for _, got := range []launch{parseLaunch(string(b)), drain(l)} {
			if got.err != nil || got.addr == "" {
				continue
			}
			if !strings.HasPrefix(got.addr, "127.") && !strings.HasPrefix(got.addr, "[::1]:") {
				t.Errorf("address %q", got.addr)
			}
			for i := 0; i+1 < len(got.args); i += 2 {
				v := got.args[i+1]
				if !strings.HasPrefix(v, "set sysroot ") && v != "target extended-remote "+got.addr && strings.Trim(v, "0123456789") != "" {
					t.Errorf("argument %q", v)
				}
			}
		}
	})
}

func drain(l *launchScanner) launch {
	select {
	case got := <-l.found:
		return got
	default:
		return launch{}
	}
}
