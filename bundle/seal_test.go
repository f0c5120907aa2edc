package bundle

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// toy encrypts by flipping bits, with one byte in front that a reader can
// check. It shows what the hooks do; package internal/seal is the real one.
type toy struct {
	id   string
	more []byte // goes behind what Open needs
}

func (t toy) BundleID() string { return t.id }
func (t toy) Key() Key {
	return Key{ID: "dk", Scheme: "toy", KeyRef: "toy:a", WrappedKey: "AA==", Tenant: "t", Copies: []WrappedKey{{KeyRef: "toy:b", WrappedKey: "AQ=="}}}
}

func (t toy) Seal(path string, plain io.Reader) (io.Reader, error) {
	if path == "fails" {
		return nil, errors.New("no key")
	}
	return io.MultiReader(strings.NewReader("!"), flipped{plain}, bytes.NewReader(t.more)), nil
}

func (t toy) Open(_ *Manifest, f File, stored io.Reader) (io.Reader, error) {
	var mark [1]byte
	if _, err := io.ReadFull(stored, mark[:]); err != nil || mark[0] != '!' {
		return nil, errors.Join(&DamagedError{Path: f.Path, Offset: 0, Need: "!", Found: string(mark[:])}, err)
	}
	if t.more != nil {
		return io.LimitReader(flipped{stored}, *f.PlainSize), nil
	}
	return flipped{stored}, nil
}

type flipped struct{ r io.Reader }

func (f flipped) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	for i := range b[:n] {
		b[i] ^= 0xFF
	}
	return n, err
}

var sealID = "2cbe4f7c-b52f-4b60-9b19-fb2c1a4b8e4b"

func writeSealed(t testing.TB, s Sealer, m *Manifest, classes []Class) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sealed.tar.zst")
	w, err := WriterOptions{Sealer: s, Seal: classes}.Create(path)
	must(t, err)
	defer w.Abort()
	must(t, w.Add("pub", strings.NewReader("for all"), FileInfo{Class: Public}))
	must(t, w.Add("dir/secret", strings.NewReader("for few"), FileInfo{Class: Restricted}))
	must(t, w.Add("dir/large", bytes.NewReader(noise(1, 3<<20)), FileInfo{Class: Restricted}))
	must(t, w.Add("dir/empty", strings.NewReader(""), FileInfo{Class: Restricted}))
	must(t, w.Commit(m))
	return path
}

