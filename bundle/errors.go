package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// ErrNoBundle means that there is no file at the path given. Errors that wrap
// it wrap fs.ErrNotExist too.
var ErrNoBundle = errors.New("no such bundle")

// ErrNotBundle means that the file is something else than a bundle.
var ErrNotBundle = errors.New("not a replay bundle")

// ErrDamaged is what [DamagedError], [ManifestError], [UnsafeError] and
// [LimitError] have in common: the bundle is there and must not be used.
var ErrDamaged = errors.New("damaged bundle")

// ErrAborted is what a [Writer] says after [Writer.Abort]. It wraps
// context.Canceled, since that is mostly why.
var ErrAborted = fmt.Errorf("writing the bundle was aborted: %w", context.Canceled)

// DamagedError is content that isn't what it has to be.
type DamagedError struct {
	Path   string // the file in the bundle, or "" for the container itself
	Offset int64  // where, in the bundle file if Path is ""; else in Path; -1 if unknown
	Need   string
	Found  string
	Err    error // the cause, if a lower layer reported one
}

func (e *DamagedError) Error() string {
	var b strings.Builder
	if e.Path == "" {
		b.WriteString("damaged bundle")
	} else {
		fmt.Fprintf(&b, "damaged bundle: %s", e.Path)
	}
	if e.Offset >= 0 {
		fmt.Fprintf(&b, " at byte %d", e.Offset)
	}
	fmt.Fprintf(&b, ": need %s, found %s", e.Need, e.Found)
	return b.String()
}

func (e *DamagedError) Unwrap() []error { return withCause(ErrDamaged, e.Err) }

// Hint says what is left to try.
func (e *DamagedError) Hint() string {
	return "fetch the bundle again; tapedeck bundle verify tells which files are intact"
}

// ManifestError is a manifest that can't be used as it stands.
type ManifestError struct {
	Field string // e.g. "files[3].sha256", or "" for the text as a whole
	Line  int    // 1 is the first; 0 if unknown
	Need  string
	Found string
}

func (e *ManifestError) Error() string {
	var b strings.Builder
	b.WriteString(ManifestName)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Field != "" {
		fmt.Fprintf(&b, ": %s", e.Field)
	}
	fmt.Fprintf(&b, ": need %s, found %s", e.Need, e.Found)
	return b.String()
}

func (e *ManifestError) Unwrap() error { return ErrDamaged }

// NewerError is a bundle of a format version that this program doesn't know.
type NewerError struct {
	Found Version
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("bundle has format version %s, this program reads up to %d.x", e.Found, MajorVersion)
}

// Hint says what to do about it.
func (e *NewerError) Hint() string { return "read it with a newer version of tapedeck" }

// UnsafeError is an entry that could harm whoever extracts it, or that two
// readers could understand differently.
type UnsafeError struct {
	Path   string
	Reason string
}

func (e *UnsafeError) Error() string { return fmt.Sprintf("unsafe bundle: %q %s", e.Path, e.Reason) }

func (e *UnsafeError) Unwrap() error { return ErrDamaged }

// Hint says what to make of it.
func (e *UnsafeError) Hint() string {
	return "no recorder writes such an entry; don't unpack this file by other means either"
}

// LimitError is a bundle that asks for more than the reader is ready to spend.
type LimitError struct {
	Path  string // the file in the bundle, or "" for the bundle as a whole
	What  string // e.g. "bytes unpacked"
	Limit int64
	Found int64 // at least this many
}

func (e *LimitError) Error() string {
	where := "bundle"
	if e.Path != "" {
		where = e.Path
	}
	return fmt.Sprintf("%s: at most %d %s are allowed, found %d or more", where, e.Limit, e.What, e.Found)
}

func (e *LimitError) Unwrap() error { return ErrDamaged }

// Hint says how to read it all the same.
func (e *LimitError) Hint() string { return "raise the limit if you trust where the bundle comes from" }

// missingEntry is a name that isn't in the bundle. It is fs.ErrNotExist, but
// not [ErrNoBundle].
type missingEntry struct {
	name string
	near string
}

func (e *missingEntry) Error() string { return fmt.Sprintf("no file %q in the bundle", e.name) }

func (e *missingEntry) Unwrap() error { return fs.ErrNotExist }

func (e *missingEntry) Hint() string {
	if e.near == "" {
		return "tapedeck bundle list prints the names"
	}
	return fmt.Sprintf("did you mean %q?", e.near)
}

func withCause(class, cause error) []error {
	if cause == nil {
		return []error{class}
	}
	return []error{class, cause}
}
