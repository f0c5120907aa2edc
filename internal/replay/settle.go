package replay

import (
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/sandbox"
	"github.com/tapedeck-dev/tapedeck/internal/vtime"
)

// settler waits until the program has taken in what it was sent.
type settler struct {
	limit time.Duration // of one wait; shorter for a program that never rests
}

const (
	longestSettle  = time.Second
	shortestSettle = 10 * time.Millisecond
)

// wait returns when the program has read everything and rests, or at the limit.
// It is called by one goroutine at a time, as answers go out one by one.
func (s *settler) wait(box *sandbox.Box, w *vtime.World) {
	if s.limit == 0 {
		s.limit = longestSettle
	}
	rested := 0
	for end := time.Now().Add(s.limit); time.Now().Before(end); time.Sleep(100 * time.Microsecond) {
		// A pause of a runtime's own looks like rest: it has to last.
		if rested++; !box.Sleeps() || w.Busy() {
			rested = 0
		}
		if rested >= 4 && box.Read() && box.Sleeps() && !w.Busy() {
			s.limit = longestSettle
			return
		}
	}
	s.limit = max(s.limit/2, shortestSettle)
}
