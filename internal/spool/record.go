package spool

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

// A segment is named by the number of its first record, in 16 hexadecimal
// digits, and begins with magic and that number. A record is
//
//	length of data  uint32
//	number          uint64
//	length of kind  uint8
//	CRC-32C         uint32, of the above and what follows
//	kind, data
//
// all big-endian.
const (
	magic      = "TDSPOOL1"
	headerSize = len(magic) + 8
	frameSize  = 4 + 8 + 1 + 4
	maxKind    = 255
	suffix     = ".spool"
)

// Record is one record of the log.
type Record struct {
	Seq  uint64 // 0 is the first ever appended
	Kind string
	Data []byte
}

func checksum(frame, kind, data []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, frame[:frameSize-4])
	sum = crc32.Update(sum, table, kind)
	return crc32.Update(sum, table, data)
}

func appendRecord(dst []byte, seq uint64, kind string, data []byte) []byte {
	var f [frameSize]byte
	binary.BigEndian.PutUint32(f[0:], uint32(len(data)))
	binary.BigEndian.PutUint64(f[4:], seq)
	f[12] = byte(len(kind))
	binary.BigEndian.PutUint32(f[13:], checksum(f[:], []byte(kind), data))
	dst = append(dst, f[:]...)
	dst = append(dst, kind...)
	return append(dst, data...)
}

// readRecord returns io.EOF where the segment ends well, and errTorn where a
// record is not whole.
func readRecord(r io.Reader, want uint64, left int64) (Record, int64, error) {
	var f [frameSize]byte
	n, err := io.ReadFull(r, f[:])
	if err == io.EOF {
		return Record{}, 0, io.EOF
	}
	if err == io.ErrUnexpectedEOF {
		return Record{}, int64(n), errTorn
	}
	if err != nil {
		return Record{}, int64(n), err
	}
	size, kindSize := int64(binary.BigEndian.Uint32(f[0:])), int64(f[12])
	rec := Record{Seq: binary.BigEndian.Uint64(f[4:])}
	if rec.Seq != want || size > MaxRecord || int64(frameSize)+kindSize+size > left {
		// A length that was damaged must not cost its memory.
		return Record{}, int64(frameSize), errTorn
	}
	buf := make([]byte, kindSize+size)
	if _, err := io.ReadFull(r, buf); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = errTorn
		}
		return Record{}, int64(frameSize), err
	}
	kind, data := buf[:kindSize], buf[kindSize:]
	if checksum(f[:], kind, data) != binary.BigEndian.Uint32(f[13:]) {
		return Record{}, int64(frameSize), errTorn
	}
	rec.Kind, rec.Data = string(kind), data
	return rec, int64(frameSize) + kindSize + size, nil
}
