package order

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
)

func events(dirs string) []cassette.Event {
	var all []cassette.Event
	for i, d := range dirs {
		dir := "out"
		if d == 'i' {
			dir = "in"
		}
		all = append(all, cassette.Event{Seq: uint64(i + 1), Dir: dir, Conn: i + 1})
	}
	return all
}

// TestTotal lets everything come in a random order: what goes out keeps the
// recorded one.
func TestTotal(t *testing.T) {
	for round := range 50 {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(round), 1))
			kinds := make([]byte, 60)
			for i := range kinds {
				kinds[i] = "oi"[r.IntN(2)]
			}
			all := events(string(kinds))
			var mu sync.Mutex
			var out []uint64
			happened := map[uint64]bool{}
			g := New(all, Total, Options{Settle: func() {}})
			var wg sync.WaitGroup
			for _, i := range r.Perm(len(all)) {
				e := all[i]
				pause := time.Duration(r.IntN(100)) * time.Millisecond
				wg.Go(func() {
					time.Sleep(pause)
					if e.Dir == "out" {
						mu.Lock()
						happened[e.Seq] = true
						mu.Unlock()
						g.Happened(e.Seq)
						return
					}
					if err := g.Wait(t.Context(), e.Seq); err != nil {
						t.Error(err)
					}
					mu.Lock()
					for _, before := range all[:e.Seq-1] {
						if !happened[before.Seq] {
							t.Errorf("%d went before %d", e.Seq, before.Seq)
						}
					}
					happened[e.Seq] = true
					out = append(out, e.Seq)
					mu.Unlock()
					g.Done(e.Seq)
				})
			}
			wg.Wait()
			if !slices.IsSorted(out) {
				t.Errorf("answers went out as %v", out)
			}
		})
	}
}

// TestSession lets the events of some connections come in a random order: on each
// connection what goes out keeps the recorded one, and nothing waits for what
// belongs to another connection.
func TestSession(t *testing.T) {
	for round := range 100 {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(round), 2))
			conns := 1 + r.IntN(6)
			kinds := make([]byte, 60)
			for i := range kinds {
				kinds[i] = "oi"[r.IntN(2)]
			}
			all := events(string(kinds))
			late := 1 + r.IntN(conns) // nothing happens on it before all else is over
			for i := range all {
				all[i].Conn = 1 + r.IntN(conns)
			}
			var mu sync.Mutex
			happened := map[uint64]bool{}
			g := New(all, Session, Options{Settle: func() { t.Error("settles between connections") }, Stall: time.Hour})
			var wg sync.WaitGroup
			begin := time.Now()
			for _, i := range r.Perm(len(all)) {
				e := all[i]
				pause := time.Duration(r.IntN(100)) * time.Millisecond
				if e.Conn == late {
					pause += time.Minute
				}
				wg.Go(func() {
					time.Sleep(pause)
					if e.Dir == "in" {
						if err := g.Wait(t.Context(), e.Seq); err != nil {
							t.Error(err)
						}
						if e.Conn != late && time.Since(begin) >= time.Minute {
							t.Errorf("%d of connection %d waited for another connection", e.Seq, e.Conn)
						}
					}
					mu.Lock()
					for _, before := range all[:e.Seq-1] {
						if e.Dir == "in" && before.Conn == e.Conn && !happened[before.Seq] {
							t.Errorf("%d went before %d", e.Seq, before.Seq)
						}
					}
					happened[e.Seq] = true
					mu.Unlock()
					if e.Dir == "in" {
						g.Done(e.Seq)
					} else {
						g.Happened(e.Seq)
					}
				})
			}
			wg.Wait()
			if !g.Complete() {
				t.Error("not complete")
			}
		})
	}
}

// TestSessionDivergence: where one connection's order can't be kept, the others'
// still is.
func TestSessionDivergence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := events("oioi")
		all[0].Conn, all[1].Conn, all[2].Conn, all[3].Conn = 1, 1, 2, 2
		g := New(all, Session, Options{Stall: time.Minute})
		err := g.Wait(t.Context(), 2)
		var d *Divergence
		if !errors.As(err, &d) || d.Held.Seq != 2 || d.Needs.Seq != 1 {
			t.Fatal(err)
		}
		if err := g.Wait(t.Context(), 2); err != nil {
			t.Error(err)
		}
		if err := g.Wait(t.Context(), 4); !errors.As(err, &d) || d.Needs.Seq != 3 || len(g.Divergences()) != 2 {
			t.Error(err)
		}
	})
}

func TestDivergence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(events("oioi"), Total, Options{Stall: time.Minute})
		g.Happened(1)
		begin := time.Now()
		err := g.Wait(t.Context(), 4)
		var d *Divergence
		if !errors.As(err, &d) || d.Held.Seq != 4 || d.Needs.Seq != 2 || time.Since(begin) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if err := g.Wait(t.Context(), 2); err != nil || len(g.Divergences()) != 1 {
			t.Errorf("after a divergence nothing is held back: %v", err)
		}
	})
}

func TestModesAndEnd(t *testing.T) {
	for _, m := range []Mode{Session, Any} { // events makes each one of a connection of its own
		if err := New(events("oi"), m, Options{}).Wait(t.Context(), 2); err != nil {
			t.Error(m, err)
		}
		if p, err := ParseMode(m.String()); err != nil || p != m {
			t.Error(p, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New(events("oi"), Total, Options{}).Wait(ctx, 2); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	g := New(events("ooi"), Total, Options{})
	g.Skip(1, 2, 99, 0)
	if err := g.Wait(t.Context(), 3); err != nil {
		t.Error(err)
	}
}

func BenchmarkSerial(b *testing.B) {
	g := New(make([]cassette.Event, 2*b.N+2), Total, Options{})
	for i := range b.N {
		g.Happened(uint64(2*i + 1))
		_ = g.Wait(b.Context(), uint64(2*i+2))
		g.Done(uint64(2*i + 2))
	}
}
