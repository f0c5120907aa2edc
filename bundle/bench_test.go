package bundle

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// traceLike writes n bytes that compress about four times, as logs and event
// files do.
func traceLike(w io.Writer, seed uint64, n int) error {
	rng := rand.New(rand.NewPCG(seed, 0))
	b := bufio.NewWriterSize(w, 1<<20)
	for left := n; left > 0; {
		line := fmt.Appendf(nil, `{"seq":%d,"ts":%d,"type":"%s","thread":"http-nio-8443-exec-%d","addr":"0x%012x","dur_ns":%d}`+"\n",
			n-left, 1735907696_000000000+uint64(n-left)*37, []string{"JavaMonitorEnter", "SocketRead", "ThreadPark"}[rng.IntN(3)], rng.IntN(32), rng.Uint64()>>16, rng.IntN(5_000_000))
		line = line[:min(len(line), left)]
		if _, err := b.Write(line); err != nil {
			return err
		}
		left -= len(line)
	}
	return b.Flush()
}

// BenchmarkPack reports MB/s, and MB for each second that any core worked
// (the bar is 100).
func BenchmarkPack(b *testing.B) {
	const size = 256 << 20
	var data bytes.Buffer
	must(b, traceLike(&data, 1, size))
	inputs := map[string][]byte{"events": data.Bytes(), "noise": noise(1, size)}
	for _, name := range []string{"events", "noise"} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "x.tar.zst")
			b.SetBytes(size)
			before := cpuTime(b)
			var packed int64
			for b.Loop() {
				w, err := Create(path)
				must(b, err)
				must(b, w.Add("traces/events", bytes.NewReader(inputs[name]), FileInfo{}))
				must(b, w.Commit(testManifest()))
				st, err := os.Stat(path)
				must(b, err)
				packed = st.Size()
			}
			b.ReportMetric(float64(b.N)*size/1e6/(cpuTime(b)-before).Seconds(), "MB/core-s")
			b.ReportMetric(float64(size)/float64(packed), "ratio")
		})
	}
}

// BenchmarkPackSmall is many small files, as an rr trace can be.
func BenchmarkPackSmall(b *testing.B) {
	data := noise(1, 4096)
	path := filepath.Join(b.TempDir(), "x.tar.zst")
	for b.Loop() {
		w, err := Create(path)
		must(b, err)
		for i := range 5000 {
			must(b, w.Add(fmt.Sprintf("traces/rr/f%d", i), bytes.NewReader(data), FileInfo{}))
		}
		must(b, w.Commit(testManifest()))
	}
}

// gigabyte makes a bundle of more than 1 GB packed with n small files and one
// more in the middle.
func gigabyte(b *testing.B, n int) string {
	path := filepath.Join(b.TempDir(), "large.tar.zst")
	w, err := Create(path)
	must(b, err)
	rng := rand.NewChaCha8([32]byte{1})
	must(b, w.Add("traces/vm/first", io.LimitReader(rng, 600<<20), FileInfo{}))
	for i := range n {
		must(b, w.Add(fmt.Sprintf("inputs/http_vcr/%05d.warc.gz", i), io.LimitReader(rng, 2000), FileInfo{}))
	}
	must(b, w.Add("inputs/time.ndjson", bytes.NewReader([]byte(`{"seq":1}`)), FileInfo{}))
	must(b, w.Add("traces/vm/second", io.LimitReader(rng, 600<<20), FileInfo{}))
	must(b, w.Commit(testManifest()))
	st, err := os.Stat(path)
	must(b, err)
	if st.Size() < 1<<30 {
		b.Fatalf("%d bytes", st.Size())
	}
	return path
}

// BenchmarkOpenOne opens a bundle of 1.2 GB and reads a file of nine bytes (the
// bar is 20 ms).
func BenchmarkOpenOne(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("files=%d", n), func(b *testing.B) {
			path := gigabyte(b, n)
			for b.Loop() {
				r, err := Open(path)
				must(b, err)
				data, err := r.ReadFile("inputs/time.ndjson", 100)
				must(b, err)
				if string(data) != `{"seq":1}` {
					b.Fatalf("%q", data)
				}
				must(b, r.Close())
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	const size = 256 << 20
	var data bytes.Buffer
	must(b, traceLike(&data, 1, size))
	path := write(b, testManifest(), content{"traces/events", data.Bytes()})
	r := open(b, path)
	b.SetBytes(size)
	for b.Loop() {
		rep, err := r.Verify(context.Background())
		must(b, err)
		if rep.Status != OK {
			b.Fatalf("%+v", rep)
		}
	}
}

func cpuTime(b *testing.B) time.Duration {
	runtime.GC()
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
