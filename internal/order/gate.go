// Package order lets the events of a replay happen in the order of the
// recording. What the program does is told to a [Gate]; what comes to it waits
// there until all that was recorded before it has happened.
package order

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
)

// Mode is how much of the recorded order is kept.
type Mode int

// The modes.
const (
	Total   Mode = iota // the one order of all events
	Session             // the order within each recorded connection
	Any                 // none
)

func (m Mode) String() string { return [...]string{"total", "session", "any"}[m] }

// ParseMode reads the name of a mode.
func ParseMode(s string) (Mode, error) {
	for m := Total; m <= Any; m++ {
		if m.String() == s {
			return m, nil
		}
	}
	return 0, fmt.Errorf("need total, session or any, found %q", s)
}

// Options of a gate.
type Options struct {
	// Settle returns when the program has taken in what went out last; it is
	// called between two answers that follow one another on different connections.
	Settle func()
	Tell   func(cassette.Event) // is told of each event as it happens
	Stall  time.Duration        // without progress for so long, a divergence; 10 s if 0
}

// Divergence is where a replay could not go on as recorded.
type Divergence struct {
	Held  cassette.Event `json:"held"`  // what was ready to go to the program
	Needs cassette.Event `json:"needs"` // what the program had done before, and did not do
}

func (d *Divergence) Error() string {
	return fmt.Sprintf("%s (%s, seq %d) was held back for %s (%s, seq %d), which came before it in the recording and did not come",
		d.Held.ID, d.Held.Kind, d.Held.Seq, d.Needs.ID, d.Needs.Kind, d.Needs.Seq)
}

// Gate keeps the order. It may be used by several goroutines.
type Gate struct {
	mode   Mode
	opt    Options
	events []cassette.Event

	mu       sync.Mutex
	happened []bool
	all      *line
	conns    map[int]*line // by Session, of each connection
	touched  []*line       // since they were advanced
	moved    chan struct{}
	progress time.Time
	last     int // connection of the last answer, 0 if something of the program's came after it
	found    []Divergence
}

// line is a sequence of events that is kept: all of them, or those of one connection.
type line struct {
	events []int // which; nil: every one
	next   int   // all events of the line before its next have happened
	open   bool  // it could not be kept, and is kept no more
}

func (l *line) at(i int) int {
	if l.events == nil {
		return i
	}
	return l.events[i]
}

// New returns a gate for the events of a recording.
func New(events []cassette.Event, m Mode, o Options) *Gate {
	if o.Stall == 0 {
		o.Stall = 10 * time.Second
	}
	g := &Gate{mode: m, opt: o, events: events, happened: make([]bool, len(events)), all: &line{}, conns: map[int]*line{}, moved: make(chan struct{}), progress: time.Now()}
	if m == Session {
		for i, e := range events {
			if e.Conn == 0 {
				continue // what belongs to no connection waits for nothing
			}
			if g.conns[e.Conn] == nil {
				g.conns[e.Conn] = &line{}
			}
			g.conns[e.Conn].events = append(g.conns[e.Conn].events, i)
		}
	}
	return g
}

// line is the one in which an event has its place; nil if it has none.
func (g *Gate) line(e cassette.Event) *line {
	if g.mode == Total {
		return g.all
	}
	return g.conns[e.Conn]
}

// Happened tells of something that the program did.
func (g *Gate) Happened(seqs ...uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = 0
	for _, s := range seqs {
		g.mark(s, true)
	}
	g.advance()
}

// Skip tells that events will not happen.
func (g *Gate) Skip(seqs ...uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range seqs {
		g.mark(s, false)
	}
	g.advance()
}

func (g *Gate) mark(seq uint64, tell bool) {
	if seq == 0 || seq > uint64(len(g.events)) || g.happened[seq-1] {
		return
	}
	g.happened[seq-1] = true
	if l := g.conns[g.events[seq-1].Conn]; l != nil {
		g.touched = append(g.touched, l)
	}
	if tell && g.opt.Tell != nil {
		g.opt.Tell(g.events[seq-1])
	}
}

func (g *Gate) advance() {
	moved := false
	for _, l := range append(g.touched, g.all) {
		n := len(g.happened)
		if l.events != nil {
			n = len(l.events)
		}
		for ; l.next < n && g.happened[l.at(l.next)]; l.next++ {
			moved = true
		}
	}
	g.touched = g.touched[:0]
	g.progress = time.Now()
	if moved {
		g.wake()
	}
}

func (g *Gate) wake() {
	close(g.moved)
	g.moved = make(chan struct{})
}

// Wait blocks until the event may happen: by Total, until all that was recorded
// before it has happened; by Session, until all of the same connection has; by
// Any, not at all. If what has to come before it does not come, the error is a
// *Divergence, once; from then on nothing of that order is held back.
func (g *Gate) Wait(ctx context.Context, seq uint64) error {
	if seq == 0 || seq > uint64(len(g.events)) {
		return nil
	}
	e := g.events[seq-1]
	l := g.line(e)
	if l == nil {
		return nil
	}
	for {
		g.mu.Lock()
		if g.open(l, seq) {
			settle := g.mode == Total && g.opt.Settle != nil && g.last != 0 && g.last != e.Conn && !l.open
			g.mu.Unlock()
			if settle {
				g.opt.Settle()
			}
			return nil
		}
		moved, left := g.moved, g.opt.Stall-time.Since(g.progress)
		if left <= 0 {
			d := Divergence{Held: e, Needs: g.events[l.at(l.next)]}
			l.open = true
			g.found = append(g.found, d)
			g.wake()
			g.mu.Unlock()
			return &d
		}
		g.mu.Unlock()
		t := time.NewTimer(left)
		select {
		case <-moved:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
		t.Stop()
	}
}

// open tells whether an event's turn has come in its line.
func (g *Gate) open(l *line, seq uint64) bool {
	return l.open || l.events == nil && l.next >= int(seq-1) || l.events != nil && (l.next == len(l.events) || l.events[l.next] >= int(seq-1))
}

// Done tells that an event which Wait let through has happened.
func (g *Gate) Done(seq uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mark(seq, true)
	if seq > 0 && seq <= uint64(len(g.events)) {
		g.last = g.events[seq-1].Conn
	}
	g.advance()
}

// Complete tells whether everything that was recorded has happened, or will not.
func (g *Gate) Complete() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.all.next == len(g.events)
}

// Divergences are those that were found.
func (g *Gate) Divergences() []Divergence {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]Divergence(nil), g.found...)
}
