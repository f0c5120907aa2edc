package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHostile: each of these is refused with an error that says what it is,
// in every format that it can come in.
func TestHostile(t *testing.T) {
	one := tar.Header{Name: ManifestName}
	with := func(h tar.Header) []byte { return makeTar(t, []byte("x"), one, h) }
	tests := []struct {
		name string
		tar  []byte
		want string
	}{
		{"traversal", with(tar.Header{Name: "../../etc/cron.d/x"}), `unsafe bundle: "../../etc/cron.d/x" has an empty, . or .. element`},
		{"inner traversal", with(tar.Header{Name: "a/../../x"}), "has an empty, . or .. element"},
		{"absolute", with(tar.Header{Name: "/etc/passwd"}), "is an absolute path"},
		{"backslash", with(tar.Header{Name: `..\x`}), "has a backslash"},
		{"control characters", with(tar.Header{Name: "a\x1b]0;owned\a"}), "has control characters"},
		{"not UTF-8", with(tar.Header{Name: "a\xff"}), "is not UTF-8"},
		{"symlink", with(tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}), `"l" is a symbolic link, only files may be in a bundle`},
		{"hard link", with(tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: ManifestName}), "is a hard link"},
		{"character device", with(tar.Header{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}), "is a device"},
		{"block device", with(tar.Header{Name: "sda", Typeflag: tar.TypeBlock, Devmajor: 8}), "is a device"},
		{"named pipe", with(tar.Header{Name: "p", Typeflag: tar.TypeFifo}), "is a named pipe"},
		{"odd type", with(tar.Header{Name: "odd", Typeflag: 'Q'}), "is a tar entry of type 'Q'"},
		{"folder outside", with(tar.Header{Name: "../d/", Typeflag: tar.TypeDir}), "has an empty, . or .. element"},
		{"duplicate", makeTar(t, []byte("x"), one, tar.Header{Name: "a"}, tar.Header{Name: "a"}), `"a" is in the tar twice`},
		{"duplicate by dots", makeTar(t, []byte("x"), one, tar.Header{Name: "a"}, tar.Header{Name: "./a"}), `"a" is in the tar twice`},
		{"file as a folder", makeTar(t, []byte("x"), one, tar.Header{Name: "a"}, tar.Header{Name: "a/b"}), `"a/b" is below "a", which is a file`},
		{"two manifests", makeTar(t, nil, one, one), "is in the tar twice"},
		{"manifest in both places", makeTar(t, nil, one, tar.Header{Name: folder + ManifestName}), "is a second manifest"},
		{"outside the folder", makeTar(t, []byte("x"), tar.Header{Name: folder + ManifestName}, tar.Header{Name: "x"}), "is outside the folder of the manifest"},
		{"long path", with(tar.Header{Name: strings.Repeat("p/", 1000) + "x"}), "at most 1024 bytes of path are allowed, found 2001"},
		{"sparse, pax", sparse(t, "posix"), "is a sparse file"},
		{"sparse, gnu", sparse(t, "gnu"), "is a sparse file"},
		{"size bomb", sizeBomb(t, 1<<40), "1099511627776"},
		{"no manifest", makeTar(t, []byte("x"), tar.Header{Name: "a"}), "not a replay bundle: need trace_bundle.yaml in the tar, found 1 other files"},
		{"nothing", makeTar(t, nil), "not a replay bundle: need trace_bundle.yaml"},
		{"noise", noise(1, 4096), "not a replay bundle: need a tar"},
	}
	for _, tt := range tests {
		for form, pack := range map[Format]func([]byte) []byte{
			Tar:     func(b []byte) []byte { return b },
			TarGzip: func(b []byte) []byte { return gzipped(t, b) },
			TarZstd: func(b []byte) []byte { return zstded(t, b) },
		} {
			t.Run(tt.name+"/"+string(form), func(t *testing.T) {
				_, err := openBytes(pack(tt.tar))
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("got %v, want %q", err, tt.want)
				}
				if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotBundle) {
					t.Errorf("%T is of no known class", err)
				}
			})
		}
	}
}

