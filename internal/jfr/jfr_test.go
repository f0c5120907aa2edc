package jfr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"
)

// secrets are what the recorded program had in its environment, its command
// line, its events, exceptions, threads and paths. None may be left.
var secrets = []string{"mail.example", "pochta.example", "correct-horse", "hunter2", "4111111111111111", "s3cr3t-of-the-environment", "pr0perty-s3cret"}

// replacement stands for the scrubber of the product.
var looksPrivate = regexp.MustCompile(`[^\s"=]+@[^\s"=]+|4111111111111111|hunter2[-\w]*|s3cr3t[-\w]*|pr0perty[-\w]*`)

func clean(f Field, text string) string {
	if strings.HasPrefix(text, "tok_") {
		return text
	}
	if strings.Contains(strings.ToLower(f.Name), "password") {
		return "tok_password_" + fmt.Sprint(len(text))
	}
	return looksPrivate.ReplaceAllString(text, "tok_x")
}

// recording makes one with the JDK, once for all tests.
var recording = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tapedeck-jfr-test-")
	if err != nil {
		return "", err
	}
	source, err := filepath.Abs("testdata/Shop.java")
	if err != nil {
		return "", err
	}
	if out, err := exec.Command("javac", "-d", dir, source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("javac: %w\n%s", err, out)
	}
	secret := filepath.Join(dir, "of-bob@mail.example.org.txt")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "shop.jfr")
	// Small chunks, so that there are several.
	c := exec.Command("java", "-XX:FlightRecorderOptions=maxchunksize=1m", "-XX:StartFlightRecording=settings=profile,jdk.JavaExceptionThrow#enabled=true,filename="+file,
		"-Ddb.password=pr0perty-s3cret", "-cp", dir, "Shop", "25000", secret)
	c.Env = append(os.Environ(), "MY_SECRET=s3cr3t-of-the-environment", "API_PASSWORD=hunter2")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("java: %w\n%s", err, out)
	}
	return file, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if file, err := recording(); err == nil && code == 0 {
		_ = os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(code)
}

