package spool

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Read yields the records of a spool in order. A segment that is damaged
// yields a [DamagedError] after its intact records, and the next segment
// follows. Any other error is the last. A spool may be read while it is
// written: what was appended before is seen.
func Read(dir string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		segments, err := list(dir)
		if err != nil {
			yield(Record{}, err)
			return
		}
		for _, seg := range segments {
			for rec, err := range readSegment(dir, seg) {
				var damaged *DamagedError
				if !yield(rec, err) || err != nil && !errors.As(err, &damaged) {
					return
				}
			}
		}
	}
}

// list returns the segments, the oldest first. Other files are left alone.
func list(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var segments []segment
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), suffix)
		first, err := strconv.ParseUint(digits, 16, 64)
		if !ok || err != nil || len(digits) != 16 || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // dropped meanwhile
		}
		if err != nil {
			return nil, err
		}
		segments = append(segments, segment{name: e.Name(), first: first, size: info.Size()})
	}
	return segments, nil
}

func readSegment(dir string, seg segment) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		f, err := os.Open(filepath.Join(dir, seg.name))
		if err != nil {
			if !errors.Is(err, os.ErrNotExist) {
				yield(Record{}, err)
			}
			return
		}
		defer f.Close()
		parse(f, seg, yield)
	}
}

// parse yields the records of one segment.
func parse(f io.Reader, seg segment, yield func(Record, error) bool) {
	r := bufio.NewReaderSize(f, 64<<10)
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(r, header); err != nil || string(header[:len(magic)]) != magic || binary.BigEndian.Uint64(header[len(magic):]) != seg.first {
		yield(Record{}, &DamagedError{Segment: seg.name, Offset: 0, Found: "no header of a segment"})
		return
	}
	at, want := int64(headerSize), seg.first
	for {
		rec, n, err := readRecord(r, want, seg.size-at)
		if err == io.EOF {
			return
		}
		if err != nil {
			if err == errTorn {
				err = &DamagedError{Segment: seg.name, Offset: at, Found: errTorn.Error()}
			}
			yield(Record{}, err)
			return
		}
		if !yield(rec, nil) {
			return
		}
		at += n
		want++
	}
}
