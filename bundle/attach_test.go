package bundle

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestAttach(t *testing.T) {
	files := []content{file("a", "alpha"), {"big", noise(1, frameSize+1)}}
	path := write(t, testManifest(), files...)
	manifest := open(t, path).ManifestBytes()
	names := []string{"attestations/one.dsse.json", "attestations/two.dsse.json"}
	for _, name := range names {
		must(t, Attach(path, name, []byte(`{"signs":"the manifest"}`)))
	}
	onlyIn(t, filepath.Dir(path), "test.tar.zst")
	run(t, "zstd", "-t", path)
	out := t.TempDir()
	run(t, "tar", "--zstd", "-xf", path, "-C", out)
	onlyIn(t, filepath.Join(out, "attestations"), "one.dsse.json", "two.dsse.json")

	r := open(t, path)
	if !bytes.Equal(r.ManifestBytes(), manifest) {
		t.Error("the manifest changed")
	}
	if rep := verify(t, r); rep.Status != OK || rep.Totals[OK] != 2 || rep.Totals[Detached] != 2 {
		t.Errorf("%+v", rep)
	}
	for _, f := range files {
		if !bytes.Equal(readAll(t, r, f.name), f.data) {
			t.Errorf("%s has other data", f.name)
		}
	}
	if got := string(readAll(t, r, names[1])); got != `{"signs":"the manifest"}` {
		t.Errorf("%q", got)
	}
}

func TestAttachRefuses(t *testing.T) {
	path := write(t, testManifest(), file("a", "x"))
	must(t, Attach(path, "attestations/m.dsse.json", nil))
	before, err := os.ReadFile(path)
	must(t, err)
	for _, name := range []string{"attestations/m.dsse.json", "attestations/m.json", "m.dsse.json", "../attestations/m.dsse.json", "a"} {
		if err := Attach(path, name, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	plain := filepath.Join(t.TempDir(), "x.tar")
	must(t, os.WriteFile(plain, run(t, "zstd", "-dc", path), 0o600))
	if err := Attach(plain, "attestations/n.dsse.json", nil); err == nil {
		t.Error("a tar: no error")
	}
	after, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the bundle changed")
	}
}

// TestAttachTo: the signed bundle is a new one, the old one is as it was.
func TestAttachTo(t *testing.T) {
	src := write(t, testManifest(), file("a", "alpha"))
	before, err := os.ReadFile(src)
	must(t, err)
	dst := filepath.Join(t.TempDir(), "signed.tar.zst")
	must(t, DefaultLimits().AttachTo(dst, src, "attestations/m.dsse.json", []byte("{}")))
	after, err := os.ReadFile(src)
	must(t, err)
	if !bytes.Equal(before, after) || len(open(t, src).Signatures()) != 0 {
		t.Error("the bundle changed")
	}
	r := open(t, dst)
	if got := r.Signatures(); !slices.Equal(got, []string{"attestations/m.dsse.json"}) || verify(t, r).Status != OK {
		t.Errorf("signatures %q", got)
	}
	if err := (Limits{Manifest: 10}).AttachTo(dst, src, "attestations/n.dsse.json", nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("with a small limit: %v", err)
	}
}

// TestFiles: whoever attests to files sees them before the manifest does.
func TestFiles(t *testing.T) {
	w, err := Create(filepath.Join(t.TempDir(), "x.tar.zst"))
	must(t, err)
	defer w.Abort()
	must(t, w.Add("x", strings.NewReader("x"), FileInfo{}))
	list := w.Files()
	must(t, w.Add("y", strings.NewReader("y"), FileInfo{}))
	if len(list) != 1 || list[0].SHA256 != sumOfX || list[0].Size != 1 {
		t.Errorf("%+v", list)
	}
}
