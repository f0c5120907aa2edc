package bundle

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Format is how a bundle is packed.
type Format string

// The formats that a [Reader] takes. A [Writer] makes Seekable only.
const (
	Seekable Format = "tar.zst, seekable"
	TarZstd  Format = "tar.zst"
	TarGzip  Format = "tar.gz"
	Tar      Format = "tar"
)

// sniff tells the format from the first bytes. It leaves it to the tar reader
// to find out that a Tar is none.
func sniff(src io.ReaderAt, size int64) (Format, error) {
	var head [block]byte
	n, err := src.ReadAt(head[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	magic := binary.LittleEndian.Uint32(head[:])
	switch {
	case n == 0:
		return "", fmt.Errorf("%w: the file is empty", ErrNotBundle)
	case magic == magicFrame || magic&^0xF == magicSkippable:
		return TarZstd, nil
	case bytes.HasPrefix(head[:], []byte{0x1F, 0x8B}):
		return TarGzip, nil
	case n == block && size >= block:
		return Tar, nil
	}
	return "", fmt.Errorf("%w: need a tar, or one packed by zstd or gzip, found %.16q…", ErrNotBundle, head[:n])
}

// stream unpacks a bundle from its start. Reading fails as soon as more comes
// out than the limits allow.
type stream struct {
	io.Reader
	close func()

	in  counter
	out int64
	lim Limits
}

func newStream(src io.ReaderAt, size int64, form Format, lim Limits) (*stream, error) {
	s := &stream{in: counter{r: io.NewSectionReader(src, 0, size)}, lim: lim, close: func() {}}
	switch form {
	case TarGzip:
		z, err := gzip.NewReader(&s.in)
		if err != nil {
			return nil, s.fail(err)
		}
		s.Reader = z
	case TarZstd:
		// One core and little memory: the rest of the program needs some too.
		z, err := zstd.NewReader(&s.in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(uint64(lim.Window)))
		if err != nil {
			return nil, s.fail(err)
		}
		s.Reader, s.close = z, z.Close
	default:
		s.Reader = &s.in
	}
	return s, nil
}

func (s *stream) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	s.out += int64(n)
	if s.out > s.lim.Total {
		return 0, &LimitError{What: "bytes unpacked", Limit: s.lim.Total, Found: s.out}
	}
	if err := s.lim.checkRatio(s.in.n, s.out); err != nil {
		return 0, err
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = s.fail(err)
	}
	return n, err
}

func (s *stream) Close() error {
	s.close()
	return nil
}

// fail says of an error of a decompressor where it came up.
func (s *stream) fail(err error) error {
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return &LimitError{What: "bytes of zstd window", Limit: s.lim.Window, Found: s.lim.Window + 1}
	}
	found := err.Error()
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		found = "the end of the file"
	}
	return &DamagedError{Offset: s.in.n, Need: "intact compressed data", Found: found, Err: err}
}

// counter counts what is read from r.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}
