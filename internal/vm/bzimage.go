package vm

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

const maxKernel = 512 << 20 // bytes of a decompressed kernel

// extractKernel returns the ELF image inside a bzImage. QEMU's microvm starts
// it directly, which is faster than to let the guest decompress itself.
// The layout is Documentation/arch/x86/boot.rst of the kernel.
func extractKernel(bz []byte) ([]byte, error) { return extractUpTo(bz, maxKernel) }

// extractUpTo is extractKernel for a kernel of at most limit bytes.
func extractUpTo(bz []byte, limit int64) ([]byte, error) {
	if len(bz) < 0x250 || string(bz[0x202:0x206]) != "HdrS" {
		return nil, errors.New("not a bzImage: no HdrS mark")
	}
	setup := int(bz[0x1f1])
	if setup == 0 {
		setup = 4
	}
	start := (setup+1)*512 + int(binary.LittleEndian.Uint32(bz[0x248:]))
	size := int(binary.LittleEndian.Uint32(bz[0x24c:]))
	if start < 0 || size < 8 || start+size > len(bz) {
		return nil, fmt.Errorf("bzImage says that its payload is %d bytes at %d, but has only %d bytes", size, start, len(bz))
	}
	r, err := decompress(bz[start : start+size-4]) // the last 4 bytes are the size
	if err != nil {
		return nil, err
	}
	elf, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("decompress kernel: %w", err)
	}
	if int64(len(elf)) > limit {
		return nil, fmt.Errorf("decompress kernel: it has more than %d bytes", limit)
	}
	if !bytes.HasPrefix(elf, []byte("\x7fELF")) {
		return nil, errors.New("the bzImage's payload is not an ELF file")
	}
	return elf, nil
}

// decompress recognises the formats that kernels and modules come in.
func decompress(b []byte) (io.Reader, error) {
	switch {
	case bytes.HasPrefix(b, []byte{0x02, 0x21, 0x4c, 0x18}):
		return lz4.NewReader(bytes.NewReader(b)), nil
	case bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		return gzip.NewReader(bytes.NewReader(b))
	case bytes.HasPrefix(b, []byte("\xfd7zXZ\x00")):
		return xz.NewReader(bytes.NewReader(b))
	case bytes.HasPrefix(b, []byte("\x7fELF")):
		return bytes.NewReader(b), nil
	}
	return nil, fmt.Errorf("unknown compression (it starts with % x)", b[:min(len(b), 6)])
}
