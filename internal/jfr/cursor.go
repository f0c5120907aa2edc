package jfr

import (
	"encoding/binary"
	"fmt"
	"unicode/utf16"
)

// How a string is written.
const (
	encNull   = 0
	encEmpty  = 1
	encPool   = 2 // a reference to the pool of java.lang.String
	encUTF8   = 3
	encChars  = 4 // UTF-16, each unit as an integer
	encLatin1 = 5
)

// cursor reads the values of one record. The first mistake stays: afterwards
// everything reads as zero, and the caller looks once.
type cursor struct {
	b   []byte // the chunk
	at  int
	end int // of the record
	err *FormatError
}

func (c *cursor) fail(need, found string) {
	if c.err == nil {
		c.err = &FormatError{Offset: int64(c.at), Need: need, Found: found}
	}
	c.at = c.end
}

// skip passes over n bytes.
func (c *cursor) skip(n int) {
	if n < 0 || n > c.end-c.at {
		c.fail(fmt.Sprintf("%d bytes", n), fmt.Sprint(c.end-c.at))
		return
	}
	c.at += n
}

func (c *cursor) byte() byte {
	if c.at >= c.end {
		c.fail("a byte", "the end of the record")
		return 0
	}
	c.at++
	return c.b[c.at-1]
}

// varint reads a compressed integer: seven bits a byte, the lowest first, and
// all eight of the ninth.
func (c *cursor) varint() int64 {
	var x uint64
	for i := range 9 {
		if c.at >= c.end {
			c.fail("an integer", "the end of the record")
			return 0
		}
		b := c.b[c.at]
		c.at++
		if i == 8 {
			return int64(x | uint64(b)<<56)
		}
		x |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			break
		}
	}
	return int64(x)
}

// count reads how many things follow, each of which has a byte at least.
func (c *cursor) count() int {
	n := c.varint()
	if n < 0 || n > int64(c.end-c.at) {
		c.fail(fmt.Sprintf("a count of at most %d", c.end-c.at), fmt.Sprint(n))
		return 0
	}
	return int(n)
}

// text reads a string. For a reference to the pool it returns the id.
func (c *cursor) text() (s string, id int64, enc byte) {
	enc = c.byte()
	switch enc {
	case encNull, encEmpty:
	case encPool:
		id = c.varint()
	case encUTF8, encLatin1:
		n := c.count()
		if enc == encUTF8 {
			s = string(c.b[c.at : c.at+n])
		} else {
			s = latin1(c.b[c.at : c.at+n])
		}
		c.at += n
	case encChars:
		n := c.count()
		units := make([]uint16, 0, n)
		for ; n > 0 && c.err == nil; n-- {
			units = append(units, uint16(c.varint()))
		}
		s = string(utf16.Decode(units))
	default:
		c.fail("an encoding of strings from 0 to 5", fmt.Sprint(enc))
	}
	return s, id, enc
}

func latin1(b []byte) string {
	for _, c := range b {
		if c >= 0x80 {
			r := make([]rune, len(b))
			for i, c := range b {
				r[i] = rune(c)
			}
			return string(r)
		}
	}
	return string(b)
}

func appendVarint(b []byte, v int64) []byte {
	x := uint64(v)
	for range 8 {
		if x < 0x80 {
			return append(b, byte(x))
		}
		b = append(b, byte(x)|0x80)
		x >>= 7
	}
	return append(b, byte(x))
}

// appendText writes a string as UTF-8.
func appendText(b []byte, s string) []byte {
	if s == "" {
		return append(b, encEmpty)
	}
	b = appendVarint(append(b, encUTF8), int64(len(s)))
	return append(b, s...)
}

// sizeBytes is how many bytes the size of a record takes here, whatever it is:
// as the JVM does it, the size is put in when the record is there.
const sizeBytes = 4

const maxRecord = 1<<(7*sizeBytes) - 1

func putSize(b []byte, n int) {
	for i := range sizeBytes {
		b[i] = byte(n>>(7*i)) | 0x80
	}
	b[sizeBytes-1] &= 0x7f
}

func u64(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }
