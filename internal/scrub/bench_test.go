package scrub

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// logs makes lines of JSON as services write them; about one in ten has
// something private.
func logs(size int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	types := []string{"JavaMonitorEnter", "SocketRead", "ThreadPark", "HttpRequest"}
	pii := []func() string{
		func() string { return fmt.Sprintf("user%d@example.com", rng.IntN(1e6)) },
		func() string { return "card 4111 1111 1111 1111 declined" },
		func() string { return fmt.Sprintf("+49 30 %07d", rng.IntN(1e7)) },
		func() string { return "DE89 3704 0044 0532 0130 00" },
		func() string { return fmt.Sprintf("ssn 123-45-%04d", 1+rng.IntN(9998)) },
		func() string { return "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl" },
		func() string { return "AKIAIOSFODNN7EXAMPLE" },
		func() string { return "postgres://app:hunter2@db.internal:5432/app" },
	}
	for b.Len() < size {
		msg := "request handled in pool worker without retry"
		if rng.IntN(10) == 0 {
			msg = pii[rng.IntN(len(pii))]()
		}
		fmt.Fprintf(&b, `{"seq":%d,"ts":"2025-01-03T12:34:%02d.%03dZ","type":"%s","thread":"http-nio-8443-exec-%d","addr":"0x%012x","dur_ns":%d,"trace_id":"%016x%016x","level":"info","path":"/api/v1/orders/%d","status":200,"message":"%s"}`+"\n",
			b.Len(), rng.IntN(60), rng.IntN(1000), types[rng.IntN(4)], rng.IntN(32), rng.Uint64()>>16, rng.IntN(5_000_000), rng.Uint64(), rng.Uint64(), rng.IntN(100000), msg)
	}
	return b.Bytes()
}

func BenchmarkWriter(b *testing.B) {
	s := newTest(b)
	data := logs(8 << 20)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	cpu(b, len(data), func() {
		w := s.NewWriter(io.Discard)
		w.Write(data)
		w.Close()
	})
}

func BenchmarkJSONLines(b *testing.B) {
	s := newTest(b)
	data := logs(8 << 20)
	lines := bytes.SplitAfter(data, []byte("\n"))
	lines = lines[:len(lines)-1]
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	cpu(b, len(data), func() {
		for _, line := range lines {
			s.JSON(line)
		}
	})
	b.ReportMetric(float64(len(lines)), "records/op")
}

// BenchmarkJSONUnchanged has nothing to replace, which is to allocate nothing.
func BenchmarkJSONUnchanged(b *testing.B) {
	s := newTest(b)
	var lines [][]byte
	size := 0
	for line := range bytes.Lines(logs(1 << 20)) {
		if bytes.Equal(s.JSON(line).Bytes(), line) {
			lines = append(lines, line)
			size += len(line)
		}
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	cpu(b, size, func() {
		for _, line := range lines {
			s.JSON(line)
		}
	})
}

// BenchmarkRegexp is what a dozen patterns of the standard library cost, one
// after another.
func BenchmarkRegexp(b *testing.B) {
	data := logs(1 << 20)
	b.SetBytes(int64(len(data)))
	cpu(b, len(data), func() {
		out := data
		for _, re := range baseline {
			out = re.ReplaceAll(out, []byte("tok"))
		}
	})
}

var baseline = []*regexp.Regexp{
	regexp.MustCompile(`[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}`),
	regexp.MustCompile(`\b(?:\d[ -]?){13,19}\b`),
	regexp.MustCompile(`\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b`),
	regexp.MustCompile(`\b\d{3}-\d{2}-\d{4}\b`),
	regexp.MustCompile(`(?:\+\d{1,3}[ -]?)?\(?\d{2,4}\)?[ -]\d{3,4}[ -]?\d{3,4}\b`),
	regexp.MustCompile(`\b(?:\d{1,3}\.){3}\d{1,3}\b`),
	regexp.MustCompile(`\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`),
	regexp.MustCompile(`\b(?:AKIA|ASIA)[0-9A-Z]{16}\b`),
	regexp.MustCompile(`\bgh[pousr]_[0-9A-Za-z]{36}\b`),
	regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----`),
	regexp.MustCompile(`(?i)\bbearer [A-Za-z0-9._~+/=-]+`),
	regexp.MustCompile(`[a-z][a-z0-9+]*://[^/\s:@]*:[^/\s@]+@`),
}

// cpu measures MB per second of this process's CPU time: on a machine that
// does other work as well, the clock on the wall says little.
func cpu(b *testing.B, size int, run func()) {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	n := 0
	start := used()
	for b.Loop() {
		run()
		n++
	}
	b.ReportMetric(float64(n)*float64(size)/1e6/(used()-start).Seconds(), "MB/cpu-s")
}
