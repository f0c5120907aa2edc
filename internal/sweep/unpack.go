package sweep

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"

	"github.com/klauspost/compress/zstd"
)

const maxZstdWindow = 128 << 20 // bytes

// unpacked returns what r holds if it is compressed as a whole, and how it was.
func unpacked(r io.Reader) (io.ReadCloser, string, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, _ := b.Peek(4) // an error comes again with the next read
	switch {
	case bytes.HasPrefix(head, member):
		z, err := gzip.NewReader(b)
		return z, "gzip", err
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, "", err
		}
		return z.IOReadCloser(), "zstd", nil
	}
	return io.NopCloser(b), "", nil
}
