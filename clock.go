package tapedeck

import (
	"context"
	"time"
)

// Clock tells the time. A program that takes one instead of calling package time
// can be replayed at the time of its recording, and tested at any time.
//
// Waiting is that of package time in every mode, so that a clock works in the
// bubbles of testing/synctest, where waiting takes no time.
type Clock interface {
	Now() time.Time
	Since(time.Time) time.Duration
	Sleep(context.Context, time.Duration) error // ends early with the context's error
}

// Clock returns the session's clock. While replaying, it is at the recorded time
// of the last input, and goes on from there.
func (s *Session) Clock() Clock { return clock{s} }

type clock struct{ s *Session }

func (c clock) Now() time.Time {
	if e := c.s.Engine(); e != nil {
		return e.Now()
	}
	return time.Now()
}

func (c clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func (c clock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
