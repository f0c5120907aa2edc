package bundle

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
)

// FuzzManifest: whatever parses comes back the same after writing, in both
// forms, and what is refused has an error of a known class.
func FuzzManifest(f *testing.F) {
	example, err := os.ReadFile("testdata/manifest-example.yaml")
	must(f, err)
	f.Add(example)
	f.Add([]byte(futureManifest))
	f.Add([]byte(smallManifest))
	f.Add([]byte(`{"version": 1, "recorders": [{"kind": "jfr", "x": 1e400}], "env": {"a": "\ud83d\ude00"}}`))
	f.Add([]byte("version: 1\nrecorders: []\nfiles:\n  - {path: a/b, size: 3, sha256: " + sumOfX + ", media_type: text/plain, class: public}\n  - {path: c, size: 0}\n"))
	f.Add([]byte("version: 1\nrecorders: []\nkeys:\n  - {id: dk, scheme: s, key_ref: \"local:a?id=1&v=1\", wrapped_key: AA==, tenant: t, copies: [{key_ref: age1x, wrapped_key: AA==}]}\nfiles:\n  - {path: a/b, size: 3, class: restricted, encryption: dk, plain_size: 0}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseManifest(text)
		if err != nil {
			checkClass(t, err)
			return
		}
		slow, err := parseManifest(text, nil)
		if err != nil || !reflect.DeepEqual(m, slow) {
			t.Fatalf("%v\nby the short way: %+v\nby the long way:  %+v", err, m, slow)
		}
		_ = m.Unknown()
		asYAML, err := m.Encode()
		if err != nil {
			return // such as a key of Extra that is no text
		}
		again, err := ParseManifest(asYAML)
		if err != nil {
			t.Fatalf("%v\nwritten: %q", err, asYAML)
		}
		twice, err := again.Encode()
		if err != nil || !bytes.Equal(twice, asYAML) {
			t.Fatalf("%v\nwritten first: %q\nand then:      %q", err, asYAML, twice)
		}
		asJSON, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		fromJSON, err := ParseManifest(asJSON)
		if err != nil {
			t.Fatalf("%v\nwritten: %s", err, asJSON)
		}
		if !reflect.DeepEqual(fromJSON.Files, m.Files) || fromJSON.BundleID != m.BundleID {
			t.Fatalf("JSON changed it: %s", asJSON)
		}
	})
}

// FuzzReader: no input makes the reader fall over, take much memory, hand out
// an unsafe path, or hand out data that doesn't match its digest.
func FuzzReader(f *testing.F) {
	path := write(f, testManifest(), file("a", "alpha"), file("b/c", strings.Repeat("beta ", 50)))
	ours, err := os.ReadFile(path)
	must(f, err)
	foreign, err := os.ReadFile("testdata/foreign.tar.gz")
	must(f, err)
	f.Add(ours)
	f.Add(foreign)
	f.Add(run(f, "zstd", "-dc", path))
	lim := Limits{Entries: 100, Manifest: 1 << 16, File: 1 << 20, Total: 4 << 20, Window: 1 << 20}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := lim.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			checkClass(t, err)
			return
		}
		for _, file := range r.Files() {
			if err := CheckPath(file.Path); err != nil {
				t.Errorf("Files: %v", err)
			}
			src, err := r.Open(file.Path)
			if err != nil {
				checkClass(t, err)
				continue
			}
			n, err := io.Copy(io.Discard, src)
			if err != nil {
				checkClass(t, err)
			} else if n != file.Size {
				t.Errorf("%s: %d bytes of %d and no error", file.Path, n, file.Size)
			}
			src.Close()
		}
		rep, err := r.Verify(context.Background())
		if err != nil {
			checkClass(t, err)
			return
		}
		if rep.Status == OK && rep.Totals[OK] != len(r.Files()) {
			t.Errorf("ok, but %+v", rep)
		}
	})
}

// checkClass: the exit code of the program hangs on the class of the error.
func checkClass(t *testing.T, err error) {
	t.Helper()
	if !isKnown(err) {
		t.Errorf("%T is of no known class: %v", err, err)
	}
}
