package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestForeign reads what the script testdata/foreign.py made: a tar.gz with a
// folder around all, a JSON manifest, and no digests.
func TestForeign(t *testing.T) {
	r := open(t, "testdata/foreign.tar.gz")
	m := r.Manifest()
	if r.Format() != TarGzip || m.BundleID != "0b7a6d0e-1f0b-4b0a-9a55-3d2f7c1c9e11" || m.Recorders[0].String("jfr_file") != "traces/jfr/incident.jfr" || m.Inputs.DBCassette != "inputs/sql_vcr.sqlite" {
		t.Errorf("%s %+v", r.Format(), m)
	}
	var names []string
	for _, f := range r.Files() {
		names = append(names, fmt.Sprintf("%s %d %s", f.Path, f.Size, f.MediaType))
	}
	want := []string{"inputs/http_vcr/checkout.har 43 application/json", "inputs/sql_vcr.sqlite 512 application/vnd.sqlite3", "traces/jfr/incident.jfr 208 application/x-jfr"}
	if fmt.Sprint(names) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", names, want)
	}
	if data := readAll(t, r, m.Recorders[0].String("jfr_file")); !bytes.HasPrefix(data, []byte("FLR\x00")) || len(data) != 208 {
		t.Errorf("%d bytes: %q", len(data), data)
	}
	rep := verify(t, r)
	if rep.Status != Unverified || rep.Totals[Unverified] != 3 || rep.Totals[OK] != 0 {
		t.Errorf("verify: %+v", rep)
	}
	if w := r.Warnings(); len(w) != 1 || !strings.Contains(w[0], "no digests") {
		t.Errorf("warnings: %q", w)
	}
	dir := t.TempDir()
	must(t, r.Extract(context.Background(), dir))
	onlyIn(t, filepath.Join(dir, "traces/jfr"), "incident.jfr")
	onlyIn(t, dir, "inputs", ManifestName, "traces")
}

// TestRepacked: a bundle of ours that somebody unpacked and packed again, with
// other tools, keeps its digests.
func TestRepacked(t *testing.T) {
	files := []content{file("traces/a", "alpha"), {"big", noise(1, 3*frameSize)}, file("inputs/z", "")}
	path := write(t, testManifest(), files...)
	dir := t.TempDir()
	run(t, "tar", "--zstd", "-xf", path, "-C", dir)
	must(t, os.Rename(path, path+".ours"))
	for name, args := range map[string][]string{
		"x.tar":     {"-cf", "x.tar", "-C", dir, "."},
		"x.tar.gz":  {"-czf", "x.tar.gz", "-C", dir, "traces", "big", "inputs", ManifestName},
		"x.tar.zst": {"--zstd", "-cf", "x.tar.zst", "-C", filepath.Dir(dir), "--transform", "s/^" + filepath.Base(dir) + "/bundle/", filepath.Base(dir)},
		"gnu.tar":   {"--format=gnu", "-cf", "gnu.tar", "-C", dir, "."},
		"v7.tar":    {"--format=v7", "-cf", "v7.tar", "-C", dir, "."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			run(t, "tar", args...)
			r := open(t, name)
			if rep := verify(t, r); rep.Status != OK || rep.Totals[OK] != 3 {
				t.Errorf("%+v", rep)
			}
			for _, f := range files {
				if !bytes.Equal(readAll(t, r, f.name), f.data) {
					t.Errorf("%s has other data", f.name)
				}
			}
			must(t, r.Extract(context.Background(), "out"))
			run(t, "diff", "-r", "out", dir)
		})
	}
}

// TestForeignSeekable: a seek table without our index, as other programs make.
func TestForeignSeekable(t *testing.T) {
	plain, _ := tarWith(t, listing(t, File{Path: "a", Size: 1, SHA256: sumOfX}), file("a", "x"))
	var out []byte
	var frames []frame
	for len(plain) > 0 {
		n := min(len(plain), 700)
		z := zstded(t, plain[:n])
		out, plain = append(out, z...), plain[n:]
		frames = append(frames, frame{packed: uint32(len(z)), size: uint32(n), sum: sumOf(z)})
	}
	r, err := openBytes(appendSeekTable(out, frames))
	must(t, err)
	if rep := verify(t, r); r.Format() != Seekable || rep.Status != OK {
		t.Errorf("%s %+v", r.Format(), rep)
	}
}

