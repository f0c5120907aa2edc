package vm

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// encode writes frames as guest/init.c does.
func encode(frames ...Frame) []byte {
	var b []byte
	for _, f := range frames {
		b = append(b, byte(f.Kind))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Data)))
		b = binary.LittleEndian.AppendUint64(b, f.TSC)
		b = append(b, f.Data...)
	}
	return b
}

func decode(b []byte) (frames []Frame, err error) {
	r := bufio.NewReader(bytes.NewReader(b))
	for {
		f, err := ReadFrame(r)
		if err != nil {
			return frames, err
		}
		frames = append(frames, f)
	}
}

// someFrames are frames of every kind with content of every sort.
func someFrames(seed uint64) []Frame {
	rnd := rand.New(rand.NewPCG(seed, 1))
	texts := []string{"", "plain\n", "\x00\xff\xfe", "naïve ☃\u2028", "\xed\xa0\x80", "<&>\"\\", strings.Repeat("\x01", 3000), "\ufffd"}
	var frames []Frame
	for kind := range frameNames {
		for _, s := range texts {
			frames = append(frames, Frame{Kind: kind, TSC: rnd.Uint64(), Data: []byte(s)})
		}
	}
	return frames
}

func TestFramesRoundTrip(t *testing.T) {
	t.Parallel()
	want := append(someFrames(1), Frame{Kind: FrameStdout, Data: bytes.Repeat([]byte{7}, maxFrame)})
	got, err := decode(encode(want...))
	if err != io.EOF {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("not what was written")
	}
}

func TestFrameTruncated(t *testing.T) {
	t.Parallel()
	whole := encode(Frame{Kind: FrameStdout, TSC: 1, Data: []byte("hello")}, Frame{Kind: FrameExit, TSC: 2, Data: []byte("code 0")})
	first := frameHead + 5
	for n := range whole {
		frames, err := decode(whole[:n])
		wantErr := io.ErrUnexpectedEOF
		if n == 0 || n == first {
			wantErr = io.EOF
		}
		if err != wantErr || len(frames) != min(1, n/first) {
			t.Errorf("%d bytes: %d frames, %v", n, len(frames), err)
		}
	}
}

func TestFrameTooLong(t *testing.T) {
	t.Parallel()
	for _, n := range []uint32{maxFrame + 1, 1 << 31, 1<<32 - 1} {
		h := append([]byte{'1'}, binary.LittleEndian.AppendUint32(nil, n)...)
		h = append(h, make([]byte, 8)...)
		if _, err := ReadFrame(bufio.NewReader(bytes.NewReader(h))); err == nil || !strings.Contains(err.Error(), "limit") {
			t.Errorf("%d: %v", n, err)
		}
	}
}

func TestConsoleRoundTrip(t *testing.T) {
	t.Parallel()
	want := someFrames(2)
	var b bytes.Buffer
	if err := WriteConsole(&b, want); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(b.Bytes(), []byte("\n")); n != len(want) {
		t.Errorf("%d lines of %d frames", n, len(want))
	}
	got, err := parseConsole(&b)
	if err != nil {
		t.Fatal(err)
	}
	if d := Compare(want, got); d != nil {
		t.Error(d)
	}
}

func TestConsoleLargestFrame(t *testing.T) {
	t.Parallel()
	for _, c := range []byte{0, '"', 0xff} { // each longer in JSON than it is
		want := []Frame{{Kind: FrameStdout, Data: bytes.Repeat([]byte{c}, maxFrame)}}
		var b bytes.Buffer
		if err := WriteConsole(&b, want); err != nil {
			t.Fatal(err)
		}
		got, err := parseConsole(&b)
		if err != nil {
			t.Fatal(err)
		}
		if d := Compare(want, got); d != nil {
			t.Errorf("%#x: differs", c)
		}
	}
}