func read(t testing.TB) []byte {
	t.Helper()
	file, err := recording()
	if err != nil {
		t.Fatalf("%v (make test installs a JDK)", err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func scrubbed(t testing.TB, b []byte) ([]byte, Report) {
	t.Helper()
	var out bytes.Buffer
	rep, err := Scrub(&out, bytes.NewReader(b), int64(len(b)), clean)
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), rep
}

// The JDK's own tool reads the result, and finds the same in it but for the
// strings that were replaced.
func TestAgainstJDK(t *testing.T) {
	b := read(t)
	out, rep := scrubbed(t, b)
	if rep.Chunks < 2 {
		t.Fatalf("%d chunks: the test needs several", rep.Chunks)
	}
	dir := t.TempDir()
	before, after := filepath.Join(dir, "before.jfr"), filepath.Join(dir, "after.jfr")
	for name, b := range map[string][]byte{before: b, after: out} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if x, y := counts(t, before), counts(t, after); !reflect.DeepEqual(x, y) {
		t.Errorf("jfr summary counts\n%v before, and\n%v after", x, y)
	}
	x, y := printed(t, before), printed(t, after)
	if len(x) != len(y) {
		t.Fatalf("%d events before, %d after", len(x), len(y))
	}
	for i := range x {
		if err := same(x[i], y[i], ""); err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
	if out, err := exec.Command("jfr", "metadata", after).CombinedOutput(); err != nil {
		t.Errorf("jfr metadata: %v\n%s", err, out)
	}
	for _, want := range []string{"shop.Login.user", "jdk.InitialEnvironmentVariable.value", "jdk.JVMInformation.jvmArguments", "java.lang.String"} {
		if rep.Changed[want] == 0 {
			t.Errorf("%s: nothing changed: %v", want, rep.Changed)
		}
	}
}

// counts is what jfr summary says of each type.
func counts(t *testing.T, file string) map[string]string {
	t.Helper()
	out, err := exec.Command("jfr", "summary", file).CombinedOutput()
	if err != nil {
		t.Fatalf("jfr summary: %v\n%s", err, out)
	}
	n := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 3 && strings.Contains(f[0], ".") {
			n[f[0]] = f[1]
		}
	}
	// Their number is the program's; a summary that shows none proves nothing.
	if n["shop.Login"] != "25000" {
		t.Fatalf("jfr summary of %s: %v", file, n)
	}
	return n
}

func printed(t *testing.T, file string) []any {
	t.Helper()
	out, err := exec.Command("jfr", "print", "--json", "--stack-depth", "3", "--events",
		"shop.Setting,jdk.Initial*,jdk.JVMInformation,jdk.SystemProcess,jdk.ThreadStart,jdk.JavaMonitorEnter,jdk.File*,jdk.OSInformation", file).Output()
	if err != nil {
		t.Fatalf("jfr print: %v", err)
	}
	var v struct{ Recording struct{ Events []any } }
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatal(err)
	}
	return v.Recording.Events
}

// same compares two values: all but the private strings have to be equal.
func same(x, y any, at string) error {
	switch x := x.(type) {
	case map[string]any:
		y, _ := y.(map[string]any)
		for k := range x {
			if err := same(x[k], y[k], at+"."+k); err != nil {
				return err
			}
		}
		return nil
	case []any:
		y, _ := y.([]any)
		if len(x) != len(y) {
			return fmt.Errorf("%s: %d elements, then %d", at, len(x), len(y))
		}
		for i := range x {
			if err := same(x[i], y[i], at); err != nil {
				return err
			}
		}
		return nil
	case string:
		if y, ok := y.(string); ok && (x == y || strings.Contains(y, "tok_")) {
			return nil
		}
	default:
		if x == y {
			return nil
		}
	}
	return fmt.Errorf("%s: %v, then %v", at, x, y)
}

func TestNothingLeft(t *testing.T) {
	b := read(t)
	out, _ := scrubbed(t, b)
	for _, s := range secrets {
		var wide, wideBig []byte
		for _, u := range utf16.Encode([]rune(s)) {
			wide = append(wide, byte(u), byte(u>>8))
			wideBig = append(wideBig, byte(u>>8), byte(u))
		}
		if !bytes.Contains(b, []byte(s)) {
			t.Errorf("%q was not in the recording", s)
		}
		for _, form := range [][]byte{[]byte(s), wide, wideBig} {
			if bytes.Contains(out, form) {
				t.Errorf("%q is left", s)
			}
		}
	}
}

func TestIdempotent(t *testing.T) {
	once, _ := scrubbed(t, read(t))
	twice, rep := scrubbed(t, once)
	if !bytes.Equal(once, twice) || len(rep.Changed) > 0 {
		t.Errorf("scrubbed again, it is another: %v", rep.Changed)
	}
}

// small is a recording of a few events, small enough to damage at every byte.
func small(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/small.jfr")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCut(t *testing.T) {
	b := small(t)
	for n := 0; n < len(b); n += 7 {
		var out bytes.Buffer
		if _, err := Scrub(&out, bytes.NewReader(b[:n]), int64(n), clean); err == nil && n > 0 {
			t.Fatalf("the first %d of %d bytes pass for a recording", n, len(b))
		}
	}
}

func TestFlipped(t *testing.T) {
	b := small(t)
	for i := 0; i < len(b); i += 149 {
		bad := bytes.Clone(b)
		bad[i] ^= 1 << (i % 8)
		var out bytes.Buffer
		_, err := Scrub(&out, bytes.NewReader(bad), int64(len(bad)), clean)
		var format *FormatError
		if err != nil && errors.As(err, &format) && (format.Offset < 0 || format.Offset > int64(len(b))) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
}

func TestUnfinished(t *testing.T) {
	b := small(t)
	tail := bytes.Clone(b)
	clear(tail[8:32]) // as the JVM leaves it until the chunk is complete
	both := append(bytes.Clone(b), tail...)
	out, rep := scrubbed(t, both)
	if rep.Unfinished != int64(len(tail)) || rep.Chunks != 1 {
		t.Errorf("%+v", rep)
	}
	if alone, _ := scrubbed(t, b); !bytes.Equal(out, alone) {
		t.Error("the finished chunk is another")
	}
	if _, err := Scrub(&bytes.Buffer{}, bytes.NewReader(tail), int64(len(tail)), clean); err == nil {
		t.Error("a recording of an unfinished chunk alone is no error")
	}
}

func FuzzScrub(f *testing.F) {
	// Small ones: the recording of a JVM is too large to be mutated fast.
	f.Add(events())
	f.Add(nested())
	f.Fuzz(func(t *testing.T, b []byte) {
		var out bytes.Buffer
		if _, err := Scrub(&out, bytes.NewReader(b), int64(len(b)), clean); err != nil {
			return
		}
		// What came out is a recording too.
		if _, err := Scrub(&bytes.Buffer{}, bytes.NewReader(out.Bytes()), int64(out.Len()), clean); err != nil {
			t.Errorf("the result can't be read: %v", err)
		}
	})
}

func BenchmarkScrub(b *testing.B) {
	text := read(b)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := Scrub(&bytes.Buffer{}, bytes.NewReader(text), int64(len(text)), clean); err != nil {
			b.Fatal(err)
		}
	}
}