// sparse is what the real tar makes of a file with holes.
func sparse(t *testing.T, format string) []byte {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, ManifestName), []byte(smallManifest), 0o600))
	f, err := os.Create(filepath.Join(dir, "holes"))
	must(t, err)
	_, err = f.WriteAt([]byte("x"), 1<<20)
	must(t, errors.Join(err, f.Truncate(1<<30), f.Close()))
	out := filepath.Join(dir, "out.tar")
	run(t, "tar", "--format", format, "-S", "-C", dir, "-cf", out, ManifestName, "holes")
	data, err := os.ReadFile(out)
	must(t, err)
	if len(data) > 1<<20 {
		t.Fatalf("tar made %d bytes: the file has no holes", len(data))
	}
	return data
}

// sizeBomb has a file that claims to be of that size.
func sizeBomb(t *testing.T, size int64) []byte {
	b := makeTar(t, nil, tar.Header{Name: ManifestName})
	b = b[:len(b)-2*block]
	h, err := header("bomb", size)
	must(t, err)
	return append(append(b, h...), make([]byte, 4*block)...)
}

// TestBombs are small files that unpack to what no disk holds, or need a
// window that no memory does.
func TestBombs(t *testing.T) {
	head, err := header("zeros", 60<<30)
	must(t, err)
	start := makeTar(t, nil, tar.Header{Name: ManifestName})
	start = append(start[:len(start)-2*block], head...)

	window := []byte{0x28, 0xB5, 0x2F, 0xFD, 0, 21 << 3} // 2 GiB
	window = append(rawBlock(window, start, true), 0)[:len(window)+3+len(start)]

	var table []frame
	first := zstded(t, start)
	table = append(table, frame{packed: uint32(len(first)), size: uint32(len(start))})
	seek := bytes.Clone(first)
	for range 40 {
		z := zeros(60)
		table = append(table, frame{packed: uint32(len(z)), size: 60 << 20})
		seek = append(seek, z...)
	}
	seek = appendSeekTable(seek, table)

	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"ratio, stream", append(bytes.Clone(first), zeros(8000)...), "bundle: at most 5000 bytes unpacked per byte packed are allowed"},
		{"ratio, seekable", seek, "bundle: at most 5000 bytes unpacked per byte packed are allowed"},
		{"window", window, "bundle: at most 134217728 bytes of zstd window are allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if len(tt.data) > 1<<20 {
				t.Fatalf("the bomb has %d bytes: no bomb", len(tt.data))
			}
			_, err := openBytes(tt.data)
			var limit *LimitError
			if !errors.As(err, &limit) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// zeros is a zstd frame of n MiB of zeros in 32 bytes for each.
func zeros(mib int) []byte {
	b := []byte{0x28, 0xB5, 0x2F, 0xFD, 0, 10 << 3} // window 1 MiB, no content size, no checksum
	for i := range mib * 8 {
		h := uint32(128<<10)<<3 | 1<<1 // a run of one byte
		if i == mib*8-1 {
			h |= 1
		}
		b = append(b, byte(h), byte(h>>8), byte(h>>16), 0)
	}
	return b
}

func rawBlock(b, data []byte, last bool) []byte {
	h := uint32(len(data)) << 3
	if last {
		h |= 1
	}
	b = append(b, byte(h), byte(h>>8), byte(h>>16))
	return append(b, data...)
}

func TestLimits(t *testing.T) {
	files := []content{file("a", "12345"), file("b", strings.Repeat("x", 2000)), file("long/path/here", "")}
	path := write(t, testManifest(), files...)
	data, err := os.ReadFile(path)
	must(t, err)
	plain := run(t, "zstd", "-dc", path)
	for _, tt := range []struct {
		lim  Limits
		want string
	}{
		{Limits{Entries: 2}, "at most 2 files"},
		{Limits{Manifest: 100}, "trace_bundle.yaml: at most 100 bytes"},
		{Limits{File: 1000}, "b: at most 1000 bytes of a file are allowed, found 2000"},
		{Limits{Total: 2003}, "at most 2003 bytes"},
		{Limits{Path: 5}, "at most 5 bytes of path"},
	} {
		for name, form := range map[string][]byte{"seekable": data, "tar": plain, "gz": gzipped(t, plain)} {
			_, err := tt.lim.NewReader(bytes.NewReader(form), int64(len(form)))
			var limit *LimitError
			if !errors.As(err, &limit) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: got %v, want %q", name, err, tt.want)
			}
		}
	}
	if _, err := (Limits{Entries: 4, File: 2000, Total: 1 << 20}).Open(path); err != nil {
		t.Errorf("within the limits: %v", err)
	}
}

