package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

// MaxRecord is the size of the largest record.
const MaxRecord = 64 << 20

// Options bound a spool. Zeros are defaults.
type Options struct {
	MaxBytes     int64 // of all segments; default 1 GiB
	SegmentBytes int64 // of one, which is the unit that is dropped; default an eighth of MaxBytes, at most 64 MiB
	SyncBytes    int64 // between two calls of fsync; default 1 MiB, below zero for none but those of Sync and Close
}

func (o *Options) fill() error {
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 30
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = min(o.MaxBytes/8, 64<<20)
	}
	if o.SyncBytes == 0 {
		o.SyncBytes = 1 << 20
	}
	if o.SegmentBytes < 64 || o.MaxBytes < 2*o.SegmentBytes {
		return fmt.Errorf("spool: need segments of 64 bytes or more and room for two, found %d of %d", o.SegmentBytes, o.MaxBytes)
	}
	return nil
}

// Spool is a log that is open for writing. It may be used by several
// goroutines.
type Spool struct {
	mu       sync.Mutex
	dir      string
	opt      Options
	lock     *os.File
	segments []segment // the last one is written
	file     *os.File  // of the last segment; nil before the first record
	next     uint64
	total    int64
	unsynced int64
	buf      []byte
	closed   bool
	write    func(*os.File, []byte) (int, error) // a test's full disk
}

type segment struct {
	name  string
	first uint64
	size  int64
}

// Open makes the folder if need be, readable to its owner alone, and goes on
// after the last whole record in it.
func Open(dir string, opt Options) (*Spool, error) {
	if err := opt.fill(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(lock); err != nil {
		lock.Close()
		return nil, &BusyError{Dir: dir, Err: err}
	}
	s := &Spool{dir: dir, opt: opt, lock: lock, write: (*os.File).Write}
	if err := s.resume(); err != nil {
		lock.Close()
		return nil, err
	}
	return s, nil
}

// flock takes the lock. A process that is being started has the descriptors of
// the one that starts it for a moment, and so a lock that was just given up.
func flock(lock *os.File) error {
	for try := 0; ; try++ {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || try == 20 {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// resume finds the number of the next record. A segment that a crash left is
// not written again: what is torn in it stays where it is.
func (s *Spool) resume() error {
	var err error
	if s.segments, err = list(s.dir); err != nil {
		return err
	}
	for i := range s.segments {
		s.total += s.segments[i].size
	}
	if len(s.segments) == 0 {
		return nil
	}
	last := &s.segments[len(s.segments)-1]
	s.next = last.first
	for rec, err := range readSegment(s.dir, *last) {
		var damaged *DamagedError
		if errors.As(err, &damaged) {
			break
		}
		if err != nil {
			return err
		}
		s.next = rec.Seq + 1
	}
	if s.next == last.first {
		// Not one whole record: its name is free again.
		if err := os.Remove(filepath.Join(s.dir, last.name)); err != nil {
			return err
		}
		s.total -= last.size
		s.segments = s.segments[:len(s.segments)-1]
	}
	return nil
}

// Append adds a record and returns its number. kind is at most 255 bytes
// that the recorder chose, never data.
func (s *Spool) Append(kind string, c scrub.Clean) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, ErrClosed
	}
	data := c.Bytes()
	need := int64(frameSize + len(kind) + len(data))
	if limit := min(s.opt.SegmentBytes-int64(headerSize), MaxRecord); need > limit || len(kind) > maxKind {
		return 0, &SizeError{Limit: limit, Found: need}
	}
	if s.file == nil || s.segments[len(s.segments)-1].size+need > s.opt.SegmentBytes {
		if err := s.rotate(need); err != nil {
			return 0, err
		}
	}
	s.buf = appendRecord(s.buf[:0], s.next, kind, data)
	if err := s.put(s.buf); err != nil {
		return 0, err
	}
	s.next++
	if s.unsynced += need; s.opt.SyncBytes > 0 && s.unsynced >= s.opt.SyncBytes {
		if err := s.sync(); err != nil {
			return s.next - 1, err
		}
	}
	return s.next - 1, nil
}

// put writes to the last segment, all or nothing.
func (s *Spool) put(b []byte) error {
	last := &s.segments[len(s.segments)-1]
	n, err := s.write(s.file, b)
	if err != nil {
		if n > 0 {
			// Half a record would hide those that come after it.
			if cut := s.file.Truncate(last.size); cut != nil {
				s.file.Close()
				s.file = nil
				return errors.Join(s.full(err, len(b)), cut)
			}
			if _, seek := s.file.Seek(last.size, 0); seek != nil {
				return errors.Join(s.full(err, len(b)), seek)
			}
		}
		return s.full(err, len(b))
	}
	last.size += int64(n)
	s.total += int64(n)
	return nil
}

func (s *Spool) full(err error, need int) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &FullError{Dir: s.dir, Need: int64(need), Err: err}
	}
	return err
}

// rotate begins a segment, and drops the oldest ones to make room for it.
func (s *Spool) rotate(need int64) error {
	if s.file != nil {
		if err := s.sync(); err != nil {
			return err
		}
		err := s.file.Close()
		s.file = nil
		if err != nil {
			return err
		}
	}
	for len(s.segments) > 0 && s.total+max(need+int64(headerSize), s.opt.SegmentBytes) > s.opt.MaxBytes {
		if err := os.Remove(filepath.Join(s.dir, s.segments[0].name)); err != nil {
			return err
		}
		s.total -= s.segments[0].size
		s.segments = s.segments[1:]
	}
	name := fmt.Sprintf("%016x%s", s.next, suffix)
	f, err := os.OpenFile(filepath.Join(s.dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return s.full(err, int(need))
	}
	s.file = f
	s.segments = append(s.segments, segment{name: name, first: s.next})
	header := binary.BigEndian.AppendUint64([]byte(magic), s.next)
	if err := s.put(header); err != nil {
		f.Close()
		s.file = nil
		s.segments = s.segments[:len(s.segments)-1]
		return errors.Join(err, os.Remove(filepath.Join(s.dir, name)))
	}
	return nil
}

func (s *Spool) sync() error {
	s.unsynced = 0
	if s.file == nil {
		return nil
	}
	return s.file.Sync()
}

// Sync returns when the disk has all that was appended.
func (s *Spool) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	return s.sync()
}

// Dropped is how many records went with the segments that were dropped.
func (s *Spool) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.segments) == 0 {
		return s.next
	}
	return s.segments[0].first
}

// Close syncs. The files stay.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.closed = true
	err := s.sync()
	if s.file != nil {
		err = errors.Join(err, s.file.Close())
	}
	return errors.Join(err, s.lock.Close())
}
