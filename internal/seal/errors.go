package seal

import (
	"fmt"
	"time"
)

// KeyError is a key that can't be used as it is asked for.
type KeyError struct {
	Ref   string // which; never the key
	Need  string
	Found string
	Fix   string // one step that mends it; "" if there is none
	Err   error  // the cause, if a lower layer reported one
}

func (e *KeyError) Error() string {
	return fmt.Sprintf("key %s: need %s, found %s", e.Ref, e.Need, e.Found)
}

func (e *KeyError) Unwrap() error { return e.Err }

// Hint says what to do about it.
func (e *KeyError) Hint() string { return e.Fix }

// DestroyedError is a key that was destroyed. What it encrypted stays
// unreadable.
type DestroyedError struct {
	Ref  string
	When time.Time
}

func (e *DestroyedError) Error() string {
	return fmt.Sprintf("key %s was destroyed on %s", e.Ref, e.When.UTC().Format(time.DateOnly))
}

// UnavailableError is a key service that gives no answer, or one that has
// nothing to do with the key.
type UnavailableError struct {
	Ref   string
	Found string // the last answer, or why there was none
	Tries int
	Err   error
}

func (e *UnavailableError) Error() string {
	times := "1 try"
	if e.Tries != 1 {
		times = fmt.Sprintf("%d tries", e.Tries)
	}
	return fmt.Sprintf("key %s: need an answer of its key service, found in %s: %s", e.Ref, times, e.Found)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// Hint says what to do about it.
func (e *UnavailableError) Hint() string {
	return "check the network and the credentials of the key service, then try again"
}

// FileError is a key file that can't be used.
type FileError struct {
	Path  string
	Need  string
	Found string
	Fix   string
	Err   error
}

func (e *FileError) Error() string {
	return fmt.Sprintf("key file %s: need %s, found %s", e.Path, e.Need, e.Found)
}

func (e *FileError) Unwrap() error { return e.Err }

// Hint says what to do about it.
func (e *FileError) Hint() string { return e.Fix }