// listing makes a manifest that lists files.
func listing(t *testing.T, files ...File) string {
	m := &Manifest{Version: Version{Major: 1}, Recorders: []Recorder{}, Files: files}
	text, err := m.Encode()
	must(t, err)
	return string(text)
}

const sumOfX = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"

// tarWith is a tar of a manifest and files, and where each header is.
func tarWith(t *testing.T, manifest string, files ...content) (plain []byte, starts []int64) {
	for _, f := range append([]content{file(ManifestName, manifest)}, files...) {
		starts = append(starts, int64(len(plain)))
		h, err := header(f.name, int64(len(f.data)))
		must(t, err)
		plain = append(append(append(plain, h...), f.data...), padding(int64(len(f.data)))...)
	}
	end := int64(len(plain))
	return append(plain, make([]byte, 2*block)...), append(starts[1:], end)
}

// TestLyingIndex: who goes by the entry index sees what tar sees, or an error.
func TestLyingIndex(t *testing.T) {
	a, b := File{Path: "a", Size: 1, SHA256: sumOfX}, File{Path: "b", Size: 1, SHA256: sumOfX}
	x := []content{file("a", "x"), file("b", "x"), file("hidden", "y")}
	plain, at := tarWith(t, listing(t, a, b), x...)
	short, shortAt := tarWith(t, listing(t, a, b), x[:2]...)
	end := at[3]
	tests := []struct {
		name  string
		data  []byte
		want  string // in an error of Open, or of the report
		fatal bool
	}{
		{"honest", seekable(t, short, shortAt[:2], shortAt[2]), "", false},
		{"unlisted at the end", seekable(t, plain, at[:3], end), "unlisted", false},
		{"hidden at the end", seekable(t, plain, at[:2], at[2]), "need nothing behind the files", false},
		{"hidden between", seekable(t, plain, []int64{at[0], at[2]}, end), "", false},
		{"hidden in an entry", seekable(t, plain, at[:2], end), "need a tar entry of", false},
		{"not at the first", seekable(t, plain, at[1:3], end), "need the first file at byte", true},
		{"swapped names", seekable(t, plain, []int64{at[0], at[0]}, end), "damaged", false},
		{"too few", seekable(t, plain, at[:1], end), "need an entry index of 2 files, found 1", true},
		{"no end", seekable(t, short[:shortAt[2]], shortAt[:2], shortAt[2]), "need the end mark of the tar", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := openBytes(tt.data)
			if tt.fatal {
				if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("got %v, want %q", err, tt.want)
				}
				return
			}
			must(t, err)
			rep := verify(t, r)
			if all := fmt.Sprintf("%+v", rep); !strings.Contains(all, tt.want) || (rep.Status == OK) != (tt.name == "honest") {
				t.Errorf("got %s, want %q", all, tt.want)
			}
			if data, err := read(r, "hidden"); err == nil {
				t.Errorf("hidden file gives %q", data)
			}
		})
	}
}

func TestManifestNotFirst(t *testing.T) {
	h, err := header("a", 0)
	must(t, err)
	plain, _ := tarWith(t, smallManifest)
	plain = append(h, plain...)
	// In a bundle of ours it has to be; the tar of somebody else may have it
	// anywhere.
	_, err = openBytes(seekable(t, plain, []int64{0}, block))
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), `need trace_bundle.yaml as the first entry, found "a"`) {
		t.Errorf("got %v", err)
	}
	if _, err = openBytes(plain); err != nil {
		t.Errorf("a foreign tar: %v", err)
	}
}

func TestNewerBundle(t *testing.T) {
	plain, at := tarWith(t, "version: 2\nrecorders: {}\n")
	for _, data := range [][]byte{seekable(t, plain, nil, at[0]), plain} {
		_, err := openBytes(data)
		var newer *NewerError
		if !errors.As(err, &newer) || err.Error() != "bundle has format version 2, this program reads up to 1.x" {
			t.Errorf("got %v", err)
		}
	}
}

