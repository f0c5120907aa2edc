package record

import (
	"context"
	"regexp"
	"sync"
	"time"
)

// Attempts says how long to try.
type Attempts struct {
	Max    int            // attempts at most
	Jobs   int            // at the same time
	Seed   uint64         // of the first attempt; each further one adds 1
	FailOn *regexp.Regexp // output that is a failure too, or nil
}

// Tally is how far the attempts have come.
type Tally struct {
	Done, Failed int
	Max          int
	Elapsed      time.Duration
}

// Left estimates the time until Max attempts are done.
func (t Tally) Left() time.Duration {
	if t.Done == 0 {
		return 0
	}
	return t.Elapsed / time.Duration(t.Done) * time.Duration(t.Max-t.Done)
}

// UntilFail records attempts until one fails, and returns that recording; the
// others are removed. It returns nil if all of them passed. tell is called
// after each attempt, one call at a time.
func UntilFail(ctx context.Context, a Attempts, one func(ctx context.Context, seed uint64) (*Recording, error), tell func(Tally)) (*Recording, Tally, error) {
	parent := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := time.Now()
	var (
		mu    sync.Mutex
		next  int
		tally = Tally{Max: a.Max}
		kept  *Recording
		first error
		wg    sync.WaitGroup
	)
	worker := func() {
		defer wg.Done()
		for {
			mu.Lock()
			n := next
			next++
			mu.Unlock()
			if n >= a.Max || ctx.Err() != nil {
				return
			}
			r, err := one(ctx, a.Seed+uint64(n))
			mu.Lock()
			if err != nil {
				if first == nil && ctx.Err() == nil {
					first = err
				}
				cancel()
				mu.Unlock()
				return
			}
			r.Outcome.Match(a.FailOn, r.Stdout, r.Stderr)
			tally.Done++
			tally.Elapsed = time.Since(start)
			if r.Outcome.Failed() {
				tally.Failed++
			}
			if r.Outcome.Failed() && kept == nil {
				kept = r
				cancel() // the attempts under way are of no use now
			} else {
				r.Close()
			}
			tell(tally)
			mu.Unlock()
		}
	}
	for range max(1, a.Jobs) {
		wg.Add(1)
		go worker()
	}
	wg.Wait()
	if kept == nil && first == nil && parent.Err() != nil {
		first = context.Cause(parent)
	}
	if first != nil && kept != nil {
		first = nil // what was looked for is found
	}
	return kept, tally, first
}

// Match notes the first part of the output that re matches.
func (o *Outcome) Match(re *regexp.Regexp, outputs ...[]byte) {
	if re == nil {
		return
	}
	for _, out := range outputs {
		if m := re.Find(out); m != nil {
			o.Matched = string(m[:min(len(m), 200)])
			return
		}
	}
}
