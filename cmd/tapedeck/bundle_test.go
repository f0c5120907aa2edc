package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

// runBundleCommand runs a command as a user would, without the process.
func runBundleCommand(t *testing.T, stdin []byte, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	c := newRootCommand()
	c.SetArgs(append([]string{"bundle"}, args...))
	c.SetIn(bytes.NewReader(stdin))
	c.SetOut(&out)
	c.SetErr(&errs)
	if os.Getenv("TAPEDECK_KEYS") == "" { // one for all commands of a test
		t.Setenv("TAPEDECK_KEYS", filepath.Join(t.TempDir(), "keys.json"))
	}
	ctx := context.Background()
	code = report(ctx, &errs, c.ExecuteContext(ctx))
	return out.String(), errs.String(), code
}

func writeFiles(t *testing.T, files map[string]string) {
	t.Helper()
	for name, data := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBundleBuild takes recordings of other tools all the way: pack, look,
// check, unpack, pack again.
func TestBundleBuild(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFiles(t, map[string]string{
		"rr/trace-1/data": strings.Repeat("rr", 1000), "app.jfr": "FLR", "ebpf.parquet": "PAR1",
		"net/a.har": `{"log":{}}`, "db.sqlite": "SQLite format 3",
	})
	if err := os.Symlink("trace-1", "rr/latest-trace"); err != nil {
		t.Fatal(err)
	}
	out, errs, code := runBundleCommand(t, nil, "build", "--rr", "rr", "--jfr", "app.jfr", "--ebpf", "ebpf.parquet", "--network", "net", "--db", "db.sqlite", "--out", "b.tar.zst")
	if code != 0 || out != "b.tar.zst\n" || !strings.Contains(errs, "warning: left out rr/latest-trace") || !strings.Contains(errs, "6 files") {
		t.Fatalf("build: %d\n%s%s", code, out, errs)
	}
	out, _, code = runBundleCommand(t, nil, "inspect", "--json", "b.tar.zst")
	var in struct {
		Files    int
		Manifest struct {
			Version   int
			Recorders []map[string]any
			Inputs    map[string]string
			Privacy   map[string]any
		}
	}
	if err := json.Unmarshal([]byte(out), &in); err != nil || code != 0 {
		t.Fatalf("inspect: %d, %v\n%s", code, err, out)
	}
	m := in.Manifest
	if in.Files != 6 || m.Version != 1 || m.Recorders[0]["rr_trace_dir"] != "traces/rr" || m.Recorders[1]["jfr_file"] != "traces/jfr/incident.jfr" ||
		m.Recorders[2]["bpf_profile"] != "traces/ebpf/profile.parquet" || m.Inputs["network_cassette"] != "inputs/http_vcr/" || m.Inputs["db_cassette"] != "inputs/sql_vcr.sqlite" || m.Privacy["schema"] != "v1" {
		t.Errorf("%s", out)
	}
	out, _, _ = runBundleCommand(t, nil, "list", "b.tar.zst")
	want := "SIZE  CLASS       TYPE                            PATH\n2000  restricted  application/octet-stream        traces/rr/trace-1/data\n"
	if !strings.HasPrefix(out, want) {
		t.Errorf("list:\n%s", out)
	}
	if out, _, code = runBundleCommand(t, nil, "verify", "--strict", "b.tar.zst"); code != 0 || !strings.HasPrefix(out, "ok: 6 files, ") {
		t.Errorf("verify: %d\n%s", code, out)
	}
	if out, errs, code = runBundleCommand(t, nil, "extract", "b.tar.zst"); code != 0 || out != "b\n" {
		t.Fatalf("extract: %d\n%s%s", code, out, errs)
	}
	if out, errs, code = runBundleCommand(t, nil, "build", "b", "--out", "again.tar.zst", "--json"); code != 0 || !strings.Contains(out, `"files": 6`) {
		t.Fatalf("build again: %d\n%s%s", code, out, errs)
	}
	if diff, err := exec.Command("cmp", "b.tar.zst", "again.tar.zst").CombinedOutput(); err != nil {
		t.Errorf("unpacked and packed again: %s", diff)
	}
	data, err := os.ReadFile("b.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	if out, _, code = runBundleCommand(t, data, "extract", "-", "-o", "-", "inputs/http_vcr/a.har"); code != 0 || out != `{"log":{}}` {
		t.Errorf("by standard input and output: %d %q", code, out)
	}
	if out, _, code = runBundleCommand(t, nil, "build", "b", "--out", "-"); code != 0 || out != string(data) {
		t.Errorf("build to standard output: %d, %d bytes", code, len(out))
	}
}

func TestBundleExitCodes(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFiles(t, map[string]string{
		"in/trace_bundle.yaml": "version: 1\nrecorders: []\nmood: good\n", "in/a": strings.Repeat("x", 5000),
		"newer/trace_bundle.yaml": "version: 2\n", "bad/trace_bundle.yaml": "version: 1\nfiles: 7\n", "empty/x/y": "", "text": "hello",
	})
	if _, errs, code := runBundleCommand(t, nil, "build", "in", "--out", "b.tar.zst"); code != 0 {
		t.Fatalf("%d %s", code, errs)
	}
	data, err := os.ReadFile("b.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := exec.Command("zstd", "-dc", "b.tar.zst").Output()
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(plain, bytes.Repeat([]byte("x"), 100))
	plain[i] = 'y'
	writeFiles(t, map[string]string{"cut": string(data[:len(data)/2]), "wrong.tar": string(plain)})
	if err := exec.Command("tar", "-cf", "nodigests.tar", "-C", "in", "trace_bundle.yaml", "a").Run(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args string
		code int
		out  string // in stdout or stderr
	}{
		{"inspect b.tar.zst", 0, "warning: the manifest has fields unknown to this version: mood"},
		{"verify nodigests.tar", 0, "unverified: 1 file, 4.9 KB; 1 unverified"},
		{"verify --strict nodigests.tar", 3, "1 unverified"},
		{"verify wrong.tar", 3, "need SHA-256 "},
		{"verify --json wrong.tar", 3, `"status": "damaged"`},
		{"bogus", 4, "need one of the commands"},
		{"", 4, "need a command"},
		{"schema x", 4, "need no arguments"},
		{"inspect --json --manifest b.tar.zst", 4, "need either"},
		{"inspect --bogus", 4, "unknown flag"},
		{"inspect", 4, "need one bundle: tapedeck bundle inspect"},
		{"inspect a b", 4, "need one bundle"},
		{"extract", 4, "need a bundle"},
		{"extract -", 4, "need -o DIR"},
		{"extract b.tar.zst -o -", 4, "need one NAME"},
		{"build --out x", 4, "need something to pack"},
		{"build in", 4, "need --out FILE"},
		{"build in --rr in --out x", 4, "need either a folder or"},
		{"build in --out x --class secret", 4, "--class needs public, internal or restricted"},
		{"inspect --max-files 0 b.tar.zst", 4, "need a number of 1 or more"},
		{"inspect none.tar.zst", 10, "no such bundle"},
		{"inspect cut", 11, "damaged bundle"},
		{"inspect text", 11, "not a replay bundle"},
		{"inspect in", 11, "tapedeck bundle build packs one"},
		{"verify --max-files 1 b.tar.zst nothing", 4, "need one bundle"},
		{"build bad --out x", 11, "trace_bundle.yaml:2"},
		{"build newer --out x", 12, "hint: read it with a newer version of tapedeck"},
		{"build empty --out x", 1, "trace_bundle.yaml"},
		{"build --rr none --out x", 1, "none"},
		{"extract b.tar.zst nothing", 1, "tapedeck bundle list prints the names"},
	}
	for _, tt := range tests {
		out, errs, code := runBundleCommand(t, nil, strings.Fields(tt.args)...)
		if code != tt.code || !strings.Contains(out+errs, tt.out) {
			t.Errorf("%s: got %d, want %d and %q\n%s%s", tt.args, code, tt.code, tt.out, out, errs)
		}
	}
	if _, err := os.Stat("x"); err == nil {
		t.Error("a failed build left its output")
	}
}

func TestBundleSchema(t *testing.T) {
	out, _, code := runBundleCommand(t, nil, "schema")
	if code != 0 || out != string(bundle.Schema()) || !json.Valid([]byte(out)) {
		t.Errorf("%d\n%s", code, out)
	}
}

// TestBundleHelp: every command's help ends with examples and exit codes.
func TestBundleHelp(t *testing.T) {
	c := newBundleCommand()
	for _, sub := range append(c.Commands(), c) {
		if !strings.Contains(sub.Example, "  tapedeck bundle "+strings.TrimPrefix(sub.Name(), "bundle")) || !strings.Contains(sub.Example, "\nExit codes:\n  0  ") {
			t.Errorf("%s: %q", sub.Name(), sub.Example)
		}
	}
}