// TestWrongDigest: the container is intact, the content is another.
func TestWrongDigest(t *testing.T) {
	for name, data := range map[string]string{"other": "y", "empty": ""} {
		f := File{Path: "a", Size: int64(len(data)), SHA256: sumOfX}
		plain, at := tarWith(t, listing(t, f), file("a", data))
		for form, packed := range map[string][]byte{"seekable": seekable(t, plain, at[:1], at[1]), "tar": plain, "gz": gzipped(t, plain)} {
			r, err := openBytes(packed)
			must(t, err)
			got, err := read(r, "a")
			var bad *DamagedError
			if !errors.As(err, &bad) || bad.Need != "SHA-256 "+sumOfX || len(got) > 0 {
				t.Errorf("%s, %s: got %q, %v", name, form, got, err)
			}
			dir := t.TempDir()
			if err := r.Extract(context.Background(), dir, "a"); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s, %s: extract: %v", name, form, err)
			}
			onlyIn(t, dir)
			if rep := verify(t, r); rep.Totals[Damaged] != 1 || rep.Status != Damaged {
				t.Errorf("%s, %s: %+v", name, form, rep)
			}
		}
	}
	// Who knows the size and reads no further doesn't get it either.
	f := File{Path: "a", Size: 4, SHA256: sumOfX}
	plain, _ := tarWith(t, listing(t, f), file("a", "yyyy"))
	r, err := openBytes(plain)
	must(t, err)
	src, err := r.Open("a")
	must(t, err)
	if n, err := io.ReadFull(src, make([]byte, 4)); err == nil {
		t.Errorf("%d bytes and no error", n)
	}
}

// TestTruncated cuts a bundle at every length. What is left either gives an
// error or is whole: the last bytes are the seek table, without which a bundle
// can still be read.
func TestTruncated(t *testing.T) {
	files := []content{file("a", "alpha"), file("b/c", strings.Repeat("beta ", 300))}
	path := write(t, testManifest(), files...)
	whole, err := os.ReadFile(path)
	must(t, err)
	plain := run(t, "zstd", "-dc", path)
	for form, data := range map[string][]byte{"seekable": whole, "tar": plain[:len(plain)-block], "gz": gzipped(t, plain), "zst": zstded(t, plain)} {
		opened := 0
		for n := range len(data) {
			r, err := openBytes(data[:n])
			if err != nil {
				if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotBundle) {
					t.Errorf("%s cut at %d: %v", form, n, err)
				}
				continue
			}
			opened++
			rep := verify(t, r)
			for _, f := range files {
				got, err := read(r, f.name)
				if err == nil && !bytes.Equal(got, f.data) {
					t.Errorf("%s cut at %d: %s has other data", form, n, f.name)
				}
				if err != nil && rep.Status == OK {
					t.Errorf("%s cut at %d: verify says ok, %s says %v", form, n, f.name, err)
				}
			}
		}
		if opened > len(data)/4 {
			t.Errorf("%s: %d of %d pieces can be opened", form, opened, len(data))
		}
	}
}

// TestFlippedBits changes every byte of a bundle. Whatever can still be read is
// what was written.
func TestFlippedBits(t *testing.T) {
	files := []content{file("a", "alpha"), file("b/c", strings.Repeat("beta ", 300)), {"big", noise(1, 700)}}
	path := write(t, testManifest(), files...)
	whole, err := os.ReadFile(path)
	must(t, err)
	manifest := open(t, path).ManifestBytes()
	plain := run(t, "zstd", "-dc", path)
	for form, data := range map[string][]byte{"seekable": whole, "tar": plain, "gz": gzipped(t, plain), "zst": zstded(t, plain)} {
		for i := range data {
			for _, mask := range []byte{1 << (i % 8), 0x80 >> (i % 8), 0xFF} {
				bad := bytes.Clone(data)
				bad[i] ^= mask
				r, err := openBytes(bad)
				if err != nil {
					continue
				}
				// A plain tar has no checksum of the manifest itself; that is
				// what signatures are for.
				if form != "tar" && !bytes.Equal(r.ManifestBytes(), manifest) {
					t.Errorf("%s: byte %d ^ %#x: another manifest", form, i, mask)
				}
				for _, f := range files {
					if got, err := read(r, f.name); err == nil && !bytes.Equal(got, f.data) && form != "tar" {
						t.Errorf("%s: byte %d ^ %#x: %s has other data", form, i, mask, f.name)
					}
				}
			}
		}
	}
}