func TestSealedFiles(t *testing.T) {
	m := testManifest()
	path := writeSealed(t, toy{id: sealID}, m, nil)
	if err := validate(t, m); err != nil {
		t.Errorf("by the schema: %v", err)
	}
	if m.BundleID != sealID || len(m.Keys) != 1 || m.Files[0].Encryption != "" || m.Files[1].Encryption != "dk" || m.Files[1].Size != 8 || *m.Files[1].PlainSize != 7 || *m.Files[3].PlainSize != 0 {
		t.Errorf("%+v", m)
	}
	ctx := context.Background()
	r := open(t, path)
	var locked *LockedError
	if _, err := r.Open("dir/secret"); !errors.As(err, &locked) || locked.Path != "dir/secret" || strings.Join(locked.Need, " ") != "toy:a toy:b" || locked.Hint() == "" {
		t.Errorf("%v", err)
	}
	if got := string(readAll(t, r, "pub")); got != "for all" {
		t.Errorf("%q", got)
	}
	dir := filepath.Join(t.TempDir(), "out")
	if err := r.Extract(ctx, dir); !errors.As(err, &locked) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("half of it was extracted")
	}
	must(t, r.Extract(ctx, dir, "pub"))
	rep := verify(t, r)
	if rep.Status != OK || rep.Files[1].Sealed != Locked || rep.Files[0].Sealed != "" {
		t.Errorf("%+v", rep)
	}

	r, err := OpenOptions{Opener: toy{}}.Open(path)
	must(t, err)
	defer r.Close()
	if got := string(readAll(t, r, "dir/secret")); got != "for few" {
		t.Errorf("%q", got)
	}
	if got := readAll(t, r, "dir/large"); !bytes.Equal(got, noise(1, 3<<20)) {
		t.Error("large: something else")
	}
	if rep = verify(t, r); rep.Status != OK || rep.Files[1].Sealed != Opened {
		t.Errorf("%+v", rep)
	}
	if _, err := r.ReadFile("dir/secret", 6); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
	must(t, r.Extract(ctx, dir+"2"))
	text, err := os.ReadFile(filepath.Join(dir+"2", ManifestName))
	must(t, err)
	out, err := ParseManifest(text)
	must(t, err)
	if len(out.Keys) != 0 || out.Files[1].Encryption != "" || out.Files[1].Size != 7 || out.Files[1].Class != Restricted || out.Files[1].PlainSize != nil {
		t.Errorf("%s", text)
	}

	r, err = OpenOptions{Opener: toy{}, Stored: true}.Open(path)
	must(t, err)
	defer r.Close()
	if got := readAll(t, r, "dir/secret"); len(got) != 8 || got[0] != '!' {
		t.Errorf("%q", got)
	}
	must(t, r.Extract(ctx, dir+"3"))
	if text, err = os.ReadFile(filepath.Join(dir+"3", ManifestName)); err != nil || !bytes.Equal(text, r.ManifestBytes()) {
		t.Errorf("%v", err)
	}
}

// TestSealClasses: the classes that are asked for, and no others; without any
// encrypted file, no key is in the manifest.
func TestSealClasses(t *testing.T) {
	m := testManifest()
	writeSealed(t, toy{id: sealID}, m, []Class{Public})
	if m.Files[0].Encryption != "dk" || m.Files[1].Encryption != "" {
		t.Errorf("%+v", m.Files)
	}
	m = testManifest()
	writeSealed(t, toy{id: sealID}, m, []Class{Internal})
	if len(m.Keys) != 0 || m.BundleID != sealID {
		t.Errorf("%+v", m)
	}
	m = testManifest()
	m.BundleID = "another"
	path := filepath.Join(t.TempDir(), "x.tar.zst")
	w, err := WriterOptions{Sealer: toy{id: sealID}}.Create(path)
	must(t, err)
	defer w.Abort()
	if err := w.Add("fails", strings.NewReader(""), FileInfo{Class: Restricted}); err == nil {
		t.Error("added without a key")
	}
	if err := w.Commit(m); !errors.Is(err, ErrDamaged) {
		t.Errorf("another id: %v", err)
	}
}

// TestSealedLies: what the manifest says of the content has to be so, and
// nothing may hide behind what was encrypted.
func TestSealedLies(t *testing.T) {
	path := writeSealed(t, toy{id: sealID}, testManifest(), nil)
	for _, size := range []int64{6, 8, 0} {
		r, err := OpenOptions{Opener: toy{}}.Open(path)
		must(t, err)
		r.entries["dir/secret"].PlainSize = &size
		if b, err := read(r, "dir/secret"); !errors.Is(err, ErrDamaged) || len(b) > int(size) && size > 0 {
			t.Errorf("a size of %d: %q, %v", size, b, err)
		}
		if rep := verify(t, r); rep.Status != Damaged {
			t.Errorf("%+v", rep)
		}
		must(t, r.Close())
	}
	path = writeSealed(t, toy{id: sealID, more: []byte("hidden")}, testManifest(), nil)
	r, err := OpenOptions{Opener: toy{more: []byte{}}}.Open(path)
	must(t, err)
	defer r.Close()
	if _, err := read(r, "dir/secret"); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "6 bytes more") {
		t.Errorf("%v", err)
	}
}

// TestSealedBomb: what is encrypted counts with what it unpacks to.
func TestSealedBomb(t *testing.T) {
	large := int64(1) << 50
	for _, size := range []*int64{nil, &large} {
		path := filepath.Join(t.TempDir(), "x.tar.zst")
		w, err := Create(path)
		must(t, err)
		defer w.Abort()
		w.lim.File = large
		must(t, w.Add("a", strings.NewReader("!"), FileInfo{Class: Restricted, Encryption: "dk", PlainSize: size}))
		m := testManifest()
		m.Keys = []Key{toy{}.Key()}
		must(t, w.Commit(m))
		r, err := OpenOptions{Opener: toy{}}.Open(path)
		if size == nil && err == nil {
			_, err = read(r, "a")
			must(t, r.Close())
		}
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%v", err)
		}
	}
}

// TestRewrite: another manifest, the same files; signatures of the old one go.
func TestRewrite(t *testing.T) {
	path := writeSealed(t, toy{id: sealID}, testManifest(), nil)
	must(t, Attach(path, "attestations/a.dsse.json", []byte("{}")))
	r := open(t, path)
	m, err := ParseManifest(r.ManifestBytes())
	must(t, err)
	m.Keys[0].Copies = append(m.Keys[0].Copies, WrappedKey{KeyRef: strings.Repeat("long", 1<<20), WrappedKey: "AA=="})
	dropped, err := r.Rewrite(path, m)
	must(t, err)
	if len(dropped) != 1 || dropped[0] != "attestations/a.dsse.json" {
		t.Errorf("%q", dropped)
	}
	onlyIn(t, filepath.Dir(path), filepath.Base(path))
	r, err = OpenOptions{Opener: toy{}}.Open(path)
	must(t, err)
	defer r.Close()
	if !r.indexed || len(r.Manifest().Keys[0].Copies) != 2 {
		t.Errorf("%v", r.Manifest().Keys[0].Copies)
	}
	if rep := verify(t, r); rep.Status != OK || rep.Totals[OK] != 4 || len(rep.Files) != 4 {
		t.Errorf("%+v", rep)
	}
	if got := readAll(t, r, "dir/large"); !bytes.Equal(got, noise(1, 3<<20)) {
		t.Error("large: something else")
	}
	run(t, "tar", "--zstd", "-tf", path)
	m.Files = m.Files[1:]
	if _, err := r.Rewrite(path, m); err == nil {
		t.Error("a file less")
	}
	foreign, err := Open("testdata/foreign.tar.gz")
	must(t, err)
	defer foreign.Close()
	if _, err := foreign.Rewrite(path, foreign.Manifest()); err == nil {
		t.Error("of a foreign bundle")
	}
}

// TestSealedManifest: fields of encryption come back as they were, by the short
// way of reading and the long one.
func TestSealedManifest(t *testing.T) {
	n := int64(0)
	m := testManifest()
	m.Version, m.Keys = Version{Major: 1}, []Key{toy{}.Key()}
	m.Files = []File{{Path: "a", Size: 1, Encryption: "dk", PlainSize: &n}, {Path: "b", Size: 1, Encryption: "dk", PlainSize: &n, Extra: map[string]any{"x": 1}}, {Path: "c c", Encryption: "dk"}}
	m.Keys[0].Copies[0].Extra = map[string]any{"note": "kept"}
	text, err := m.Encode()
	must(t, err)
	got, err := ParseManifest(text)
	must(t, err)
	again, err := got.Encode()
	if err != nil || !bytes.Equal(again, text) || *got.Files[0].PlainSize != 0 || got.Files[2].PlainSize != nil {
		t.Errorf("%v\n%s\n%s", err, text, again)
	}
	if u := strings.Join(got.Unknown(), " "); u != "keys[0].copies[0].note files[1].x" {
		t.Errorf("%q", u)
	}
	if _, err := ParseManifest(bytes.Replace(text, []byte("plain_size: 0"), []byte("plain_size: -1"), 1)); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
}
