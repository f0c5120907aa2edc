package scrub

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

func TestJoin(t *testing.T) {
	numbers := []uint64{0, 1, 4111111111111111, math.MaxUint64} // one that would be taken for a card
	parts := []Clean{{[]byte("a")}, {}, {bytes.Repeat([]byte("b"), 1000)}}
	c := Join(numbers, parts...)
	n, p, err := Split(c.Bytes())
	if err != nil || !slices.Equal(n, numbers) || len(p) != 3 || string(p[0]) != "a" || len(p[1]) != 0 || len(p[2]) != 1000 {
		t.Fatalf("Split(Join) = %v, %q, %v", n, p, err)
	}
	if n, p, err := Split(Join(nil).Bytes()); err != nil || len(n)+len(p) != 0 {
		t.Fatalf("Split(Join()) = %v, %q, %v", n, p, err)
	}
	for i := range c.Bytes() {
		if _, _, err := Split(c.Bytes()[:i]); err == nil {
			t.Errorf("the first %d bytes of %d are taken for a record", i, len(c.Bytes()))
		}
	}
	if _, _, err := Split(append(bytes.Clone(c.Bytes()), 0)); err == nil {
		t.Error("a byte too many is not noticed")
	}
}

func FuzzSplit(f *testing.F) {
	f.Add(Join([]uint64{1, 2}, Clean{[]byte("x")}).Bytes())
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, p, err := Split(b)
		if err != nil {
			return
		}
		parts := make([]Clean, len(p))
		for i := range p {
			parts[i] = Clean{p[i]}
		}
		n2, p2, err := Split(Join(n, parts...).Bytes())
		if err != nil || !slices.Equal(n, n2) || !slices.EqualFunc(p, p2, bytes.Equal) {
			t.Fatalf("%v %q became %v %q, %v", n, p, n2, p2, err)
		}
	})
}
