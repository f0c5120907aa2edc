package attest

import (
	"errors"
	"fmt"
)

// ErrMalformed means that a statement, an envelope or a key is not what its
// format says, whoever made it.
var ErrMalformed = errors.New("malformed")

// MalformedError is an [ErrMalformed] and the place of it.
type MalformedError struct {
	What  string // "statement", "envelope", "public key"…
	Field string // e.g. "subject[3].name", or "" for the whole
	Need  string
	Found string
}

func (e *MalformedError) Error() string {
	field := e.Field
	if field != "" {
		field = " " + field
	}
	return fmt.Sprintf("%s%s: need %s, found %s", e.What, field, e.Need, e.Found)
}

func (e *MalformedError) Unwrap() error { return ErrMalformed }

func malformed(what, field, need, found string) error {
	return &MalformedError{What: what, Field: field, Need: need, Found: found}
}
