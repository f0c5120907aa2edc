package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/exttool"
	"github.com/tapedeck-dev/tapedeck/internal/importer"
	"github.com/tapedeck-dev/tapedeck/internal/replay"
	"github.com/tapedeck-dev/tapedeck/internal/rewind"
	"github.com/tapedeck-dev/tapedeck/internal/seal"
	"github.com/tapedeck-dev/tapedeck/internal/vm"
)

// The exit codes, as docs/exit-codes.md promises them. "record" passes its
// program's code through and has 125, 126 and 127 for itself, as env(1) does.
const (
	exitOK          = 0
	exitError       = 1
	exitFindings    = 3 // done, and something was found: a divergence, damage
	exitUsage       = 4
	exitNoBundle    = 10
	exitDamaged     = 11
	exitNewer       = 12
	exitRefused     = 13
	exitMissing     = 14 // a tool or a kernel feature
	exitOwn         = 125
	exitNotRunnable = 126
	exitNotFound    = 127
	exitInterrupted = 130
)

// codeError ends the program with a code. Without a cause nothing is printed:
// what was found has been said already.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *codeError) Unwrap() error { return e.err }

// usageError is a command line that can't be meant so.
func usageError(format string, args ...any) error {
	return &codeError{exitUsage, fmt.Errorf(format, args...)}
}

// report prints an error in one line, and its hint in a second one, and
// returns the exit code.
func report(ctx context.Context, w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	var code *codeError
	if errors.As(err, &code) && code.err == nil {
		return code.code
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		fmt.Fprintln(w, "tapedeck: interrupted")
		return exitInterrupted
	}
	fmt.Fprintln(w, "tapedeck:", err)
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		fmt.Fprintln(w, "hint:", h.Hint())
	}
	if code != nil {
		return code.code
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var missing *exttool.Missing
	var newer *bundle.NewerError
	var version *vm.VersionError
	var locked *bundle.LockedError
	var key *seal.KeyError
	var destroyed *seal.DestroyedError
	var unavailable *seal.UnavailableError
	var file *seal.FileError
	var private *replay.PrivateError
	var tape *importer.DamagedError
	switch {
	case errors.As(err, &missing), errors.As(err, &unavailable):
		return exitMissing
	case errors.As(err, &newer), errors.As(err, &version):
		return exitNewer
	case errors.Is(err, rewind.ErrNoWrite):
		return exitFindings
	case errors.Is(err, bundle.ErrNoBundle):
		return exitNoBundle
	case errors.As(err, &locked), errors.As(err, &key), errors.As(err, &destroyed), errors.As(err, &file), errors.As(err, &private):
		return exitRefused
	case errors.As(err, &tape), errors.Is(err, bundle.ErrDamaged), errors.Is(err, bundle.ErrNotBundle):
		return exitDamaged
	}
	return exitError
}
