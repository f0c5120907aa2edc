package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

var when = time.Date(2025, 1, 3, 12, 34, 56, 0, time.UTC)

// content is a file for a test bundle.
type content struct {
	name string
	data []byte
}

func file(name, data string) content { return content{name, []byte(data)} }

// noise is data that doesn't compress, the same for the same seed.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{seed})
	rng.Read(b)
	return b
}

func testManifest() *Manifest {
	return &Manifest{CreatedAt: when, Recorders: []Recorder{{"kind": "vm"}}}
}

// write makes a bundle and returns its path.
func write(t testing.TB, m *Manifest, files ...content) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.tar.zst")
	w, err := Create(path)
	must(t, err)
	defer w.Abort()
	for _, f := range files {
		must(t, w.Add(f.name, bytes.NewReader(f.data), FileInfo{}))
	}
	must(t, w.Commit(m))
	return path
}

func open(t testing.TB, path string) *Reader {
	t.Helper()
	r, err := Open(path)
	must(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

// openBytes opens a bundle that is in memory.
func openBytes(data []byte) (*Reader, error) {
	return NewReader(bytes.NewReader(data), int64(len(data)))
}

func readAll(t testing.TB, r *Reader, name string) []byte {
	t.Helper()
	data, err := read(r, name)
	must(t, err)
	return data
}

func read(r *Reader, name string) ([]byte, error) {
	f, err := r.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}

func verify(t testing.TB, r *Reader) *Report {
	t.Helper()
	rep, err := r.Verify(context.Background())
	must(t, err)
	return rep
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// makeTar makes a tar of headers; data is the same for all.
func makeTar(t testing.TB, data []byte, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		body := data
		if h.Name == ManifestName || h.Name == folder+ManifestName {
			body = []byte(smallManifest)
		}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag != tar.TypeReg {
			body = nil
		}
		h.Size, h.Mode = int64(len(body)), 0o644
		must(t, w.WriteHeader(&h))
		_, err := w.Write(body)
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

const smallManifest = "version: 1\nrecorders: []\n"

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

func zstded(t testing.TB, data []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, append(opts, zstd.WithEncoderCRC(true))...)
	must(t, err)
	_, err = w.Write(data)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

// seekable makes a bundle of ours out of any tar and index.
func seekable(t testing.TB, plain []byte, index []int64, end int64) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(true))
	must(t, err)
	out := enc.EncodeAll(plain, nil)
	frames := []frame{{packed: uint32(len(out)), size: uint32(len(plain)), sum: sumOf(out)}}
	ix := appendIndex(nil, index, end)
	frames = append(frames, frame{packed: uint32(len(ix)), sum: emptySum})
	return appendSeekTable(append(out, ix...), frames)
}

// run runs a program of the system that a test can't do without.
func run(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

// onlyIn fails the test if anything is in dir but the names given.
func onlyIn(t testing.TB, dir string, names ...string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, err)
	var found []string
	for _, e := range list {
		found = append(found, e.Name())
	}
	if len(found) != len(names) {
		t.Fatalf("%s holds %q, want %q", dir, found, names)
	}
	for i := range names {
		if found[i] != names[i] {
			t.Fatalf("%s holds %q, want %q", dir, found, names)
		}
	}
}

func isKnown(err error) bool {
	var newer *NewerError
	return errors.Is(err, ErrDamaged) || errors.Is(err, ErrNotBundle) || errors.As(err, &newer)
}
