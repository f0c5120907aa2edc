package tapedeck

import (
	crand "crypto/rand"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
)

// Rand is randomness that a replay repeats: a stream of ChaCha8 from a seed that
// is drawn for each recording and kept with it. Whoever has the recording can
// compute all of it: make no keys of it that outlive a test. While the session is
// off it is crypto/rand. It may be used by several goroutines, but which of them
// gets which number is up to them.
type Rand struct {
	mu     sync.Mutex
	stream *rand.ChaCha8 // nil: crypto/rand
}

// Rand returns a stream of randomness: each call begins the same one again, so
// call it once for each component that draws by itself.
func (s *Session) Rand() *Rand {
	if e := s.Engine(); e != nil {
		return &Rand{stream: rand.NewChaCha8(e.Seed)}
	}
	return &Rand{}
}

// Read fills b. It never fails.
func (r *Rand) Read(b []byte) (int, error) {
	if r.stream == nil {
		return crand.Read(b)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stream.Read(b)
}

// Uint64 is a number; with it, a Rand is a source for math/rand/v2.
func (r *Rand) Uint64() uint64 {
	var b [8]byte
	_, _ = r.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// UUID is a random one, of version 4.
func (r *Rand) UUID() string {
	var b [16]byte
	_, _ = r.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