// TestExtractStaysInside puts links in the way.
func TestExtractStaysInside(t *testing.T) {
	path := write(t, testManifest(), file("a/b", "x"), file("c", "x"))
	r := open(t, path)
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "c"), []byte("precious"), 0o600))
	prepare := map[string]func(dir string) error{
		"folder is a link out": func(dir string) error { return os.Symlink(outside, filepath.Join(dir, "a")) },
		"folder is a link in": func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "real"), 0o755), os.Symlink("real", filepath.Join(dir, "a")))
		},
		"file is a link out":     func(dir string) error { return os.Symlink(filepath.Join(outside, "c"), filepath.Join(dir, "c")) },
		"file is a link nowhere": func(dir string) error { return os.Symlink(filepath.Join(outside, "new"), filepath.Join(dir, "c")) },
		"file is there":          func(dir string) error { return os.WriteFile(filepath.Join(dir, "c"), []byte("old"), 0o600) },
		"folder is a file":       func(dir string) error { return os.WriteFile(filepath.Join(dir, "a"), []byte("old"), 0o600) },
	}
	for name, f := range prepare {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, f(dir))
			if err := r.Extract(context.Background(), dir, "a", "c"); err == nil || !strings.Contains(err.Error(), "need a") {
				t.Errorf("got %v", err)
			}
			onlyIn(t, outside, "c")
			if data, _ := os.ReadFile(filepath.Join(outside, "c")); string(data) != "precious" {
				t.Error("a file outside was written")
			}
		})
	}
}

// TestSeekTableLies: the table belongs to another file, or to none.
func TestSeekTableLies(t *testing.T) {
	path := write(t, testManifest(), file("a", strings.Repeat("alpha ", 100)))
	data, err := os.ReadFile(path)
	must(t, err)
	le := binary.LittleEndian
	foot := len(data) - seekFooterLen
	n := int(le.Uint32(data[foot:]))
	entries := foot - 12*n
	tests := map[string]func(b []byte){
		"number of frames":    func(b []byte) { le.PutUint32(b[foot:], 1<<31) },
		"one frame less":      func(b []byte) { le.PutUint32(b[foot:], uint32(n-1)) },
		"reserved bit":        func(b []byte) { b[foot+4] |= 4 },
		"packed size":         func(b []byte) { le.PutUint32(b[entries:], le.Uint32(b[entries:])+1) },
		"plain size":          func(b []byte) { le.PutUint32(b[entries+4:], le.Uint32(b[entries+4:])+1) },
		"checksum":            func(b []byte) { b[entries+8]++ },
		"huge frame":          func(b []byte) { le.PutUint32(b[entries+4:], maxFrame) },
		"size of the table":   func(b []byte) { b[entries-4]++ },
		"start of the table":  func(b []byte) { b[entries-8]++ },
		"number in the index": func(b []byte) { b[entries-skipHeaderLen-5]++ },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			bad := bytes.Clone(data)
			change(bad)
			r, err := openBytes(bad)
			if err == nil {
				_, err = read(r, "a")
			}
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestWindowOfFrames: the limit holds for frames read one by one too.
func TestWindowOfFrames(t *testing.T) {
	plain, at := tarWith(t, smallManifest)
	out := rawBlock([]byte{0x28, 0xB5, 0x2F, 0xFD, 0, 14 << 3}, plain, true) // 16 MiB
	frames := []frame{{packed: uint32(len(out)), size: uint32(len(plain))}}
	ix := appendIndex(nil, nil, at[0])
	frames = append(frames, frame{packed: uint32(len(ix)), sum: emptySum})
	data := appendSeekTable(append(out, ix...), frames)
	if _, err := openBytes(data); err != nil {
		t.Fatal(err)
	}
	_, err := (Limits{Window: 1 << 20}).NewReader(bytes.NewReader(data), int64(len(data)))
	var limit *LimitError
	if !errors.As(err, &limit) {
		t.Errorf("got %v", err)
	}
}
