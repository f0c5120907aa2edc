package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

// pack compares writing a bundle with tar and zstd at the same level.
func pack(ctx context.Context, l *lab, r *report) error {
	dir := l.path("data")
	defer os.RemoveAll(dir)
	size, err := fill(dir, l.times(400, 40)<<20, l.times(100, 10)<<20)
	if err != nil {
		return err
	}
	out, peer := l.path("packed.tar.zst"), l.path("peer.tar.zst")
	defer os.Remove(out)
	defer os.Remove(peer)
	tool := fmt.Sprintf("tar -C %s -cf - . | zstd -q -f -3 -T1 -o %s", dir, peer)
	var ours, theirs []*result
	for range l.times(5, 2) {
		a, err := l.run(ctx, command{args: []string{l.tapedeck, "bundle", "build", "--rr", dir, "--out", out}})
		if err != nil {
			return err
		}
		b, err := l.run(ctx, command{args: []string{"sh", "-c", tool}})
		if err != nil {
			return err
		}
		ours, theirs = append(ours, a), append(theirs, b)
	}
	perCore := func(list []*result) float64 {
		return float64(size) / 1e6 / of(list, func(r *result) time.Duration { return r.cpu() }).Seconds()
	}
	row := func(name string, list []*result, file string) []string {
		st, err := os.Stat(file)
		if err != nil {
			return []string{name}
		}
		return []string{name, seconds(of(list, func(r *result) time.Duration { return r.wall })), seconds(of(list, func(r *result) time.Duration { return r.cpu() })),
			fmt.Sprintf("%.0f", perCore(list)), fmt.Sprintf("%.2f", float64(size)/float64(st.Size()))}
	}
	found := perCore(ours)
	r.bar("packing a bundle", "≥ 100 MB/s per core", fmt.Sprintf("%.0f MB/s (tar and zstd: %.0f)", found, perCore(theirs)), found >= 100)
	r.section(fmt.Sprintf("Packing %d MB", size/1e6), []string{"command", "wall s", "CPU s", "MB per CPU-second", "compressed"},
		[][]string{row("`tapedeck bundle build`", ours, out), row("`tar | zstd -3 -T1`", theirs, peer)},
		"Four fifths are lines of JSON, the rest does not compress. A bundle also has the SHA-256 of every file, a seek table and an index.")
	return nil
}

// fill writes event-like lines and noise into a folder, in files of 20 MB and
// smaller, and returns their size.
func fill(dir string, events, random int) (int64, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	const each = 20 << 20
	n := 0
	file := func(size int, write func(io.Writer, int) error) error {
		for ; size > 0; size -= each {
			n++
			f, err := os.Create(filepath.Join(dir, fmt.Sprintf("part%03d", n)))
			if err != nil {
				return err
			}
			if err := write(f, min(size, each)); err != nil {
				return err
			}
			if err := f.Close(); err != nil {
				return err
			}
		}
		return nil
	}
	rng := rand.New(rand.NewPCG(1, 0))
	if err := file(events, func(w io.Writer, n int) error { return lines(w, rng, n) }); err != nil {
		return 0, err
	}
	noise := rand.NewChaCha8([32]byte{1})
	err := file(random, func(w io.Writer, n int) error { return copyN(w, noise, n) })
	return int64(events) + int64(random), err
}

func copyN(w io.Writer, r io.Reader, n int) error {
	_, err := io.CopyN(w, r, int64(n))
	return err
}

// lines writes n bytes that compress about four times, as event files do.
func lines(w io.Writer, rng *rand.Rand, n int) error {
	b := bufio.NewWriterSize(w, 1<<20)
	types := []string{"JavaMonitorEnter", "SocketRead", "ThreadPark"}
	for at := 0; at < n; {
		line := fmt.Appendf(nil, `{"seq":%d,"ts":%d,"type":"%s","thread":"http-nio-8443-exec-%d","addr":"0x%012x","dur_ns":%d}`+"\n",
			at, 1735907696_000000000+at*37, types[rng.IntN(3)], rng.IntN(32), rng.Uint64()>>16, rng.IntN(5_000_000))
		line = line[:min(len(line), n-at)]
		if _, err := b.Write(line); err != nil {
			return err
		}
		at += len(line)
	}
	return b.Flush()
}

const small = "inputs/time.ndjson"

// open compares reading one small file of a large bundle with tar.
func open(ctx context.Context, l *lab, r *report) error {
	path := l.path("large.tar.zst")
	defer os.Remove(path)
	if err := large(path, int64(l.times(600, 150))<<20); err != nil {
		return err
	}
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	var whole, library, peer []time.Duration
	for n := range l.times(25, 5) {
		res, err := l.run(ctx, command{args: []string{l.tapedeck, "bundle", "extract", path, "-o", "-", small}})
		if err != nil {
			return err
		}
		if string(res.stdout) != content {
			return fmt.Errorf("extract: want %q, found %q", content, res.stdout)
		}
		whole = append(whole, res.wall)
		start := time.Now()
		if err := readSmall(path); err != nil {
			return err
		}
		library = append(library, time.Since(start))
		if n%5 == 0 { // it takes a second
			res, err := l.run(ctx, command{args: []string{"tar", "--zstd", "-xOf", path, small}})
			if err != nil {
				return err
			}
			peer = append(peer, res.wall)
		}
	}
	found := median(whole)
	r.bar(fmt.Sprintf("one small file of a bundle of %.1f GB", float64(st.Size())/1e9), "≤ 20 ms",
		fmt.Sprintf("%s (tar: %s)", millis(found), millis(median(peer))), found <= 20*time.Millisecond)
	r.section("Reading one small file", []string{"command", "wall, median"}, [][]string{
		{"`tapedeck bundle extract BUNDLE -o - NAME`", fmt.Sprintf("%.1f ms", found.Seconds()*1000)},
		{"package bundle: `Open`, `ReadFile`", fmt.Sprintf("%.1f ms", median(library).Seconds()*1000)},
		{"`tar --zstd -xOf BUNDLE NAME`", fmt.Sprintf("%.0f ms", median(peer).Seconds()*1000)},
	}, fmt.Sprintf("A bundle of %d MB with 1,002 other files around that one.", st.Size()/1e6))
	return nil
}

const content = `{"seq":1}`

// large makes a bundle with two files of the given size, which do not
// compress, and a thousand small ones between them.
func large(path string, size int64) error {
	w, err := bundle.Create(path)
	if err != nil {
		return err
	}
	defer w.Abort()
	rng := rand.NewChaCha8([32]byte{1})
	if err := w.Add("traces/vm/first", io.LimitReader(rng, size), bundle.FileInfo{}); err != nil {
		return err
	}
	for i := range 1000 {
		if err := w.Add(fmt.Sprintf("inputs/http_vcr/%05d.warc.gz", i), io.LimitReader(rng, 2000), bundle.FileInfo{}); err != nil {
			return err
		}
	}
	if err := w.Add(small, bytes.NewReader([]byte(content)), bundle.FileInfo{}); err != nil {
		return err
	}
	if err := w.Add("traces/vm/second", io.LimitReader(rng, size), bundle.FileInfo{}); err != nil {
		return err
	}
	return w.Commit(&bundle.Manifest{CreatedAt: time.Now().UTC(), Recorders: []bundle.Recorder{{"kind": "vm"}}})
}

func readSmall(path string) error {
	r, err := bundle.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	data, err := r.ReadFile(small, 100)
	if err == nil && string(data) != content {
		err = fmt.Errorf("bundle: want %q, found %q", content, data)
	}
	return err
}
