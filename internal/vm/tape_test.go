package vm

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func aTape() *Tape {
	digest := strings.Repeat("0a", 32)
	return &Tape{
		Version: TapeVersion,
		Base: Base{Machine: DefaultMachine(), QEMU: QEMU{Version: "7.2.22 (Debian 1:7.2+dfsg-7)", Digest: digest}, Kernel: "6.1.0-cloud-amd64",
			Package: "linux-image_6.1_amd64", Symbols: map[string]uint64{"current_task": 1}, Offsets: map[string]int{"task_struct.pid": 8},
			Digest: digest, Size: 1 << 20},
		Params: "seed=1\nnow=1700000000\nhost=my-host.example\n", Path: "/bin/true", Pid: 80,
		Instructions: Count{1, 2}, LogDigest: digest, WorldDigest: digest,
	}
}

func TestTapeRoundTrip(t *testing.T) {
	t.Parallel()
	dir, want := t.TempDir(), aTape()
	if err := want.Write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := ReadTape(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// A bundle may say anything; what does not fit is refused and named.
func TestTapeHostile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		field  string
		change func(*Tape)
	}{
		"cpu with options":            {"base.machine", func(t *Tape) { t.Base.Machine.CPU = "max,foo=on" }},
		"cpu with a path":             {"base.machine", func(t *Tape) { t.Base.Machine.CPU = "max,foo=/etc/shadow" }},
		"cpu as an option":            {"base.machine", func(t *Tape) { t.Base.Machine.CPU = "-S" }},
		"no cpu":                      {"base.machine", func(t *Tape) { t.Base.Machine.CPU = "" }},
		"cpu with a newline":          {"base.machine", func(t *Tape) { t.Base.Machine.CPU = "max\n" }},
		"all the memory":              {"base.machine", func(t *Tape) { t.Base.Machine.Memory = 1_000_000_000 }},
		"negative memory":             {"base.machine", func(t *Tape) { t.Base.Machine.Memory = -1 }},
		"shift":                       {"base.machine", func(t *Tape) { t.Base.Machine.Shift = 64 }},
		"digest as path":              {"base.sha256", func(t *Tape) { t.Base.Digest = "../../../../etc" }},
		"digest in capitals":          {"base.sha256", func(t *Tape) { t.Base.Digest = strings.Repeat("AB", 32) }},
		"digest and newline":          {"base.sha256", func(t *Tape) { t.Base.Digest += "\n" }},
		"no log digest":               {"log_sha256", func(t *Tape) { t.LogDigest = "" }},
		"world digest":                {"world_sha256", func(t *Tape) { t.WorldDigest = "x" }},
		"size of a bomb":              {"base.size", func(t *Tape) { t.Base.Size = 1 << 60 }},
		"no size":                     {"base.size", func(t *Tape) { t.Base.Size = 0 }},
		"negative size":               {"base.size", func(t *Tape) { t.Base.Size = -1 }},
		"params of no form":           {"params", func(t *Tape) { t.Params = "seed" }},
		"params with commas and more": {"params", func(t *Tape) { t.Params = "seed=1,file=/etc/shadow \n" }},
		"params without end":          {"params", func(t *Tape) { t.Params = "seed=1" }},
		"params with NUL":             {"params", func(t *Tape) { t.Params = "seed=\x00\n" }},
		"too many params":             {"params", func(t *Tape) { t.Params = strings.Repeat("seed=1\n", 2000) }},
		"escape sequence":             {"base.qemu.version", func(t *Tape) { t.Base.QEMU.Version = "\x1b]0;owned\a" }},
		"kernel":                      {"base.kernel", func(t *Tape) { t.Base.Kernel = "6.1\n" }},
		"symbol":                      {"base.symbols", func(t *Tape) { t.Base.Symbols = map[string]uint64{"a;b": 1} }},
		"offset":                      {"base.offsets", func(t *Tape) { t.Base.Offsets = map[string]int{"task_struct.pid": -8} }},
		"member":                      {"base.offsets", func(t *Tape) { t.Base.Offsets = map[string]int{"pid": 8} }},
		"pid":                         {"pid", func(t *Tape) { t.Pid = -1 }},
		"exit code":                   {"outcome.code", func(t *Tape) { t.Outcome.Code = 256 }},
		"count":                       {"instructions", func(t *Tape) { t.Instructions = Count{3, 2} }},
		"path":                        {"path", func(t *Tape) { t.Path = strings.Repeat("/x", 5000) }},
	} {
		tape := aTape()
		c.change(tape)
		var bad *TapeError
		if err := tape.Write(t.TempDir()); !errors.As(err, &bad) {
			t.Errorf("%s: was written", name)
		}
		b, err := json.Marshal(tape)
		if err != nil {
			t.Fatal(err)
		}
		_, err = readTapeText(t, b)
		if !errors.As(err, &bad) || bad.Field != c.field {
			t.Errorf("%s: %v, want an error of %s", name, err, c.field)
		} else if strings.ContainsAny(err.Error(), "\x1b\x00\n") || len(err.Error()) > 300 {
			t.Errorf("%s: the error is not fit to print: %q", name, err)
		}
	}
}

