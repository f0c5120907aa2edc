package spool

import (
	"errors"
	"fmt"
)

// ErrClosed is what a spool says after Close.
var ErrClosed = errors.New("spool: closed")

var errTorn = errors.New("a record that is not whole")

// FullError means that the disk took no more. What was appended before stays
// readable, and Append may be tried again.
type FullError struct {
	Dir  string
	Need int64 // bytes of the record
	Err  error
}

func (e *FullError) Error() string {
	return fmt.Sprintf("spool: need %d bytes in %s, found a full disk", e.Need, e.Dir)
}

// Hint says what to do about it.
func (e *FullError) Hint() string { return "make room there, or choose a smaller bound for the spool" }

func (e *FullError) Unwrap() error { return e.Err }

// SizeError is a record that no segment can hold.
type SizeError struct{ Limit, Found int64 }

func (e *SizeError) Error() string {
	return fmt.Sprintf("spool: need a record of at most %d bytes, found %d", e.Limit, e.Found)
}

// DamagedError is the end of what can be read of a segment: it was cut off,
// as by a crash, or changed. What came before is intact.
type DamagedError struct {
	Segment string // file name
	Offset  int64  // of the first byte that can't be used
	Found   string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("spool: %s at byte %d: need a whole record, found %s", e.Segment, e.Offset, e.Found)
}

// BusyError means that another process writes this spool.
type BusyError struct {
	Dir string
	Err error
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("spool: need %s for one writer, found another at work", e.Dir)
}

func (e *BusyError) Unwrap() error { return e.Err }
