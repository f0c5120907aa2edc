package scrub

import (
	"bytes"
	"errors"
	"io"
)

// A stream is scrubbed in blocks of at most blockSize bytes. A block ends at
// a line's end where there is one, and never within something found. Where it
// ends depends on the bytes alone, not on how they were handed in, so that a
// stream gives the same in whatever pieces it comes.
const (
	blockSize = 64 << 10
	reserve   = 8 << 10 // a hit that begins here may end beyond the block
)

// writer is what NewWriter returns.
type writer struct {
	s     *Scrubber
	w     io.Writer
	buf   []byte
	out   []byte
	err   error
	begun bool // it is known whether the stream is gzip
	zip   *zipped
	depth int // of gzip in gzip

	open byte // a value that began in a block before goes on: the quote that ends it, or anyWord
}

var errClosed = errors.New("scrub: write after close")

// NewWriter scrubs a stream of text as Text does, in bounded memory. What is
// written arrives at w when a block is full, and the rest with Close, which
// does not close w.
func (s *Scrubber) NewWriter(w io.Writer) io.WriteCloser {
	return &writer{s: s, w: w}
}

func (w *writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n := len(p)
	if !w.begun {
		if p = w.begin(p); !w.begun {
			return n, nil
		}
	}
	if w.zip != nil {
		w.zip.add(p)
		return n, nil
	}
	// Whole blocks are scrubbed where they lie.
	for len(w.buf) == 0 && len(p) >= blockSize {
		used := w.block(p[:blockSize], false)
		if w.err != nil {
			return n - len(p), w.err
		}
		p = p[used:]
	}
	for len(p) > 0 {
		k := min(len(p), blockSize-len(w.buf))
		w.buf = append(w.buf, p[:k]...)
		p = p[k:]
		if len(w.buf) < blockSize {
			break
		}
		used := w.block(w.buf, false)
		if w.err != nil {
			return n - len(p), w.err
		}
		w.buf = append(w.buf[:0], w.buf[used:]...)
	}
	return n, nil
}

func (w *writer) Close() error {
	if w.err == nil && w.zip != nil {
		w.out = w.zip.scrub(w.s, w.depth)
		_, w.err = w.w.Write(w.out)
	}
	for w.err == nil && len(w.buf) > 0 {
		used := w.block(w.buf, true)
		w.buf = w.buf[used:]
	}
	if w.err != nil {
		if w.err == errClosed {
			return nil
		}
		return w.err
	}
	w.err = errClosed
	return nil
}

// block scrubs and writes a part of b, and returns its length.
func (w *writer) block(b []byte, last bool) int {
	if w.open != 0 {
		if n := w.rest(b); n > 0 {
			return n
		}
	}
	st := w.s.states.Get().(*state)
	defer w.s.release(st)
	st.more = !last
	w.s.scanner.scan(b, st)
	st.hits = merge(st.hits)
	used := len(b)
	if !last {
		used = cut(b, st)
		for n := len(st.hits); n > 0 && st.hits[n-1].end > used; n-- {
			st.hits = st.hits[:n-1]
		}
		if n := len(st.hits); n > 0 && st.hits[n-1].end == len(b) {
			if w.open = st.hits[n-1].open; w.open == 0 {
				w.open = anyWord
			}
		}
	}
	w.out = w.s.apply(w.out[:0], b[:used], st)
	_, w.err = w.w.Write(w.out)
	return used
}

const anyWord = 1

// rest is the length of what is left of a value that is longer than a block.
// It is part of what was replaced, and is not let out.
func (w *writer) rest(b []byte) int {
	quote := w.open
	w.open = 0
	for n := 0; n < len(b); n++ {
		c := b[n]
		if quote == anyWord {
			if !isBase64(c) && c != '=' && c != '.' && c != '%' && c != '@' {
				return n
			}
			continue
		}
		if c == quote || c == '\n' {
			return n
		}
		if c == '\\' && n+1 < len(b) {
			n++
		}
	}
	w.open = quote
	return len(b)
}

// cut says where a full block ends: after the last line that is complete, or
// else at a place where words end, but never within a hit.
func cut(b []byte, st *state) int {
	hits, limit := st.hits, len(b)
	if st.hold > 0 {
		limit = st.hold
	}
	for n := len(hits) - 1; n >= 0 && hits[n].end > len(b)-reserve; n-- {
		// What spans half a block is taken as it is, lest each block give
		// but a few bytes.
		if from := hits[n].begins(); from > len(b)/2 {
			limit = min(limit, from)
		}
	}
	free := func(i int) bool {
		for k := len(hits) - 1; k >= 0; k-- {
			if hits[k].end <= i {
				return true
			}
			if hits[k].begins() < i {
				return false
			}
		}
		return true
	}
	for i := limit; i > 0; {
		n := bytes.LastIndexByte(b[:i], '\n') + 1
		if n == 0 {
			break
		}
		if free(n) {
			return n
		}
		i = n - 1
	}
	held := limit < len(b)
	limit = min(limit, len(b)-reserve)
	for i := limit; i > len(b)/2; i-- {
		if c := b[i-1]; (c == ',' || c == ';' || c == '&' || c == '}') && free(i) {
			return i
		}
	}
	if held && free(limit) {
		return limit
	}
	for i := limit; i > len(b)/2; i-- {
		if free(i) && i&3 == 0 {
			return i
		}
	}
	return len(b)
}