func TestVerifyReport(t *testing.T) {
	x := func(name string) File { return File{Path: name, Size: 1, SHA256: sumOfX} }
	signed := x("signed")
	signed.SHA256 = ""
	plain, _ := tarWith(t, listing(t, x("good"), x("wrong"), x("gone"), File{Path: "long", Size: 9, SHA256: sumOfX}, signed),
		file("good", "x"), file("wrong", "y"), file("long", "x"), file("signed", "x"), file("extra", "x"), file("attestations/m.dsse.json", "{}"))
	want := map[string]Status{"good": OK, "wrong": Damaged, "gone": Missing, "long": Damaged, "signed": Unverified, "extra": Unlisted, "attestations/m.dsse.json": Detached}
	for form, data := range map[Format][]byte{Tar: plain, TarGzip: gzipped(t, plain)} {
		r, err := openBytes(data)
		must(t, err)
		rep := verify(t, r)
		if rep.Status != Damaged || rep.Format != form || len(rep.Files) != len(want) {
			t.Errorf("%+v", rep)
		}
		for _, f := range rep.Files {
			if f.Status != want[f.Path] {
				t.Errorf("%s: %s is %s, want %s", form, f.Path, f.Status, want[f.Path])
			}
			if (f.Detail != "") != (f.Status == Damaged) {
				t.Errorf("%s: %s: detail %q", form, f.Path, f.Detail)
			}
		}
		if _, err := r.Open("extra"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("an unlisted file: %v", err)
		}
		if got := string(readAll(t, r, "attestations/m.dsse.json")); got != "{}" {
			t.Errorf("signature: %q", got)
		}
		if _, err := r.Open("gone"); !errors.Is(err, ErrDamaged) {
			t.Errorf("a missing file: %v", err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(filepath.Join(dir, "none"))
	if !errors.Is(err, ErrNoBundle) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	if _, err := Open(dir); !errors.Is(err, ErrNotBundle) {
		t.Errorf("a folder: %v", err)
	}
	pipe := filepath.Join(dir, "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	if _, err := Open(pipe); !errors.Is(err, ErrNotBundle) {
		t.Errorf("a pipe: %v", err)
	}
	for name, data := range map[string]string{"empty": "", "text": "hello", "long text": strings.Repeat("hello\n", 1000), "gzip of text": string(gzipped(t, []byte("hello"))), "zip": "PK\x03\x04" + strings.Repeat("x", 600)} {
		if _, err := openBytes([]byte(data)); !errors.Is(err, ErrNotBundle) || errors.Is(err, ErrNoBundle) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := open(t, write(t, testManifest(), file("traces/a.txt", "x")))
	_, err = r.Open("a.txt")
	var hint interface{ Hint() string }
	if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNoBundle) || !errors.As(err, &hint) || hint.Hint() != `did you mean "traces/a.txt"?` {
		t.Errorf("got %v", err)
	}
	if err := r.Extract(context.Background(), dir, "nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("extract: %v", err)
	}
	if _, err := r.ReadFile("traces/a.txt", 0); !errors.Is(err, ErrDamaged) {
		t.Errorf("ReadFile within 0 bytes: %v", err)
	}
}

func TestExtractSome(t *testing.T) {
	r := open(t, write(t, testManifest(), file("a/1", "x"), file("a/2", "x"), file("ab", "x"), file("c/d/e", "x")))
	dir := t.TempDir()
	must(t, r.Extract(context.Background(), dir, "a/", "c/d/e", "a/2"))
	onlyIn(t, dir, "a", "c")
	onlyIn(t, filepath.Join(dir, "a"), "1", "2")
	must(t, r.Extract(context.Background(), filepath.Join(dir, "new/one"), ManifestName))
	onlyIn(t, filepath.Join(dir, "new/one"), ManifestName)
}

// TestOneFileCostsLittle: what a small file of a large bundle costs to read.
func TestOneFileCostsLittle(t *testing.T) {
	path := write(t, testManifest(), content{"large", noise(1, 40*frameSize)}, file("small", "here"), content{"more", noise(2, 10*frameSize)})
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	st, err := f.Stat()
	must(t, err)
	src := &countingAt{r: f}
	r, err := NewReader(src, st.Size())
	must(t, err)
	if got := string(readAll(t, r, "small")); got != "here" {
		t.Errorf("got %q", got)
	}
	if n := src.n.Load(); n > 64<<10 {
		t.Errorf("read %d bytes of %d for a file of four", n, st.Size())
	}
}

type countingAt struct {
	r io.ReaderAt
	n atomic.Int64
}

func (c *countingAt) ReadAt(b []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(b, off)
	c.n.Add(int64(n))
	return n, err
}

func TestConcurrentReads(t *testing.T) {
	var files []content
	for i := range 8 {
		files = append(files, content{fmt.Sprint(i), noise(byte(i), frameSize/2*i+i)})
	}
	r := open(t, write(t, testManifest(), files...))
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			f := files[i%len(files)]
			if got, err := read(r, f.name); err != nil || !bytes.Equal(got, f.data) {
				t.Errorf("%s: %v", f.name, err)
			}
		})
	}
	wg.Wait()
}

func TestCancel(t *testing.T) {
	plain := run(t, "zstd", "-dc", write(t, testManifest(), content{"a", noise(1, frameSize)}))
	for name, data := range map[string][]byte{"tar": plain, "gz": gzipped(t, plain)} {
		r, err := openBytes(data)
		must(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := r.Verify(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: verify: %v", name, err)
		}
		dir := t.TempDir()
		if err := r.Extract(ctx, dir); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: extract: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "a")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: half a file was left: %v", name, err)
		}
	}
}
