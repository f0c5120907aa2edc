package bundle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// cacheFrames is how many unpacked frames a reader keeps. Files are read from
// front to back, so one for each of a few files open at a time is enough.
const cacheFrames = 4

// frameReader is the unpacked tar of a seekable bundle, any part of it at once.
// It is safe for concurrent use.
type frameReader struct {
	src io.ReaderAt
	t   *seekTable
	lim Limits
	dec *zstd.Decoder

	mu    sync.Mutex
	cache []unpacked // the one used last comes last
}

type unpacked struct {
	i    int
	data []byte
}

func newFrameReader(src io.ReaderAt, t *seekTable, lim Limits) (*frameReader, error) {
	dec, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(0),
		zstd.WithDecoderMaxWindow(uint64(lim.Window)),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	return &frameReader{src: src, t: t, lim: lim, dec: dec}, nil
}

func (r *frameReader) ReadAt(b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("negative offset %d", off)
	}
	for n < len(b) {
		if off >= r.t.size() {
			return n, io.EOF
		}
		// The last frame that starts at or before off; frames without data
		// start where the next one does, and come before it.
		i := sort.Search(len(r.t.frames), func(i int) bool { return r.t.plain[i+1] > off })
		data, err := r.frame(i)
		if err != nil {
			return n, err
		}
		k := copy(b[n:], data[off-r.t.plain[i]:])
		n += k
		off += int64(k)
	}
	return n, nil
}

// frame returns the data of frame i. Nobody may change it.
func (r *frameReader) frame(i int) ([]byte, error) {
	r.mu.Lock()
	for k, u := range r.cache {
		if u.i == i {
			r.cache = append(slices.Delete(r.cache, k, k+1), u)
			r.mu.Unlock()
			return u.data, nil
		}
	}
	r.mu.Unlock()

	data, err := r.unpack(i)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.cache) >= cacheFrames {
		r.cache = slices.Delete(r.cache, 0, 1)
	}
	r.cache = append(r.cache, unpacked{i, data})
	return data, nil
}

func (r *frameReader) unpack(i int) ([]byte, error) {
	f, at := r.t.frames[i], r.t.packed[i]
	packed := make([]byte, f.packed)
	if _, err := r.src.ReadAt(packed, at); err != nil {
		return nil, err
	}
	data, err := r.dec.DecodeAll(packed, make([]byte, 0, f.size))
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return nil, &LimitError{What: "bytes of zstd window", Limit: r.lim.Window, Found: r.lim.Window + 1}
	}
	if err != nil {
		return nil, &DamagedError{Offset: at, Need: "an intact zstd frame", Found: err.Error(), Err: err}
	}
	if len(data) != int(f.size) {
		return nil, &DamagedError{Offset: at, Need: fmt.Sprintf("a frame of %d bytes unpacked", f.size), Found: fmt.Sprint(len(data))}
	}
	if r.t.sums && f.size > 0 && len(packed) >= 4 && packed[4]&frameHasSum != 0 {
		if sum := binary.LittleEndian.Uint32(packed[len(packed)-4:]); sum != f.sum {
			return nil, &DamagedError{Offset: at, Need: fmt.Sprintf("a frame with checksum %08x", f.sum), Found: fmt.Sprintf("%08x", sum)}
		}
	}
	return data, nil
}

// frameHasSum is the bit of a zstd frame header which says that the frame ends
// with the checksum of its data.
const frameHasSum = 1 << 2
