package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// TestRandomTrees writes trees of every kind of size and reads them back: with
// our reader, file by file and whole, and with tar and zstd, who know nothing
// of us.
func TestRandomTrees(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			files := randomTree(rng)
			path := write(t, testManifest(), files...)
			run(t, "zstd", "-t", path)
			byTar, ours := t.TempDir(), t.TempDir()
			run(t, "tar", "--zstd", "-xf", path, "-C", byTar)

			r := open(t, path)
			if r.Format() != Seekable {
				t.Errorf("format %q", r.Format())
			}
			must(t, r.Extract(context.Background(), ours))
			rng.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
			for _, f := range files {
				if !bytes.Equal(readAll(t, r, f.name), f.data) {
					t.Errorf("%s: Open gives other data", f.name)
				}
				for _, dir := range []string{byTar, ours} {
					got, err := os.ReadFile(filepath.Join(dir, f.name))
					must(t, err)
					if !bytes.Equal(got, f.data) {
						t.Errorf("%s: other data in %s", f.name, dir)
					}
				}
			}
			run(t, "diff", "-r", byTar, ours)
			if rep := verify(t, r); rep.Status != OK || rep.Totals[OK] != len(files) {
				t.Errorf("verify: %+v", rep)
			}
		})
	}
}

// randomTree has files around the sizes where something changes: blocks,
// frames, paths that need a PAX header.
func randomTree(rng *rand.Rand) []content {
	sizes := []int{0, 1, block - 1, block, block + 1, 5000, frameSize / 3, frameSize/2 + 1, frameSize - block, frameSize - 1, frameSize, frameSize + 1, 2 * frameSize, 2*frameSize + 700}
	names := []string{"a", "traces/vm/replay.log", "dir/ünïcode-ß.txt", "deep/" + strings.Repeat("abcdefghi/", 30) + "leaf", strings.Repeat("n", 150), "with space", "-dash"}
	var files []content
	for i := range 1 + rng.IntN(25) {
		name := names[rng.IntN(len(names))] + fmt.Sprint(i)
		data := noise(byte(rng.Uint32()), sizes[rng.IntN(len(sizes))])
		if rng.IntN(2) == 0 {
			data = bytes.Repeat([]byte("the same line again\n"), len(data)/20+1)[:len(data)]
		}
		files = append(files, content{name, data})
	}
	return files
}

// TestDeterministic: the same files give the same bytes, whatever the number of
// cores and the size of the reads.
func TestDeterministic(t *testing.T) {
	files := randomTree(rand.New(rand.NewPCG(3, 3)))
	files = append(files, content{"big", noise(9, 5*frameSize+77)})
	build := func(wrap func(io.Reader) io.Reader) []byte {
		path := filepath.Join(t.TempDir(), "x.tar.zst")
		w, err := Create(path)
		must(t, err)
		defer w.Abort()
		for _, f := range files {
			must(t, w.Add(f.name, wrap(bytes.NewReader(f.data)), FileInfo{Class: Restricted}))
		}
		must(t, w.Commit(testManifest()))
		data, err := os.ReadFile(path)
		must(t, err)
		return data
	}
	want := build(func(r io.Reader) io.Reader { return r })
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"half":    iotest.HalfReader,
		"dataerr": iotest.DataErrReader,
	} {
		for _, procs := range []int{1, 2, 5} {
			runtime.GOMAXPROCS(procs)
			if !bytes.Equal(build(wrap), want) {
				t.Errorf("%s with %d cores: other bytes", name, procs)
			}
		}
	}
}

// TestLargeFileHasOwnFrames is what makes one file of a large bundle cheap.
func TestLargeFileHasOwnFrames(t *testing.T) {
	path := write(t, testManifest(), file("a", "small"), content{"big", noise(1, 3*frameSize+5)}, file("z", "small"))
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	st, err := f.Stat()
	must(t, err)
	tab, err := readSeekTable(f, st.Size())
	must(t, err)
	r := open(t, path)
	_, data, err := r.header(r.entries["big"])
	must(t, err)
	if !slices.Contains(tab.plain, data) {
		t.Errorf("big starts at %d, frames at %v", data, tab.plain)
	}
	if !slices.Contains(tab.plain, r.entries["z"].at) {
		t.Errorf("z starts at %d, frames at %v", r.entries["z"].at, tab.plain)
	}
}

func TestFailureLeavesNothing(t *testing.T) {
	boom := errors.New("boom")
	failing := func() io.Reader {
		return io.MultiReader(bytes.NewReader(noise(1, 3*frameSize)), iotest.ErrReader(boom))
	}
	tests := map[string]func(t *testing.T, w *Writer) error{
		"reader fails": func(t *testing.T, w *Writer) error { return w.Add("x", failing(), FileInfo{}) },
		"commit fails": func(t *testing.T, w *Writer) error { return w.Commit(&Manifest{}) },
		"commit later": func(t *testing.T, w *Writer) error {
			_ = w.Add("x", failing(), FileInfo{})
			return w.Commit(testManifest())
		},
		"just aborted":  func(t *testing.T, w *Writer) error { w.Abort(); return w.Add("x", strings.NewReader(""), FileInfo{}) },
		"aborted first": func(t *testing.T, w *Writer) error { w.Abort(); return w.Commit(testManifest()) },
		"disk fails": func(t *testing.T, w *Writer) error {
			must(t, w.spool.Close())
			_ = w.Add("x", bytes.NewReader(noise(1, 5*frameSize)), FileInfo{})
			return w.Commit(testManifest())
		},
		"bad key": func(t *testing.T, w *Writer) error {
			must(t, w.Add("x", strings.NewReader(""), FileInfo{Encryption: "nokey"}))
			return w.Commit(testManifest())
		},
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			old := filepath.Join(dir, "b.tar.zst")
			must(t, os.WriteFile(old, []byte("the old one"), 0o600))
			w, err := Create(old)
			must(t, err)
			must(t, w.Add("first", strings.NewReader("1"), FileInfo{}))
			if err := f(t, w); err == nil {
				t.Error("no error")
			}
			w.Abort()
			w.Abort()
			onlyIn(t, dir, "b.tar.zst")
			if data, _ := os.ReadFile(old); string(data) != "the old one" {
				t.Error("the old bundle was touched")
			}
		})
	}
}

// TestAbortWhileAdding ends an Add whose reader never ends.
func TestAbortWhileAdding(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(filepath.Join(dir, "b.tar.zst"))
	must(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	defer context.AfterFunc(ctx, w.Abort)()
	err = w.Add("endless", endless{}, FileInfo{})
	if !errors.Is(err, ErrAborted) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if w.spool != nil {
		t.Error("the spool is still open")
	}
	onlyIn(t, dir)
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestCommitReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "b.tar.zst")
	must(t, os.WriteFile(path, []byte("the old one"), 0o644))
	w, err := Create(path)
	must(t, err)
	must(t, w.Commit(testManifest()))
	w.Abort()
	onlyIn(t, dir, "b.tar.zst")
	if n := len(open(t, path).Files()); n != 0 {
		t.Errorf("%d files", n)
	}
	if err := w.Add("late", strings.NewReader(""), FileInfo{}); err == nil {
		t.Error("Add after Commit: no error")
	}
	st, err := os.Stat(path)
	must(t, err)
	if st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v: others may read what was recorded", st.Mode())
	}
}

func TestWriterRefuses(t *testing.T) {
	w, err := Create(filepath.Join(t.TempDir(), "b.tar.zst"))
	must(t, err)
	defer w.Abort()
	must(t, w.Add("a/b", strings.NewReader("1"), FileInfo{}))
	for _, name := range []string{"", "/abs", "../up", "a/../b", "a//b", "a/", "./a", ".", "..", "a\\b", "a\nb", "a\x1b[2J", "\xff", "rtl\u202e", ManifestName, "a/b", "a", "a/b/c", strings.Repeat("x", 2000)} {
		err := w.Add(name, strings.NewReader("2"), FileInfo{})
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: got %v", name, err)
		}
	}
	if err := w.Add("c", strings.NewReader(""), FileInfo{Class: "secret"}); err == nil {
		t.Error("unknown class: no error")
	}
	if err := w.AddFile("c", t.TempDir(), FileInfo{}); err == nil {
		t.Error("a folder as a file: no error")
	}
	if err := w.AddFile("c", "/nonexistent", FileInfo{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	// All of that was refused, none of it stands in the way.
	must(t, w.Add("c", strings.NewReader("3"), FileInfo{}))
	must(t, w.Commit(testManifest()))
}

func TestBundleID(t *testing.T) {
	id := func(m *Manifest, data string) string {
		write(t, m, file("a", data))
		return m.BundleID
	}
	one, again, other := id(testManifest(), "1"), id(testManifest(), "1"), id(testManifest(), "2")
	if one != again || one == other || len(one) != 36 {
		t.Errorf("%q %q %q", one, again, other)
	}
	m := testManifest()
	m.BundleID = "mine"
	if got := id(m, "1"); got != "mine" {
		t.Errorf("%q", got)
	}
}
