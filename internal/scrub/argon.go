package scrub

import (
	"fmt"
	"strconv"
	"sync"

	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/argon2"
)

// ArgonParams are the costs of argon2id.
type ArgonParams struct {
	Time    uint32 // passes
	Memory  uint32 // KiB
	Threads uint8
}

// DefaultArgon is the second choice of RFC 9106: 3 passes over 64 MiB in 4 lanes.
func DefaultArgon() ArgonParams { return ArgonParams{Time: 3, Memory: 64 << 10, Threads: 4} }

func (f *ruleFile) argon(n *yaml.Node) error {
	p := DefaultArgon()
	err := f.each(n, "time, memory and threads", func(key, value *yaml.Node) error {
		least, most := 1, 0
		switch key.Value {
		case "time":
			most = 64
		case "memory":
			least, most = 8<<10, 1<<20
		case "threads":
			most = 64
		default:
			return f.fail(key, "time, memory or threads", strconv.Quote(key.Value), didYouMean(key.Value, []string{"time", "memory", "threads"}))
		}
		x, err := strconv.Atoi(value.Value)
		if err != nil || x < least || x > most {
			return f.fail(value, fmt.Sprintf("a number from %d to %d", least, most), kindOf(value), "memory is in KiB")
		}
		switch key.Value {
		case "time":
			p.Time = uint32(x)
		case "memory":
			p.Memory = uint32(x)
		case "threads":
			p.Threads = uint8(x)
		}
		return nil
	})
	f.l.rules.argon = p
	return err
}

// maxArgonCache bounds the memory of known tokens: about 100 bytes for each.
const maxArgonCache = 1 << 14

// argonCache remembers tokens by the keyed hash of the value, since each
// costs tens of milliseconds. It never holds a value.
type argonCache struct {
	mu     sync.Mutex
	known  map[[32]byte][16]byte
	shared *Known // asked first, and told; may be nil
}

// sum is argon2id of a value. mac is its keyed hash: the input, so that a
// value can't be guessed without the salt whatever its length.
func (c *argonCache) sum(p ArgonParams, salt []byte, mac [32]byte) [16]byte {
	if c.shared != nil {
		if s, ok := c.shared.slowSum(mac); ok {
			return s
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.known[mac]; ok {
		return s
	}
	var s [16]byte
	copy(s[:], argon2.IDKey(mac[:], salt, p.Time, p.Memory, p.Threads, 16))
	if c.known == nil || len(c.known) >= maxArgonCache {
		c.known = map[[32]byte][16]byte{}
	}
	c.known[mac] = s
	if c.shared != nil {
		c.shared.addSlow(mac, s)
	}
	return s
}
