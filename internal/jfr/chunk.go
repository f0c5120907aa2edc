package jfr

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	headerSize = 68
	maxChunk   = 1 << 30 // bytes; the JVM begins a new one after some 12 MB

	// Types of records that are no events.
	typeMetadata   = 0
	typeCheckpoint = 1
)

// Magic is what a recording, and each chunk of it, begins with.
const Magic = "FLR\x00"

// chunk is one self-contained part of a recording.
type chunk struct {
	n       int   // its number
	at      int64 // where it is in the file
	b       []byte
	pools   int // where the last checkpoint is
	meta    int // where the metadata is
	classes map[int64]*class
}

// readChunk reads the chunk at off. unfinished is a chunk that the JVM was
// still writing: it has no size, no metadata, and can't be read.
func readChunk(src io.ReaderAt, n int, off, size int64) (c *chunk, unfinished bool, err error) {
	bad := func(at int64, need, found string) error {
		return &FormatError{Chunk: n, Offset: off + at, Need: need, Found: found}
	}
	if size-off < headerSize {
		return nil, false, bad(0, fmt.Sprintf("a chunk's header of %d bytes", headerSize), fmt.Sprint(size-off))
	}
	head := make([]byte, headerSize)
	if _, err := src.ReadAt(head, off); err != nil {
		return nil, false, err
	}
	if string(head[:4]) != Magic {
		return nil, false, bad(0, "the letters FLR", "something else")
	}
	if major := binary.BigEndian.Uint16(head[4:]); major != 2 && major != 1 {
		return nil, false, bad(4, "version 1 or 2", fmt.Sprint(major))
	}
	length, pools, meta := u64(head[8:]), u64(head[16:]), u64(head[24:])
	switch {
	case length == 0 || meta == 0 || pools == 0:
		return nil, true, nil
	case length < headerSize || length > size-off:
		return nil, false, bad(8, fmt.Sprintf("a size from %d to %d", headerSize, size-off), fmt.Sprint(length))
	case length > maxChunk:
		return nil, false, bad(8, fmt.Sprintf("a chunk of at most %d bytes", maxChunk), fmt.Sprint(length))
	case meta < headerSize || meta >= length:
		return nil, false, bad(24, "the metadata within the chunk", fmt.Sprint(meta))
	case pools < headerSize || pools >= length:
		return nil, false, bad(16, "the constants within the chunk", fmt.Sprint(pools))
	case head[67]&1 == 0:
		return nil, false, bad(64, "compressed integers", "integers of fixed size")
	}
	c = &chunk{n: n, at: off, b: make([]byte, length), pools: int(pools), meta: int(meta)}
	if _, err := src.ReadAt(c.b, off); err != nil {
		return nil, false, err
	}
	return c, false, c.readMetadata()
}

// wrong completes an error of a cursor.
func (c *chunk) wrong(e *FormatError) error {
	e.Chunk, e.Offset = c.n, c.at+e.Offset
	return e
}

// record returns a cursor behind the size and the type of the record at off.
func (c *chunk) record(off int) (r cursor, typ int64, err error) {
	r = cursor{b: c.b, at: off, end: len(c.b)}
	n := r.varint()
	if r.err == nil && (n < 2 || n > int64(len(c.b)-off)) {
		r.at = off
		r.fail(fmt.Sprintf("a record of 2 to %d bytes", len(c.b)-off), fmt.Sprint(n))
	}
	if r.err != nil {
		return r, 0, c.wrong(r.err)
	}
	r.end = off + int(n)
	typ = r.varint()
	if r.err != nil {
		return r, 0, c.wrong(r.err)
	}
	return r, typ, nil
}

// records calls each for every record, in the order of the file.
func (c *chunk) records(each func(off int, r cursor, typ int64) error) error {
	for off := headerSize; off < len(c.b); {
		r, typ, err := c.record(off)
		if err != nil {
			return err
		}
		end := r.end
		if err := each(off, r, typ); err != nil {
			return err
		}
		off = end
	}
	return nil
}
