package bundle

import (
	"encoding/binary"
	"os"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// frameSize is how much data goes into one zstd frame. Smaller frames open
// faster, larger ones compress better; with 2 MiB a file is there after some
// 4 ms, and costs 2 % more than in a single frame.
const frameSize = 2 << 20

// maxWorkers bounds the memory that packing takes: two buffers each.
const maxWorkers = 16

// spooled is a frame that was compressed into the spool file. at, packed and
// sum are set when the press has settled.
type spooled struct {
	frame
	at int64 // offset in the spool file
}

// press compresses frames on all cores and spools them. The order in which
// they arrive in the spool is the cores' affair: whoever reads them back goes
// by what press returned.
type press struct {
	enc   *zstd.Encoder
	spool *os.File
	slots chan []byte // free buffers; holding one is the right to compress
	outs  chan []byte // free buffers for what becomes of them, as many
	wg    sync.WaitGroup

	mu  sync.Mutex
	end int64
	err error
}

func newPress(spool *os.File) (*press, error) {
	n := min(runtime.GOMAXPROCS(0), maxWorkers)
	enc, err := newEncoder(n)
	if err != nil {
		return nil, err
	}
	p := &press{enc: enc, spool: spool, slots: make(chan []byte, n+1), outs: make(chan []byte, n+1)}
	for range n + 1 { // one more, to be filled while the others are compressed
		p.slots <- nil
		p.outs <- nil
	}
	return p, nil
}

func newEncoder(cores int) (*zstd.Encoder, error) {
	return zstd.NewWriter(nil,
		zstd.WithEncoderConcurrency(cores),
		zstd.WithEncoderCRC(true),
		zstd.WithWindowSize(frameSize),
		zstd.WithEncoderLevel(zstd.SpeedDefault))
}

// buffer waits for a free buffer. It has to go back by compress or release.
func (p *press) buffer() []byte {
	b := <-p.slots
	if b == nil {
		b = make([]byte, 0, frameSize)
	}
	return b[:0]
}

func (p *press) release(b []byte) { p.slots <- b }

// out returns a free buffer in which a frame of n bytes has room, even one that
// can't be compressed.
func (p *press) out(n int) []byte {
	b := <-p.outs
	if most := n + n>>7 + 64; cap(b) < most {
		b = make([]byte, 0, most)
	}
	return b[:0]
}

// compress takes over the buffer b and returns the frame that it becomes.
func (p *press) compress(b []byte) *spooled {
	s := &spooled{frame: frame{size: uint32(len(b))}}
	p.wg.Go(func() {
		out := p.enc.EncodeAll(b, p.out(len(b)))
		defer func() { p.outs <- out }()
		p.release(b)
		s.packed = uint32(len(out))
		s.sum = sumOf(out)
		p.mu.Lock()
		s.at = p.end
		p.end += int64(len(out))
		failed := p.err != nil
		p.mu.Unlock()
		if failed {
			return
		}
		if _, err := p.spool.WriteAt(out, s.at); err != nil {
			p.fail(err)
		}
	})
	return s
}

// pack compresses one piece, on the caller's time.
func pack(enc *zstd.Encoder, b []byte) []byte { return enc.EncodeAll(b, make([]byte, 0, len(b)/2+64)) }

// sumOf is the checksum that a frame of ours ends with.
func sumOf(packed []byte) uint32 { return binary.LittleEndian.Uint32(packed[len(packed)-4:]) }

func (p *press) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// settle waits until all frames are in the spool and says whether they are.
func (p *press) settle() error {
	p.wg.Wait()
	return p.failed()
}

func (p *press) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
