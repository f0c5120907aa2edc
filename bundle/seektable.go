package bundle

import (
	"encoding/binary"
	"fmt"
	"io"
)

// The numbers of the zstd seekable format, version 0.1.0, and of the frame
// that we put in front of its table. All are little-endian.
const (
	magicFrame     = 0xFD2FB528
	magicSkippable = 0x184D2A50 // the lowest of sixteen
	magicSeekTable = 0x184D2A5E
	magicSeekEnd   = 0x8F92EAB1
	magicIndex     = 0x184D2A5C

	seekFooterLen = 9
	skipHeaderLen = 8
	hasChecksums  = 1 << 7
	reservedBits  = 0x7C

	// emptySum is the low half of XXH64 of nothing: the checksum of a frame
	// that holds no data.
	emptySum = 0x51D8E999

	// maxFrame is the largest frame that is unpacked as one piece in memory.
	maxFrame = 64 << 20
	// maxFrames bounds the seek table in memory.
	maxFrames = 4 << 20
)

// frame is one entry of the seek table.
type frame struct {
	packed, size uint32
	sum          uint32 // low half of XXH64 of the data
}

// seekTable finds the frame that holds a position of the unpacked data.
type seekTable struct {
	frames []frame
	packed []int64 // where frame i starts in the file; one more: where the table starts
	plain  []int64 // where its data starts in the unpacked stream; one more: the total
	sums   bool    // the table has checksums
}

func newSeekTable(frames []frame, sums bool) *seekTable {
	t := &seekTable{frames: frames, sums: sums, packed: make([]int64, len(frames)+1), plain: make([]int64, len(frames)+1)}
	for i, f := range frames {
		t.packed[i+1] = t.packed[i] + int64(f.packed)
		t.plain[i+1] = t.plain[i] + int64(f.size)
	}
	return t
}

func (t *seekTable) size() int64 { return t.plain[len(t.frames)] }

// appendSeekTable writes the skippable frame that ends the file.
func appendSeekTable(b []byte, frames []frame) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, magicSeekTable)
	b = le.AppendUint32(b, uint32(12*len(frames)+seekFooterLen))
	for _, f := range frames {
		b = le.AppendUint32(b, f.packed)
		b = le.AppendUint32(b, f.size)
		b = le.AppendUint32(b, f.sum)
	}
	b = le.AppendUint32(b, uint32(len(frames)))
	b = append(b, hasChecksums)
	return le.AppendUint32(b, magicSeekEnd)
}

// readSeekTable reads the table at the end of a zstd file of the given size.
// It returns nil if there is none.
func readSeekTable(r io.ReaderAt, size int64) (*seekTable, error) {
	if size < skipHeaderLen+seekFooterLen {
		return nil, nil
	}
	var foot [seekFooterLen]byte
	if _, err := r.ReadAt(foot[:], size-seekFooterLen); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if le.Uint32(foot[5:]) != magicSeekEnd {
		return nil, nil
	}
	n, flags := int64(le.Uint32(foot[:])), foot[4]
	bad := func(need, found string) error {
		return &DamagedError{Offset: size - seekFooterLen, Need: need, Found: found}
	}
	if flags&reservedBits != 0 {
		return nil, bad("a seek table with no reserved bits set", fmt.Sprintf("flags %#02x", flags))
	}
	if n > maxFrames {
		return nil, &LimitError{What: "zstd frames", Limit: maxFrames, Found: n}
	}
	each := int64(8)
	if flags&hasChecksums != 0 {
		each = 12
	}
	body := n*each + seekFooterLen
	start := size - body - skipHeaderLen
	if start < 0 {
		return nil, bad("a seek table within the file", fmt.Sprintf("one for %d frames in %d bytes", n, size))
	}
	raw := make([]byte, body+skipHeaderLen)
	if _, err := r.ReadAt(raw, start); err != nil {
		return nil, err
	}
	if le.Uint32(raw) != magicSeekTable || int64(le.Uint32(raw[4:])) != body {
		return nil, bad(fmt.Sprintf("the start of a seek table %d bytes before the end", size-start), "something else")
	}
	raw = raw[skipHeaderLen:]
	frames := make([]frame, n)
	for i := range frames {
		e := raw[int64(i)*each:]
		frames[i] = frame{packed: le.Uint32(e), size: le.Uint32(e[4:])}
		if each == 12 {
			frames[i].sum = le.Uint32(e[8:])
		}
	}
	t := newSeekTable(frames, each == 12)
	if end := t.packed[n]; end != start {
		return nil, bad(fmt.Sprintf("frames of %d bytes before the seek table", end), fmt.Sprintf("%d bytes", start))
	}
	return t, nil
}
