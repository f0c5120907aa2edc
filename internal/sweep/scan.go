package sweep

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/wasilibs/go-re2"
	"github.com/wasilibs/go-re2/experimental"
)

// Finding is private data in a place where none should be. It says where, never what.
type Finding struct {
	Class  string `json:"class"`
	Offset int64  `json:"offset"`        // of the match, in bytes; of what hides it, if Via is not ""
	Via    string `json:"via,omitempty"` // how it was hidden: base64, percent, escapes, gzip, utf16
}

func (f Finding) String() string {
	if f.Via != "" {
		return fmt.Sprintf("%s at byte %d, in %s", f.Class, f.Offset, f.Via)
	}
	return fmt.Sprintf("%s at byte %d", f.Class, f.Offset)
}

// Scanner holds the compiled patterns. It is safe for concurrent use.
type Scanner struct {
	set      *experimental.Set // all patterns at once: does any of them match?
	patterns []pattern
	exprs    []*re2.Regexp
}

// New returns a scanner for the given classes, or for all without any.
func New(classes ...string) (*Scanner, error) {
	s := &Scanner{}
	var exprs []string
	for _, p := range patterns() {
		if len(classes) > 0 && !slices.Contains(classes, p.class) {
			continue
		}
		re, err := re2.Compile(p.expr)
		if err != nil {
			return nil, fmt.Errorf("pattern of %s: %w", p.class, err)
		}
		s.patterns, s.exprs, exprs = append(s.patterns, p), append(s.exprs, re), append(exprs, p.expr)
	}
	if len(exprs) == 0 {
		return nil, fmt.Errorf("need a class to look for, found %q", classes)
	}
	var err error
	s.set, err = experimental.CompileSet(exprs)
	return s, err
}

const (
	window   = 256 << 10 // bytes looked at together
	overlap  = 4 << 10   // bytes that two windows share: what is longer may be cut
	before   = 512       // of them the next window has seen: a match is not to be found again from its middle
	maxDepth = 3         // encodings within encodings
)

// Scan reads r to its end and calls found for everything that looks private. It
// holds a few windows in memory, whatever the size of r. What is gzip or zstd as
// a whole is looked at unpacked; damage in it ends the scan with an error.
func (s *Scanner) Scan(r io.Reader, found func(Finding)) error {
	plain, via, err := unpacked(r)
	if err != nil {
		return err
	}
	defer plain.Close()
	return s.scan(plain, func(f Finding) {
		if f.Via == "" {
			f.Via = via
		}
		found(f)
	})
}

func (s *Scanner) scan(r io.Reader, found func(Finding)) error {
	buf := make([]byte, 0, window+overlap)
	var at int64 // of buf[0]
	begin := 0   // of what is new in buf
	for {
		n, err := io.ReadFull(r, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return err
		}
		end := len(buf)
		if !last {
			end -= overlap - before
		}
		if err := s.look(buf, at, begin, end, 0, found); err != nil {
			return err
		}
		if last {
			return nil
		}
		keep := len(buf) - overlap
		at += int64(keep)
		buf = append(buf[:0], buf[keep:]...)
		begin = before
	}
}

// look looks at one window, and at what is hidden in it, and tells of what
// starts from begin to end; the rest is for the windows beside it.
func (s *Scanner) look(buf []byte, at int64, begin, end, depth int, found func(Finding)) error {
	tell := func(f Finding, start int) {
		if begin <= start && start < end {
			found(f)
		}
	}
	if err := s.match(buf, func(class string, start int) {
		tell(Finding{Class: class, Offset: at + int64(start)}, start)
	}); err != nil {
		return err
	}
	if depth == maxDepth {
		return nil
	}
	var firstErr error
	hidden(buf, func(via string, start int, plain []byte) {
		if firstErr != nil || start < begin || start >= end {
			return
		}
		firstErr = s.look(plain, 0, 0, len(plain), depth+1, func(f Finding) {
			found(Finding{Class: f.Class, Offset: at + int64(start), Via: via})
		})
	})
	return firstErr
}

// match runs the patterns over b. Most of the time the set says that none of
// them is there, and nothing more is done.
func (s *Scanner) match(b []byte, hit func(class string, start int)) error {
	ids, err := s.set.FindAllWithError(b, len(s.exprs))
	if err != nil {
		return err
	}
	slices.Sort(ids)
	for _, id := range ids {
		p := s.patterns[id]
		for _, m := range s.exprs[id].FindAllIndex(b, -1) {
			if p.verify == nil || p.verify(b[m[0]:m[1]]) {
				hit(p.class, m[0])
			}
		}
	}
	return nil
}
