package scrub

import (
	"encoding/binary"
	"errors"
)

// Join makes one record of numbers and scrubbed parts. The numbers are what a
// recorder counted or measured itself (ids, sizes, times), never data.
func Join(numbers []uint64, parts ...Clean) Clean {
	n := 2*binary.MaxVarintLen32 + len(numbers)*binary.MaxVarintLen64
	for _, p := range parts {
		n += binary.MaxVarintLen64 + len(p.b)
	}
	b := make([]byte, 0, n)
	b = binary.AppendUvarint(b, uint64(len(numbers)))
	b = binary.AppendUvarint(b, uint64(len(parts)))
	for _, v := range numbers {
		b = binary.AppendUvarint(b, v)
	}
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(len(p.b)))
		b = append(b, p.b...)
	}
	return Clean{b}
}

var errJoined = errors.New("scrub: need a joined record, found other bytes")

// Split takes a joined record apart. The parts are within b.
func Split(b []byte) (numbers []uint64, parts [][]byte, err error) {
	bad := false
	next := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			bad, n, v = true, len(b), 0
		}
		b = b[n:]
		return v
	}
	n, m := next(), next()
	if bad || n > uint64(len(b)) || m > uint64(len(b)) { // each takes a byte at least
		return nil, nil, errJoined
	}
	numbers = make([]uint64, n)
	for i := range numbers {
		numbers[i] = next()
	}
	parts = make([][]byte, m)
	for i := range parts {
		size := next()
		if bad || size > uint64(len(b)) {
			return nil, nil, errJoined
		}
		parts[i], b = b[:size:size], b[size:]
	}
	if bad || len(b) > 0 {
		return nil, nil, errJoined
	}
	return numbers, parts, nil
}

// Hex returns lower-case hexadecimal digits as they are: an identifier that the
// recorder took apart. Other text is scrubbed.
func (s *Scrubber) Hex(digits string) Clean {
	for _, c := range digits {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return s.Text([]byte(digits))
		}
	}
	return Clean{[]byte(digits)}
}
