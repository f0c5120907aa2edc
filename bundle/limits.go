package bundle

import (
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits is what a reader is ready to spend on a bundle that it doesn't know.
// A zero field has the value of [DefaultLimits].
type Limits struct {
	Entries  int   // files in the bundle
	Manifest int64 // bytes of the manifest
	File     int64 // bytes of one file
	Total    int64 // bytes of all files together
	Ratio    int64 // unpacked size by packed size, once a gibibyte is unpacked
	Window   int64 // bytes that a zstd frame may ask the reader to keep
	Path     int   // bytes of a path
}

// DefaultLimits suit a bundle that came by mail: large enough for an hour of
// rr, small enough that a bomb neither fills memory nor runs for a day.
func DefaultLimits() Limits {
	return Limits{
		Entries:  100_000,
		Manifest: 16 << 20,
		File:     64 << 30,
		Total:    256 << 30,
		Ratio:    5_000,     // gzip can't reach 1,100; zstd on empty pages can exceed 20,000
		Window:   128 << 20, // what zstd -d itself accepts without being told
		Path:     1_024,
	}
}

func (l Limits) orDefaults() Limits {
	d := DefaultLimits()
	set(&l.Entries, d.Entries)
	set(&l.Manifest, d.Manifest)
	set(&l.File, d.File)
	set(&l.Total, d.Total)
	set(&l.Ratio, d.Ratio)
	set(&l.Window, d.Window)
	set(&l.Path, d.Path)
	return l
}

func set[T int | int64](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// ratioFrom is the unpacked size from which on [Limits.Ratio] counts. Below
// it an honest bundle with one empty database page after the other would fail.
const ratioFrom = 1 << 30

// checkRatio judges a bundle that unpacks to out bytes from in bytes.
func (l Limits) checkRatio(in, out int64) error {
	if out > ratioFrom && out/l.Ratio > in {
		return &LimitError{What: "bytes unpacked per byte packed", Limit: l.Ratio, Found: out / max(in, 1)}
	}
	return nil
}

// CheckPath tells whether name can be the path of a file in a bundle: relative,
// slash-separated, with no element that an extracting program could stumble over.
func CheckPath(name string) error {
	reason := ""
	switch {
	case name == "":
		reason = "is an empty path"
	case !utf8.ValidString(name):
		reason = "is not UTF-8"
	case strings.HasPrefix(name, "/"):
		reason = "is an absolute path"
	case strings.ContainsRune(name, '\\'):
		reason = "has a backslash, which is a separator elsewhere"
	case strings.ContainsFunc(name, unsafeRune):
		reason = "has control characters"
	case path.Clean(name) != name || name == "." || name == ".." || strings.HasPrefix(name, "../"):
		reason = "has an empty, . or .. element"
	}
	if reason != "" {
		return &UnsafeError{Path: name, Reason: reason}
	}
	return nil
}

// unsafeRune finds what could steer a terminal or make a name look like another:
// control characters and the invisible ones that turn the direction of text.
func unsafeRune(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// checkName is CheckPath with the length limit.
func (l Limits) checkName(name string) error {
	if len(name) > l.Path {
		return &LimitError{Path: fmt.Sprintf("%.40q…", name), What: "bytes of path", Limit: int64(l.Path), Found: int64(len(name))}
	}
	return CheckPath(name)
}
