package scrub

import (
	"crypto/sha256"
	"encoding/json"
	"sync"
)

// Known are the tokens that scrubbers made, in a form that makes them again
// where the salt is not: the values are there as hashes. Somebody who has a
// value finds its token, as he would by scrubbing it, and learns nothing of the
// tokens of others. The zero value knows none. It may be shared.
type Known struct {
	mu   sync.Mutex
	sums map[[32]byte][32]byte // of label and value
	slow map[[32]byte][16]byte // argon2id of those
}

// Share has the scrubber take sums from k, and put those there that it makes
// itself. It is called before the scrubber is used.
func (s *Scrubber) Share(k *Known) { s.macs.known, s.argon.shared = k, k }

// sum returns the sum of a value, which made computes if it is not known.
func (k *Known) sum(label string, value []byte, made func(string, []byte) [32]byte) [32]byte {
	h := sha256.New()
	h.Write([]byte(label + "|"))
	h.Write(value)
	at := [32]byte(h.Sum(nil))
	k.mu.Lock()
	sum, ok := k.sums[at]
	k.mu.Unlock()
	if ok {
		return sum
	}
	sum = made(label, value)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sums == nil {
		k.sums = map[[32]byte][32]byte{}
	}
	k.sums[at] = sum
	return sum
}

func (k *Known) slowSum(mac [32]byte) (sum [16]byte, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	sum, ok = k.slow[mac]
	return sum, ok
}

func (k *Known) addSlow(mac [32]byte, sum [16]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.slow == nil {
		k.slow = map[[32]byte][16]byte{}
	}
	k.slow[mac] = sum
}

// knownJSON has pairs, one after the other.
type knownJSON struct {
	Sums [][]byte `json:"sums"`
	Slow [][]byte `json:"slow,omitempty"`
}

// MarshalJSON writes what is known by now.
func (k *Known) MarshalJSON() ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var j knownJSON
	for at, sum := range k.sums {
		j.Sums = append(j.Sums, append(at[:], sum[:]...))
	}
	for mac, sum := range k.slow {
		j.Slow = append(j.Slow, append(mac[:], sum[:]...))
	}
	return json.Marshal(j)
}

// UnmarshalJSON adds what was written.
func (k *Known) UnmarshalJSON(b []byte) error {
	var j knownJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sums, k.slow = map[[32]byte][32]byte{}, map[[32]byte][16]byte{}
	for _, p := range j.Sums {
		if len(p) == 64 {
			k.sums[[32]byte(p)] = [32]byte(p[32:])
		}
	}
	for _, p := range j.Slow {
		if len(p) == 48 {
			k.slow[[32]byte(p[:32])] = [16]byte(p[32:])
		}
	}
	return nil
}
