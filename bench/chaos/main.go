// Command chaos counts how many of N recorded attempts of a program fail,
// plain and with the schedule disturbed, and replays the first recordings that
// fail. It prints a line of a table for each program; see scripts/bench-chaos.sh.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/record"
	"github.com/tapedeck-dev/tapedeck/internal/record/vm"
	"github.com/tapedeck-dev/tapedeck/internal/watch"
)

var (
	attempts = flag.Int("n", 200, "attempts of each kind")
	jobs     = flag.Int("j", 1, "attempts at the same time")
	cache    = flag.String("cache", "", "cache directory")
	timeout  = flag.Duration("timeout", 5*time.Second, "of the program, by its own clock")
	strategy = flag.String("strategy", "", "use this strategy of chaos alone")
	plain    = flag.Bool("plain", true, "count plain attempts, too")
	seed     = flag.Uint64("seed", 1, "of the first attempt")
	verbose  = flag.Bool("v", false, "tell of each failing attempt")
	replays  = flag.Int("replays", 5, "failing recordings of each kind to replay")
)

func main() {
	watch.Main()
	flag.Parse()
	if flag.NArg() == 0 || *cache == "" {
		fmt.Fprintln(os.Stderr, "usage: chaos -cache DIR [flags] PROGRAM...")
		os.Exit(2)
	}
	fmt.Printf("| program | plain: failures of %d | chaos: failures of %d | first with chaos | CPU s per attempt, plain / chaos | identical replays | outcomes |\n|---|---|---|---|---|---|---|\n", *attempts, *attempts)
	bad := false
	for _, arg := range flag.Args() {
		if err := one(arg); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", arg, err)
			bad = true
		}
	}
	if bad {
		os.Exit(1)
	}
}

func one(arg string) error {
	words := strings.Fields(arg)
	path, err := filepath.Abs(words[0])
	if err != nil {
		return err
	}
	words[0] = path
	var p count
	if *plain {
		if p, err = run(words, false); err != nil {
			return err
		}
	}
	c, err := run(words, true)
	if err != nil {
		return err
	}
	first := "none"
	if c.first > 0 {
		first = fmt.Sprint(c.first)
	}
	fmt.Printf("| %s | %d | %d | %s | %.2f / %.2f | %d of %d | %s |\n", filepath.Base(words[0]), p.failed, c.failed, first,
		p.cpu(), c.cpu(), p.same+c.same, p.replayed+c.replayed, c.list())
	return nil
}

type count struct {
	failed, first  int
	same, replayed int
	used           time.Duration
	outcomes       map[string]int
}

func (c count) cpu() float64 { return c.used.Seconds() / float64(*attempts) }

func (c count) list() string {
	var l []string
	for o, n := range c.outcomes {
		l = append(l, fmt.Sprintf("%d× %s", n, o))
	}
	sort.Strings(l)
	return strings.Join(l, ", ")
}

func run(words []string, chaos bool) (count, error) {
	ctx := context.Background()
	c := count{outcomes: map[string]int{}}
	env, _, err := record.Environment(os.Environ(), nil)
	if err != nil {
		return c, err
	}
	job := record.Job{Args: words, Dir: filepath.Dir(words[0]), Env: env, Timeout: *timeout, Chaos: chaos}
	r, err := vm.Prepare(ctx, job, vm.Options{Cache: *cache, Strategy: *strategy, Say: func(s string) { fmt.Fprintln(os.Stderr, s) }})
	if err != nil {
		return c, err
	}
	defer r.Close()
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		next  int
		first error
		kept  []*record.Recording
	)
	before := childCPU()
	for range *jobs {
		wg.Go(func() {
			for {
				mu.Lock()
				n := next
				next++
				stop := n >= *attempts || first != nil
				mu.Unlock()
				if stop {
					return
				}
				rec, err := r.Record(ctx, *seed+uint64(n))
				mu.Lock()
				if err != nil {
					first = err
				} else if c.add(rec, n+1); rec.Outcome.Failed() && len(kept) < *replays {
					kept = append(kept, rec)
				} else {
					rec.Close()
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	c.used = childCPU() - before
	for _, rec := range kept {
		if first == nil {
			var diff string
			if diff, first = r.Check(ctx, rec); first == nil && diff == "" {
				c.same++
			} else if diff != "" {
				fmt.Fprintf(os.Stderr, "a failing attempt does not replay: %s\n", diff)
			}
			c.replayed++
		}
		rec.Close()
	}
	return c, first
}

func (c *count) add(rec *record.Recording, n int) {
	if !rec.Outcome.Failed() {
		return
	}
	c.failed++
	c.outcomes[rec.Outcome.String()]++
	if c.first == 0 || n < c.first {
		c.first = n
	}
	if *verbose {
		points, _ := os.ReadFile(filepath.Join(rec.Dir, "console.ndjson"))
		plan := ""
		for line := range strings.Lines(string(points)) {
			if strings.Contains(line, `"kind":"point`) {
				plan += line
			}
		}
		fmt.Fprintf(os.Stderr, "attempt %d: %s %.100q %.200q\n\t%s", n, rec.Outcome, rec.Stdout, rec.Stderr, plan)
	}
}

// childCPU is the time of all children that have ended.
func childCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