func TestConsoleUnknownKind(t *testing.T) {
	t.Parallel()
	err := WriteConsole(io.Discard, []Frame{{Kind: '?'}})
	if err == nil {
		t.Error("a frame that could not be read back was written")
	}
}

func TestConsoleBrokenLines(t *testing.T) {
	t.Parallel()
	good := `{"kind":"start","tsc":1,"text":"80"}` + "\n"
	for bad, want := range map[string]string{
		"nonsense\n":                             "line 2",
		`{"kind":"exit"` + "\n":                  "line 2",
		`{"kind":"sing","tsc":1}` + "\n":         `unknown kind "sing"`,
		`{"kind":"stdout","base64":"!!"}` + "\n": "illegal base64",
		`{"kind":"stdout","tsc":-1}` + "\n":      "line 2",
		`{"kind":"stdout","tsc":"x"}` + "\n":     "line 2",
		"[]\n":                                   "line 2",
		"\n":                                     "line 2",
		strings.Repeat("x", 8*maxFrame+1) + "\n": "line 2: bufio.Scanner: token too long",
		`{"kind":"stdout","text":"` + strings.Repeat("x", maxFrame+1) + `"}`: "limit",
	} {
		_, err := parseConsole(strings.NewReader(good + bad))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q in it", bad, err, want)
		}
	}
	if frames, err := parseConsole(strings.NewReader(good + good[:len(good)-1])); err != nil || len(frames) != 2 {
		t.Errorf("without a newline at the end: %d frames, %v", len(frames), err)
	}
}

func TestTell(t *testing.T) {
	t.Parallel()
	told, err := Tell([]Frame{
		{Kind: FrameStart, TSC: 7, Data: []byte("80")}, {Kind: FrameStdout, Data: []byte("a")}, {Kind: FrameStderr, Data: []byte("e")},
		{Kind: FrameStdout, Data: []byte("b")}, {Kind: FrameOpens, Data: []byte("trace")}, {Kind: FrameMemory}, {Kind: FrameExit, Data: []byte("signal 11")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if string(told.Stdout) != "ab" || string(told.Stderr) != "e" || told.Pid != 80 || told.Start != 7 || !told.OutOfMemory || told.Lookups != "trace" {
		t.Errorf("%+v", told)
	}
	for text, want := range map[string]string{
		"code 0": "exit code 0", "code 3": "exit code 3", "signal 11": "killed by SIGSEGV (exit code 139)",
		"timeout": "still running at its time limit", "code 99999": "exit code 159",
	} {
		if got := parseExit(text).String(); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if told, _ := Tell(nil); !told.Outcome.Cut || !told.Outcome.Failed() {
		t.Errorf("a run without an end: %+v", told.Outcome)
	}
	var start *StartError
	if _, err := Tell([]Frame{{Kind: FrameError, Data: []byte("/x: Exec format error")}}); !errors.As(err, &start) {
		t.Errorf("%v", err)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	a := []Frame{{FrameStart, 1, []byte("80")}, {FrameStdout, 2, []byte("x")}, {FrameExit, 3, []byte("code 0")}}
	change := func(i int, f Frame) []Frame {
		b := append([]Frame{}, a...)
		b[i] = f
		return b
	}
	for _, c := range []struct {
		name, want string
		got        []Frame
	}{
		{"same", "", a},
		{"shorter", "exit: recorded exit at 3 ns", a[:2]},
		{"longer", "stdout: recorded nothing more", append(append([]Frame{}, a...), a[1])},
		{"other content", "stdout at 2 ns", change(1, Frame{FrameStdout, 2, []byte("y")})},
		{"other time", "stdout at 2 ns", change(1, Frame{FrameStdout, 4, []byte("x")})},
		{"other kind", "stdout at 2 ns", change(1, Frame{FrameStderr, 2, []byte("x")})},
	} {
		d := Compare(a, c.got)
		if (d == nil) != (c.want == "") || d != nil && !strings.HasPrefix(d.String(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, d, c.want)
		}
	}
}
