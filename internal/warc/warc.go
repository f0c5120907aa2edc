// Package warc reads and writes WARC 1.1 (ISO 28500): records one after the
// other, each in a gzip member of its own, so that any of them can be read alone.
package warc

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Field is a field of a record's header.
type Field struct{ Name, Value string }

// Header is a record's header, without its first line.
type Header []Field

// Get returns the first field of that name, or "".
func (h Header) Get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// ID is the record id of what name names: the same for the same name.
func ID(name string) string {
	s := sha256.Sum256([]byte(name))
	s[6], s[8] = s[6]&0x0f|0x80, s[8]&0x3f|0x80 // version 8: of an application's own making
	return fmt.Sprintf("<urn:uuid:%x-%x-%x-%x-%x>", s[:4], s[4:6], s[6:8], s[8:10], s[10:16])
}

// Writer writes records.
type Writer struct {
	w io.Writer
	z *gzip.Writer // its tables are large: one for all records
	b *bufio.Writer
}

// NewWriter returns a writer to w.
func NewWriter(w io.Writer) *Writer {
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // a level that exists
	return &Writer{w, z, bufio.NewWriterSize(z, 32<<10)}
}

// Write adds a record. Its Content-Length is made here, of size.
func (w *Writer) Write(h Header, block io.Reader, size int64) error {
	w.z.Reset(w.w)
	w.b.Reset(w.z)
	z, b := w.z, w.b
	b.WriteString("WARC/1.1\r\n")
	for _, f := range h {
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	b.WriteString("Content-Length: " + strconv.FormatInt(size, 10) + "\r\n\r\n")
	n, err := io.Copy(b, block)
	if err == nil && n != size {
		err = fmt.Errorf("warc: need a block of %d bytes, found %d", size, n)
	}
	if err != nil {
		return err
	}
	b.WriteString("\r\n\r\n")
	if err := b.Flush(); err != nil {
		return err
	}
	return z.Close()
}

// Limits of what is read.
const (
	maxHeader = 1 << 20
	maxFields = 1000
)

// ErrFormat is what all errors about the bytes that were read are.
var ErrFormat = errors.New("damaged WARC file")

// Reader reads records that are a gzip member each.
type Reader struct {
	in *counter
	z  *gzip.Reader
	b  *bufio.Reader
}

type counter struct {
	r *bufio.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) { n, err := c.r.Read(p); c.n += int64(n); return n, err }
func (c *counter) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

// NewReader returns a reader of r, from its beginning.
func NewReader(r io.Reader) *Reader {
	return &Reader{in: &counter{r: bufio.NewReaderSize(r, 64<<10)}}
}

// Record is what was read of a record.
type Record struct {
	Header Header
	Size   int64  // of the block
	Start  []byte // of the block: as much as was asked for
	Offset int64  // of the gzip member in the file
	Block  int64  // where the block begins in what the member unpacks to
}

// Next returns the next record with at most keep bytes of its block, io.EOF at
// the end.
func (r *Reader) Next(keep int64) (*Record, error) {
	offset := r.in.n
	if _, err := r.in.r.Peek(1); err == io.EOF {
		return nil, io.EOF
	}
	var err error
	if r.z == nil {
		r.z, err = gzip.NewReader(r.in)
		r.b = bufio.NewReaderSize(nil, 32<<10)
	} else {
		err = r.z.Reset(r.in)
	}
	if err != nil {
		r.z = nil
		return nil, fmt.Errorf("%w: at %d: %w", ErrFormat, offset, err)
	}
	r.z.Multistream(false)
	r.b.Reset(r.z)
	b := r.b
	rec := &Record{Offset: offset}
	_, rec.Header, rec.Block, err = ReadHeader(b)
	if err == nil {
		rec.Size, err = rec.Header.Size()
	}
	if err == nil {
		rec.Start, err = io.ReadAll(io.LimitReader(b, min(keep, rec.Size)))
	}
	if err == nil {
		var rest int64
		rest, err = io.Copy(io.Discard, b)
		if want := rec.Size - int64(len(rec.Start)) + 4; err == nil && rest != want {
			err = fmt.Errorf("need %d more bytes, found %d", want, rest)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: at %d: %w", ErrFormat, offset, err)
	}
	return rec, nil
}

// ReadHeader reads the first line and the fields of a record, after any empty
// lines, and tells how many bytes that were. Where nothing follows it is io.EOF.
func ReadHeader(b *bufio.Reader) (version string, h Header, n int64, err error) {
	line := func() (string, error) {
		var text []byte
		for {
			part, err := b.ReadSlice('\n')
			n += int64(len(part))
			text = append(text, part...)
			switch {
			case n > maxHeader:
				return "", fmt.Errorf("need a header of at most %d bytes, found more", maxHeader)
			case err == nil, errors.Is(err, io.EOF):
				return strings.TrimRight(string(text), "\r\n"), err
			case !errors.Is(err, bufio.ErrBufferFull):
				return "", err
			}
		}
	}
	for version == "" { // the end of the record before
		if version, err = line(); err != nil {
			if errors.Is(err, io.EOF) && version != "" {
				err = io.ErrUnexpectedEOF
			}
			return "", nil, n, err
		}
	}
	if !strings.HasPrefix(version, "WARC/") {
		return "", nil, n, errors.New("need WARC/1.0 or WARC/1.1, found other text")
	}
	for {
		text, err := line()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return "", nil, n, err
		}
		if text == "" {
			return version, h, n, nil
		}
		name, value, ok := strings.Cut(text, ":")
		if !ok || len(h) == maxFields {
			return "", nil, n, fmt.Errorf("need at most %d fields, found more or a line without a colon", maxFields)
		}
		h = append(h, Field{name, strings.TrimSpace(value)})
	}
}

// Size is the record's Content-Length.
func (h Header) Size() (int64, error) {
	n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	if err != nil || n < 0 {
		return 0, errors.New("need a Content-Length, found none or another value")
	}
	return n, nil
}

// Open reads the part of a record's block from skip on. member is a reader at
// the record's Offset.
func Open(member io.Reader, rec *Record, skip int64) (io.Reader, error) {
	z, err := gzip.NewReader(bufio.NewReader(member))
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	if _, err := io.CopyN(io.Discard, z, rec.Block+skip); err != nil {
		return nil, err
	}
	return io.LimitReader(z, rec.Size-skip), nil
}
