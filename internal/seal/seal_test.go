package seal

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func local(t testing.TB) Options {
	return Options{KeyFile: filepath.Join(t.TempDir(), "tapedeck", "keys.json")}
}

// pack seals files into a bundle and returns its path.
func pack(t testing.TB, s *Sealer, files map[string][]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "b.tar.zst")
	w, err := bundle.WriterOptions{Sealer: s}.Create(path)
	must(t, err)
	defer w.Abort()
	for name, data := range files {
		must(t, w.Add(name, bytes.NewReader(data), bundle.FileInfo{Class: bundle.Restricted}))
	}
	must(t, w.Add("open.txt", bytes.NewReader([]byte("public")), bundle.FileInfo{Class: bundle.Public}))
	must(t, w.Commit(&bundle.Manifest{CreatedAt: time.Unix(1e9, 0), Recorders: []bundle.Recorder{{"kind": "vm"}}}))
	return path
}

func readAll(r *bundle.Reader, name string) ([]byte, error) {
	f, err := r.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}

func TestRoundTrip(t *testing.T) {
	ctx := context.Background()
	opt := local(t)
	s, err := NewSealer(ctx, []string{DefaultKey}, opt)
	must(t, err)
	text := bytes.Repeat([]byte("all that a program did, "), 200_000)
	files := map[string][]byte{"a/empty": nil, "a/short": []byte("x"), "a/text": text, "a/noise": noise(3<<20 + 5), "a/segment": noise(1 << 20)}
	path := pack(t, s, files)
	r, err := bundle.OpenOptions{Opener: NewOpener(ctx, nil, opt)}.Open(path)
	must(t, err)
	defer r.Close()
	for name, want := range files {
		got, err := readAll(r, name)
		must(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want %d", name, len(got), len(want))
		}
	}
	rep, err := r.Verify(ctx)
	must(t, err)
	for _, f := range rep.Files {
		if f.Status != bundle.OK || (f.Sealed == bundle.Opened) != (f.Path != "open.txt") {
			t.Errorf("%+v", f)
		}
	}

	// Without the key: locked, and still verified.
	r2, err := bundle.Open(path)
	must(t, err)
	defer r2.Close()
	var locked *bundle.LockedError
	if _, err := readAll(r2, "a/text"); !errors.As(err, &locked) || locked.Need[0] != s.Key().KeyRef {
		t.Errorf("%v", err)
	}
	rep, err = r2.Verify(ctx)
	must(t, err)
	if rep.Status != bundle.OK || rep.Files[0].Sealed == bundle.Opened {
		t.Errorf("%+v", rep)
	}
}
