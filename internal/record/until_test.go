package record

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// runs plays a recorder: attempt n takes a second of its own and fails if fails
// says so. It notes which folders there are.
type runs struct {
	t     *testing.T
	fails func(n uint64) Outcome
	mu    sync.Mutex
	dirs  []string
	ended int
}

func (r *runs) one(ctx context.Context, seed uint64) (*Recording, error) {
	dir := r.t.TempDir()
	select {
	case <-time.After(time.Second + time.Duration(seed)*time.Millisecond):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended++
	r.dirs = append(r.dirs, dir)
	return &Recording{Dir: dir, Outcome: r.fails(seed), Stdout: []byte("attempt output\n")}, nil
}

// left are the folders that were not removed.
func (r *runs) left() (dirs []string) {
	for _, d := range r.dirs {
		if _, err := os.Stat(d); err == nil {
			dirs = append(dirs, d)
		}
	}
	return dirs
}

func never(uint64) Outcome { return Outcome{} }

func at(n uint64) func(uint64) Outcome {
	return func(seed uint64) Outcome {
		if seed == n {
			return Outcome{Code: 42}
		}
		return Outcome{}
	}
}

func TestUntilFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &runs{t: t, fails: at(107)}
		var told []Tally
		rec, tally, err := UntilFail(t.Context(), Attempts{Max: 50, Jobs: 1, Seed: 100}, r.one, func(y Tally) { told = append(told, y) })
		if err != nil || rec == nil || rec.Outcome.Code != 42 {
			t.Fatalf("%+v, %v", rec, err)
		}
		if tally.Done != 8 || tally.Failed != 1 || tally.Max != 50 || tally.Elapsed < 8*time.Second {
			t.Errorf("%+v", tally)
		}
		if len(told) != 8 || told[7] != tally || told[3].Done != 4 || told[3].Failed != 0 {
			t.Errorf("told %+v", told)
		}
		if left := r.left(); len(left) != 1 || left[0] != rec.Dir {
			t.Errorf("left %q, kept %q", left, rec.Dir)
		}
	})
}

func TestUntilFailNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &runs{t: t, fails: never}
		rec, tally, err := UntilFail(t.Context(), Attempts{Max: 10, Jobs: 4}, r.one, func(Tally) {})
		if rec != nil || err != nil || tally.Done != 10 || tally.Failed != 0 || r.ended != 10 {
			t.Errorf("%v, %+v, %v, %d ended", rec, tally, err, r.ended)
		}
		if left := r.left(); len(left) != 0 {
			t.Errorf("left %q", left)
		}
	})
}

// Of several attempts at once the first failure is kept, whatever else fails
// at the same moment; attempts under way are stopped.
func TestUntilFailManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &runs{t: t, fails: func(n uint64) Outcome { return Outcome{Code: int(n)} }}
		rec, tally, err := UntilFail(t.Context(), Attempts{Max: 100, Jobs: 8, Seed: 1}, r.one, func(Tally) {})
		if err != nil || rec == nil || rec.Outcome.Code != 1 {
			t.Fatalf("%+v, %v", rec, err)
		}
		if tally.Failed != tally.Done || tally.Done != r.ended || tally.Done > 8 {
			t.Errorf("%+v, %d ended", tally, r.ended)
		}
		if left := r.left(); len(left) != 1 || left[0] != rec.Dir {
			t.Errorf("left %q, kept %q", left, rec.Dir)
		}
	})
}

func TestUntilFailMatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &runs{t: t, fails: never}
		rec, tally, err := UntilFail(t.Context(), Attempts{Max: 5, Jobs: 1, FailOn: regexp.MustCompile("t.*t")}, r.one, func(Tally) {})
		if err != nil || rec == nil || rec.Outcome.Matched != "ttempt output" || tally.Done != 1 {
			t.Errorf("%+v, %+v, %v", rec, tally, err)
		}
	})
}

func TestUntilFailErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("the recorder is broken")
		r := &runs{t: t, fails: never}
		n := 0
		one := func(ctx context.Context, seed uint64) (*Recording, error) {
			if seed == 3 {
				n++
				return nil, broken
			}
			return r.one(ctx, seed)
		}
		rec, tally, err := UntilFail(t.Context(), Attempts{Max: 100, Jobs: 3}, one, func(Tally) {})
		if rec != nil || !errors.Is(err, broken) || n != 1 || tally.Done != r.ended {
			t.Errorf("%v, %+v, %v", rec, tally, err)
		}
		if left := r.left(); len(left) != 0 {
			t.Errorf("left %q", left)
		}
	})
}

func TestUntilFailCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3500*time.Millisecond, func() { cancel(enough) })
		r := &runs{t: t, fails: never}
		start := time.Now()
		rec, tally, err := UntilFail(ctx, Attempts{Max: 1000, Jobs: 2}, r.one, func(Tally) {})
		if rec != nil || !errors.Is(err, enough) || tally.Done != 6 || time.Since(start) != 3500*time.Millisecond {
			t.Errorf("%v, %+v, %v, after %v", rec, tally, err, time.Since(start))
		}
		if left := r.left(); len(left) != 0 {
			t.Errorf("left %q", left)
		}
	})
}

func TestUntilFailJobs(t *testing.T) {
	for _, c := range []struct{ max, jobs, most int }{{10, 0, 1}, {10, -1, 1}, {3, 100, 3}, {10, 4, 4}, {0, 4, 0}} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			now, most := 0, 0
			count := func(d int) {
				mu.Lock()
				defer mu.Unlock()
				now += d
				most = max(most, now)
			}
			one := func(context.Context, uint64) (*Recording, error) {
				count(1)
				defer count(-1)
				time.Sleep(time.Second)
				return &Recording{Dir: t.TempDir()}, nil
			}
			_, tally, err := UntilFail(t.Context(), Attempts{Max: c.max, Jobs: c.jobs}, one, func(Tally) {})
			if err != nil || tally.Done != c.max || most != c.most {
				t.Errorf("%+v: %d done, %d at once, %v", c, tally.Done, most, err)
			}
		})
	}
}

func TestLeft(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tally Tally
		want  time.Duration
	}{{Tally{Max: 9}, 0}, {Tally{Done: 2, Max: 10, Elapsed: 4 * time.Second}, 16 * time.Second}, {Tally{Done: 10, Max: 10, Elapsed: time.Hour}, 0}} {
		if got := c.tally.Left(); got != c.want {
			t.Errorf("%+v: %v, want %v", c.tally, got, c.want)
		}
	}
}

func TestOutcome(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		o      Outcome
		want   string
		failed bool
	}{
		{Outcome{}, "exit code 0", false},
		{Outcome{Code: 3}, "exit code 3", true},
		{Outcome{Code: 139, Signal: syscall.SIGSEGV}, "killed by SIGSEGV (exit code 139)", true},
		{Outcome{Code: 163, Signal: 35}, "killed by signal 35 (exit code 163)", true},
		{Outcome{Code: 124, TimedOut: true}, "still running at its time limit", true},
		{Outcome{Code: 130, Cut: true}, "cut off while it ran", true},
		{Outcome{Matched: "\x1b[2Jüb\n"}, `exit code 0, output matches: "\x1b[2Jüb\n"`, true},
		{Outcome{Matched: "DATA RACE"}, "exit code 0, output matches: DATA RACE", true},
	} {
		if c.o.String() != c.want || c.o.Failed() != c.failed {
			t.Errorf("%q, failed %v; want %q, %v", c.o, c.o.Failed(), c.want, c.failed)
		}
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	re := regexp.MustCompile(`x+|\x1b.*`)
	long := strings.Repeat("x", 1000)
	for _, c := range []struct {
		re   *regexp.Regexp
		outs []string
		want string
	}{
		{nil, []string{"x"}, ""},
		{re, nil, ""},
		{re, []string{"", "abc"}, ""},
		{re, []string{"a", "bxxc"}, "xx"},
		{re, []string{long}, long[:200]},
		{regexp.MustCompile(""), []string{"a"}, ""},
	} {
		var o Outcome
		var outs [][]byte
		for _, s := range c.outs {
			outs = append(outs, []byte(s))
		}
		o.Match(c.re, outs...)
		if o.Matched != c.want {
			t.Errorf("%v in %.20q: %.40q, want %.40q", c.re, c.outs, o.Matched, c.want)
		}
	}
}
