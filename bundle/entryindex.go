package bundle

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// The entry index is a skippable zstd frame in front of the seek table. It
// says where the tar header of each file starts, in the order of the
// manifest's list, so that a reader needn't walk through the tar. It is a
// shortcut and no authority: whoever follows it finds a header with the name
// that the manifest has there, or an error.
//
//	8 bytes  "tapedeck"
//	1 byte   1, the version of the index
//	uvarint  number of entries
//	uvarint  for each entry: its offset less that of the entry before
//	uvarint  offset of the end of the tar's last entry, less that before
//	4 bytes  CRC-32C of all that
const indexName = "tapedeck\x01"

func appendIndex(b []byte, headers []int64, end int64) []byte {
	body := []byte(indexName)
	body = binary.AppendUvarint(body, uint64(len(headers)))
	last := int64(0)
	for _, off := range headers {
		body = binary.AppendUvarint(body, uint64(off-last))
		last = off
	}
	body = binary.AppendUvarint(body, uint64(end-last))
	body = binary.LittleEndian.AppendUint32(body, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))

	b = binary.LittleEndian.AppendUint32(b, magicIndex)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

// readIndex returns the offsets of the entry index, the end of the last entry
// behind them. It returns nil if the file has no index.
func readIndex(r io.ReaderAt, t *seekTable, lim Limits) ([]int64, error) {
	last := len(t.frames) - 1
	if last < 0 || t.frames[last].size != 0 || t.frames[last].packed < skipHeaderLen+uint32(len(indexName)) {
		return nil, nil
	}
	size, at := int64(t.frames[last].packed), t.packed[last]
	if most := 16 * (int64(lim.Entries) + 4); size > most {
		return nil, &LimitError{What: "bytes of entry index", Limit: most, Found: size}
	}
	raw := make([]byte, size)
	if _, err := r.ReadAt(raw, at); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if le.Uint32(raw) != magicIndex || string(raw[skipHeaderLen:][:len(indexName)-1]) != indexName[:len(indexName)-1] {
		return nil, nil
	}
	bad := func(need, found string) ([]int64, error) {
		return nil, &DamagedError{Offset: at, Need: need, Found: found}
	}
	body := raw[skipHeaderLen:]
	if int(le.Uint32(raw[4:])) != len(body) {
		return bad("an entry index that fills its frame", "another length")
	}
	data, sum := body[:len(body)-4], le.Uint32(body[len(body)-4:])
	if crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) != sum {
		return bad("an entry index that matches its checksum", "another checksum")
	}
	if data[len(indexName)-1] != indexName[len(indexName)-1] {
		return nil, nil // a later version: do without
	}
	data = data[len(indexName):]
	n, k := binary.Uvarint(data)
	if k <= 0 || n > uint64(len(data)) {
		return bad("a number of entries that fits", "more")
	}
	data = data[k:]
	offsets := make([]int64, 0, n+1)
	pos := uint64(0)
	for range n + 1 {
		d, k := binary.Uvarint(data)
		if k <= 0 || d > uint64(t.size())-pos {
			return bad(fmt.Sprintf("%d offsets within the tar", n+1), fmt.Sprintf("%d", len(offsets)))
		}
		pos += d
		data = data[k:]
		offsets = append(offsets, int64(pos))
	}
	return offsets, nil
}
