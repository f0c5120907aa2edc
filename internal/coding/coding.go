// Package coding undoes the content codings of HTTP bodies.
package coding

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// ErrUnknown is a coding that can't be undone here.
var ErrUnknown = errors.New("need a body in gzip, deflate or zstd, found another content coding")

// window is what a zstd encoder may have looked back by default, in bytes.
const window = 8 << 20

// Unpack returns a body without one coding, whose name is in lower case. A body
// that is damaged, or that would be of more than most bytes, is an error.
func Unpack(name string, body []byte, most int) ([]byte, error) {
	var r io.Reader
	var err error
	switch name {
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(body))
	case "deflate":
		r, err = zlib.NewReader(bytes.NewReader(body))
	case "zstd":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(max(uint64(most), window))); err == nil {
			defer z.Close()
			r = z
		}
	default:
		return nil, ErrUnknown
	}
	if err == nil {
		var plain []byte
		plain, err = io.ReadAll(io.LimitReader(r, int64(most)+1))
		if err == nil && len(plain) <= most {
			return plain, nil
		}
	}
	return nil, fmt.Errorf("need a whole body of at most %d bytes in %s, found a damaged or a larger one", most, name)
}
