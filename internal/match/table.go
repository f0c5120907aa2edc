package match

// table finds the entries of a key. What a look-up touches lies close together,
// so that a large cassette costs little more than a small one: a slot of the
// table and the entry that it names, without a pointer to follow.
type table struct {
	slots []slot // a power of two of them; a key is in the first free slot from its own on
}

// slot is a key and the entries that have it, in recorded order.
type slot struct {
	key  key
	head int32 // number of the first entry that was not taken, plus 1; 0 if all are
	last int32 // of the last one, plus 1; 0 if the slot is free
}

// newTable returns a table for n keys, filled to four fifths at most.
func newTable(n int) *table {
	size := 8
	for size*4 < n*5 {
		size *= 2
	}
	return &table{slots: make([]slot, size)}
}

// of is the slot of a key, or the free one where it would be.
func (t *table) of(k key) *slot {
	mask := uint64(len(t.slots) - 1)
	for i := k[0] & mask; ; i = (i + 1) & mask {
		if s := &t.slots[i]; s.last == 0 || s.key == k {
			return s
		}
	}
}
