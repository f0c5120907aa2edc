package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// racers are programs that end differently from run to run.
var racers = []struct {
	name string
	args []string
}{
	{"race: C threads without a lock", []string{"./race"}},
	{"gostatic: Go map order and goroutines", []string{"./gostatic"}},
	{"Threads: Java threads without a lock", []string{"java", "-cp", ".", "Threads"}},
}

// exact records racy programs again and again and replays every recording.
func exact(ctx context.Context, l *lab, r *report) error {
	var rows [][]string
	for _, p := range racers {
		if err := l.warm(ctx, p.args...); err != nil {
			return err
		}
		n := l.times(100, 5)
		t, err := l.pairs(ctx, n, p.args)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		found := fmt.Sprintf("%d of %d", t.same, n)
		r.bar("exact replays: "+p.name, "all", found, t.same == n)
		first := "none"
		if t.first != "" {
			first = t.first
		}
		rows = append(rows, []string{p.name, found, fmt.Sprint(len(t.outputs)), fmt.Sprint(len(t.codes)), first})
		l.say(fmt.Sprintf("  %s: %s, in %v", p.name, found, t.wall.Round(time.Second)))
	}
	r.section("Exactness: each recording replayed once", []string{"program", "identical", "different outputs", "different exit codes", "first divergence"}, rows,
		"Identical is what `replay` calls so (output, the guest's clock, exit code, instructions), and the same bytes on standard output.")
	return nil
}

type tally struct {
	same    int
	outputs map[string]int
	codes   map[int]int
	first   string
	wall    time.Duration
}

// pairs makes n recordings, two at a time, and replays each.
func (l *lab) pairs(ctx context.Context, n int, args []string) (*tally, error) {
	t := &tally{outputs: map[string]int{}, codes: map[int]int{}}
	start := time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	next := make(chan int)
	for range jobs {
		wg.Go(func() {
			for i := range next {
				rec, rep, err := l.pair(ctx, l.path(fmt.Sprintf("pair%d.tar.zst", i)), args)
				mu.Lock()
				switch {
				case err != nil:
					failed = err
				case rep.code == 0 && bytes.Equal(rec.stdout, rep.stdout):
					t.same++
				case t.first == "":
					t.first = fmt.Sprintf("recording %d: %s", i, tail(rep.stderr))
				}
				if err == nil {
					t.outputs[string(rec.stdout)]++
					t.codes[rec.code]++
				}
				mu.Unlock()
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	t.wall = time.Since(start)
	return t, failed
}

func (l *lab) pair(ctx context.Context, out string, args []string) (rec, rep *result, err error) {
	defer os.Remove(out)
	if rec, err = l.run(ctx, command{args: l.record(out, nil, args...), any: true}); err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(out); err != nil {
		return nil, nil, fmt.Errorf("nothing was recorded: exit code %d: %s", rec.code, tail(rec.stderr))
	}
	rep, err = l.run(ctx, command{args: []string{l.tapedeck, "replay", "--unscrubbed", out}, any: true})
	return rec, rep, err
}