func readTapeText(t *testing.T, b []byte) (*Tape, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, TapeFile), b, 0o600); err != nil {
		t.Fatal(err)
	}
	return ReadTape(dir)
}

func TestTapeVersions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                "need a JSON object",
		`{`:               "need a JSON object",
		`[]`:              "need a JSON object",
		`{}`:              "version: need 1 or more, found none",
		`{"version":0}`:   "version: need 1 or more",
		`{"version":-1}`:  "version: need 1 or more",
		`{"version":"1"}`: "need a JSON object",
		`{"version":2}`:   "has version 2, this tapedeck reads version 1",
		// of a newer version nothing else has to make sense
		`{"version":99,"base":7}`: "has version 99",
		`{"version":1,"base":7}`:  "need the fields of version 1",
		`{"version":1}`:           "base",
		`{"version":1,"x":"` + strings.Repeat("x", maxTape) + `"}`: "at most",
	} {
		_, err := readTapeText(t, []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %q in it", text, err, want)
		}
	}
	var version *VersionError
	if _, err := readTapeText(t, []byte(`{"version":2}`)); !errors.As(err, &version) || version.Hint() == "" {
		t.Errorf("%v", err)
	}
	if _, err := ReadTape(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// aSnapshot is the smallest file that is let through, packed, and its Base.
func aSnapshot(t *testing.T) (Base, []byte) {
	t.Helper()
	name := filepath.Join(t.TempDir(), snapshotFile)
	if err := createQcow2(name, diskSize); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[63] = 1 // a snapshot in it
	return packed(t, b)
}

func packed(t *testing.T, b []byte) (Base, []byte) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	digest, err := Digest(name)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	base := aTape().Base
	base.Digest, base.Size = digest, int64(len(b))
	return base, z.EncodeAll(b, nil)
}

func TestUnpackBase(t *testing.T) {
	t.Parallel()
	want, z := aSnapshot(t)
	cache := t.TempDir()
	q := QEMU{Path: "/here/qemu", Sandbox: true, Confine: true}
	for _, what := range []string{"unpacked", "cached", "thin", "damaged"} {
		var src *bytes.Reader
		if what != "thin" {
			src = bytes.NewReader(z)
		}
		if what == "damaged" {
			if err := os.WriteFile(filepath.Join(baseDir(cache, want.Digest), snapshotFile), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var b *Base
		var err error
		if src == nil {
			b, err = UnpackBase(t.Context(), cache, want, nil, q)
		} else {
			b, err = UnpackBase(t.Context(), cache, want, src, q)
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got, err := Digest(b.Snapshot()); got != want.Digest || b.QEMU.Path != q.Path || !b.QEMU.Sandbox || !b.QEMU.Confine {
			t.Errorf("%s: digest %s, %v, %+v", what, got, err, b.QEMU)
		}
		if what == "cached" && src.Len() != len(z) {
			t.Error("was unpacked again")
		}
	}
}

func TestUnpackBaseHostile(t *testing.T) {
	t.Parallel()
	good, z := aSnapshot(t)
	backing, zBacking := func() (Base, []byte) {
		_, z := aSnapshot(t)
		d, _ := zstd.NewReader(nil)
		b, err := d.DecodeAll(z, nil)
		if err != nil {
			t.Fatal(err)
		}
		b[15], b[19] = 0x90, 11 // a backing file
		copy(b[0x90:], "/etc/shadow")
		return packed(t, b)
	}()
	bomb, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	zBomb := bomb.EncodeAll(make([]byte, 64<<20), nil)
	other := good
	other.Digest = strings.Repeat("1", 64)
	for _, c := range []struct {
		name   string
		base   Base
		packed []byte
		want   string
	}{
		{"other digest", other, z, "need SHA-256 1111"},
		{"truncated", good, z[:len(z)-9], "need zstd data"},
		{"cut to nothing", good, nil, "need 262144 bytes, found 0 bytes"},
		{"no zstd", good, []byte("what is this"), "need zstd data"},
		{"bomb", good, zBomb, "need 262144 bytes, found more"},
		{"too short", func() Base { b := good; b.Size++; return b }(), z, "need 262145 bytes, found 262144 bytes"},
		{"backing file", backing, zBacking, "backing file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cache := t.TempDir()
			_, err := UnpackBase(t.Context(), cache, c.base, bytes.NewReader(c.packed), QEMU{})
			var bad *SnapshotError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			}
			left, _ := filepath.Glob(filepath.Join(cache, "base-*"))
			if len(left) > 0 {
				t.Errorf("left in the cache: %q", left)
			}
		})
	}
	if _, err := UnpackBase(t.Context(), t.TempDir(), good, nil, QEMU{}); err == nil || !strings.Contains(err.Error(), "neither in the bundle nor in the cache") {
		t.Errorf("%v", err)
	}
}
