package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"runtime"
	"syscall"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

// scrubbing compares the scrubber, every rule set on, with a dozen patterns of
// the standard library one after another, on the same lines.
func scrubbing(ctx context.Context, l *lab, r *report) error {
	rules, err := scrub.Builtin(scrub.BuiltinNames()...)
	if err != nil {
		return err
	}
	salt, err := scrub.NewSalt("bench", []byte("a salt for figures, not for use"))
	if err != nil {
		return err
	}
	s, err := scrub.New(rules, salt)
	if err != nil {
		return err
	}
	data, records := privateLines(l.times(64, 16) << 20)
	lines := bytes.SplitAfter(data, []byte("\n"))
	before := findings(s)
	stream, err := perCPU(ctx, l.times(5, 2), len(data), func() error {
		w := s.NewWriter(io.Discard)
		if _, err := w.Write(data); err != nil {
			return err
		}
		return w.Close()
	})
	if err != nil {
		return err
	}
	found := (findings(s) - before) / int64(l.times(5, 2))
	documents, err := perCPU(ctx, l.times(5, 2), len(data), func() error {
		for _, line := range lines {
			s.JSON(line)
		}
		return nil
	})
	if err != nil {
		return err
	}
	sample := data[:min(len(data), l.times(8, 2)<<20)]
	std, err := perCPU(ctx, 2, len(sample), func() error {
		out := sample
		for _, re := range dozen() {
			out = re.ReplaceAll(out, []byte("tok"))
		}
		return nil
	})
	if err != nil {
		return err
	}
	const tokens = 200_000
	token, err := perCPU(ctx, 3, tokens, func() error {
		for i := range tokens {
			s.Field(scrub.Query, "email", fmt.Sprintf("user%d@example.org", i))
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.bar("scrubbing JSON logs, every rule set on", "≥ 300 MB/s per core",
		fmt.Sprintf("%.0f MB/s (std regexp, 12 passes: %.1f)", stream.rate, std.rate), stream.rate >= 300)
	r.bar("scrubbing JSON logs document by document, every rule set on", "≥ 300 MB/s per core",
		fmt.Sprintf("%.0f MB/s", documents.rate), documents.rate >= 300)
	row := func(name string, m cost, per int) []string {
		return []string{name, fmt.Sprintf("%.1f", m.rate), fmt.Sprintf("%.0f ×", m.rate/std.rate), fmt.Sprintf("%.2f", float64(m.mallocs)/float64(per))}
	}
	r.section(fmt.Sprintf("Scrubbing %d MB of JSON logs", len(data)/1e6), []string{"how", "MB per CPU-second", "to regexp", "allocations per record"}, [][]string{
		row("a stream (`NewWriter`)", stream, records),
		row("document by document (`JSON`)", documents, records),
		row("std `regexp`, 12 patterns in turn", std, records*len(sample)/len(data)),
	}, fmt.Sprintf("%d lines, of which one in ten holds something private: %d values were replaced. %.1f million tokens per CPU-second.", records, found, token.rate))
	return nil
}

type cost struct {
	rate    float64 // millions of whatever was done per second of CPU, median
	mallocs int64   // per run
}

// perCPU counts CPU time, since other work on the machine takes the wall's.
func perCPU(ctx context.Context, times, size int, run func() error) (cost, error) {
	var rates []float64
	var mallocs []int64
	for range times {
		if ctx.Err() != nil {
			return cost{}, context.Cause(ctx)
		}
		var m0, m1 runtime.MemStats
		runtime.ReadMemStats(&m0)
		start, err := cpuTime()
		if err != nil {
			return cost{}, err
		}
		if err := run(); err != nil {
			return cost{}, err
		}
		end, err := cpuTime()
		if err != nil {
			return cost{}, err
		}
		runtime.ReadMemStats(&m1)
		rates = append(rates, float64(size)/1e6/(end-start).Seconds())
		mallocs = append(mallocs, int64(m1.Mallocs-m0.Mallocs))
	}
	return cost{median(rates), median(mallocs)}, nil
}

func cpuTime() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

func findings(s *scrub.Scrubber) (n int64) {
	for _, c := range s.Report().Counts {
		n += c.Count
	}
	return n
}

// privateLines are logs as services write them; one line in ten holds
// something private.
func privateLines(size int) (data []byte, records int) {
	rng := rand.New(rand.NewPCG(1, 2))
	types := []string{"JavaMonitorEnter", "SocketRead", "ThreadPark", "HttpRequest"}
	private := []func() string{
		func() string { return fmt.Sprintf("user%d@example.com", rng.IntN(1e6)) },
		func() string { return "card 4111 1111 1111 1111 declined" },
		func() string { return fmt.Sprintf("+49 30 %07d", rng.IntN(1e7)) },
		func() string { return "DE89 3704 0044 0532 0130 00" },
		func() string { return fmt.Sprintf("ssn 123-45-%04d", 1+rng.IntN(9998)) },
		func() string { return "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl" },
		func() string { return "AKIAIOSFODNN7EXAMPLE" },
		func() string { return "postgres://app:hunter2@db.internal:5432/app" },
	}
	var b bytes.Buffer
	for b.Len() < size {
		message := "request handled in pool worker without retry"
		if rng.IntN(10) == 0 {
			message = private[rng.IntN(len(private))]()
		}
		fmt.Fprintf(&b, `{"seq":%d,"ts":"2025-01-03T12:34:%02d.%03dZ","type":"%s","thread":"http-nio-8443-exec-%d","addr":"0x%012x","dur_ns":%d,`+
			`"trace_id":"%016x%016x","level":"info","path":"/api/v1/orders/%d","status":200,"message":"%s"}`+"\n",
			records, rng.IntN(60), rng.IntN(1000), types[rng.IntN(4)], rng.IntN(32), rng.Uint64()>>16, rng.IntN(5_000_000),
			rng.Uint64(), rng.Uint64(), rng.IntN(100000), message)
		records++
	}
	return b.Bytes(), records
}

// dozen is what most redaction is made of.
func dozen() []*regexp.Regexp {
	var list []*regexp.Regexp
	for _, p := range []string{
		`[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}`,
		`\b(?:\d[ -]?){13,19}\b`,
		`\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b`,
		`\b\d{3}-\d{2}-\d{4}\b`,
		`(?:\+\d{1,3}[ -]?)?\(?\d{2,4}\)?[ -]\d{3,4}[ -]?\d{3,4}\b`,
		`\b(?:\d{1,3}\.){3}\d{1,3}\b`,
		`\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`,
		`\b(?:AKIA|ASIA)[0-9A-Z]{16}\b`,
		`\bgh[pousr]_[0-9A-Za-z]{36}\b`,
		`-----BEGIN [A-Z ]*PRIVATE KEY-----`,
		`(?i)\bbearer [A-Za-z0-9._~+/=-]+`,
		`[a-z][a-z0-9+]*://[^/\s:@]*:[^/\s@]+@`,
	} {
		list = append(list, regexp.MustCompile(p))
	}
	return list
}
