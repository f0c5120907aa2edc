package jfr

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Report says what [Scrub] did. It holds no values.
type Report struct {
	Chunks     int            `json:"chunks"`
	Events     int64          `json:"events"`
	Strings    int64          `json:"strings"`              // looked at
	Changed    map[string]int `json:"changed"`              // strings that are others now, by type and field
	Unfinished int64          `json:"unfinished,omitempty"` // bytes at the end that the JVM was still writing; left out
}

// Scrub writes the recording in src with every string that f changes replaced.
// The result is a valid recording with the same events and numbers. A string in
// a pool is given to f once for each place that refers to it, and then as a
// constant. f gets nothing but strings: names of classes and methods are
// constants of the type jdk.types.Symbol. Names and labels of types can't be
// replaced: if f changes one of them, that is an error.
//
// A chunk that the JVM had not finished can't be read, since it has no metadata
// yet: it is left out, and the report says so. What can't be explained by the
// metadata is an error. The chunks are in memory one at a time.
func Scrub(dst io.Writer, src io.ReaderAt, size int64, f func(Field, string) string) (Report, error) {
	rep := Report{Changed: map[string]int{}}
	for off := int64(0); off < size; {
		c, unfinished, err := readChunk(src, rep.Chunks, off, size)
		if err != nil {
			return rep, err
		}
		if unfinished {
			rep.Unfinished = size - off
			break
		}
		s := scrubber{c: c, f: f, rep: &rep, pool: map[int64]string{}, uses: map[int64][]Field{}}
		out, err := s.chunk()
		if err != nil {
			return rep, err
		}
		if _, err := dst.Write(out); err != nil {
			return rep, err
		}
		off += int64(len(c.b))
		rep.Chunks++
	}
	if rep.Chunks == 0 {
		return rep, errors.New("need a chunk that was finished, found none: dump the recording with jcmd JFR.dump, or let the program end")
	}
	return rep, nil
}

// MetadataType is the type of [Field]s that are names or labels of types.
const MetadataType = "metadata"

// scrubber rewrites one chunk.
type scrubber struct {
	c     *chunk
	f     func(Field, string) string
	rep   *Report
	pool  map[int64]string  // of java.lang.String, as it was
	uses  map[int64][]Field // where each of them is referred to
	out   []byte
	moved map[int]int // where checkpoints and the metadata are now
	last  int         // how much of the record at hand is copied
}

// maxUses of one string that are kept apart; the program's own events have few.
const maxUses = 256

func (s *scrubber) chunk() ([]byte, error) {
	if err := s.learn(); err != nil {
		return nil, err
	}
	s.moved = map[int]int{}
	s.out = append(make([]byte, 0, len(s.c.b)+len(s.c.b)/8), s.c.b[:headerSize]...)
	err := s.c.records(func(off int, r cursor, typ int64) error {
		start := len(s.out)
		var err error
		switch typ {
		case typeMetadata:
			s.moved[off] = start
			if err := s.metadata(off); err != nil {
				return err
			}
			s.out = append(s.out, s.c.b[off:r.end]...)
			return nil
		case typeCheckpoint:
			s.moved[off] = start
			err = s.checkpoint(off, r)
		default:
			err = s.event(r, typ)
		}
		if err != nil {
			return err
		}
		n := len(s.out) - start
		if n > maxRecord {
			return s.c.wrong(&FormatError{Offset: int64(off), Need: fmt.Sprintf("a record of at most %d bytes", maxRecord), Found: fmt.Sprint(n)})
		}
		putSize(s.out[start:], n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	pools, ok := s.moved[s.c.pools]
	meta, ok2 := s.moved[s.c.meta]
	if !ok || !ok2 {
		return nil, s.c.wrong(&FormatError{Offset: 16, Need: "a checkpoint and the metadata where the header says", Found: "others"})
	}
	binary.BigEndian.PutUint64(s.out[8:], uint64(len(s.out)))
	binary.BigEndian.PutUint64(s.out[16:], uint64(pools))
	binary.BigEndian.PutUint64(s.out[24:], uint64(meta))
	return s.out, nil
}

// metadata makes sure that there is nothing to replace in names and labels of
// types: with others the recording could not be read.
func (s *scrubber) metadata(off int) error {
	private := false
	_, err := s.c.metadataAt(off, func(text string) {
		if !private {
			private = s.f(Field{Type: MetadataType}, text) != text
		}
	})
	if err == nil && private {
		err = s.c.wrong(&FormatError{Offset: int64(off), Need: "metadata without private data", Found: "some"})
	}
	return err
}

// learn reads the pool of strings, and then where each of them is used: a
// password is none by its looks, only by the field that it is the value of.
func (s *scrubber) learn() error {
	err := s.c.records(func(_ int, r cursor, typ int64) error {
		if typ != typeCheckpoint {
			return nil
		}
		r.head()
		var id int64
		var text bool
		w := walker{c: s.c, each: func(f found) {
			if _, ok := s.pool[id]; text && !ok && !f.ref {
				s.pool[id] = f.text
			}
		}}
		w.checkpoint(&r, func(k *class, n int64) { id, text = n, k.prim == stringType })
		if r.err != nil {
			return s.c.wrong(r.err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	w := walker{c: s.c, pool: s.pool, each: func(f found) {
		if f.ref {
			s.used(f)
		}
	}}
	return s.c.records(func(off int, r cursor, typ int64) error {
		switch typ {
		case typeMetadata:
			return nil
		case typeCheckpoint:
			r.head()
			w.checkpoint(&r, func(*class, int64) {})
		default:
			k, err := s.eventClass(r, typ)
			if err != nil {
				return err
			}
			s.rep.Events++
			w.event(&r, k)
		}
		if r.err != nil {
			return s.c.wrong(r.err)
		}
		return nil
	})
}

func (s *scrubber) used(f found) {
	list := s.uses[f.id]
	for _, u := range list {
		if u == f.Field {
			return
		}
	}
	if len(list) < maxUses {
		s.uses[f.id] = append(list, f.Field)
	}
}

func (s *scrubber) eventClass(r cursor, typ int64) (*class, error) {
	k := s.c.classes[typ]
	if k == nil {
		return nil, s.c.wrong(&FormatError{Offset: int64(r.at), Need: "an event of a known type", Found: fmt.Sprintf("one of type %d", typ)})
	}
	return k, nil
}

func (s *scrubber) event(r cursor, typ int64) error {
	k, err := s.eventClass(r, typ)
	if err != nil {
		return err
	}
	s.begin(typ, r.at)
	w := walker{c: s.c, pool: s.pool, each: s.replace}
	w.event(&r, k)
	return s.finish(&r)
}

func (s *scrubber) checkpoint(off int, r cursor) error {
	h := r.head()
	if r.err != nil {
		return s.c.wrong(r.err)
	}
	if h.delta != 0 {
		// The one before is behind us, so it is known where it went.
		was := int64(off) + h.delta
		now, ok := s.moved[int(was)]
		if !ok || was >= int64(off) {
			return s.c.wrong(&FormatError{Offset: int64(off), Need: "a checkpoint before this one", Found: "none at its distance"})
		}
		h.delta = int64(now - s.moved[off])
	}
	s.begin(typeCheckpoint, r.at)
	for _, v := range []int64{h.start, h.duration, h.delta} {
		s.out = appendVarint(s.out, v)
	}
	s.out = append(s.out, h.kind)
	var id int64
	var text bool
	w := walker{c: s.c, pool: s.pool, each: func(f found) {
		if text {
			s.replaceConstant(f, id)
		} else {
			s.replace(f)
		}
	}}
	w.checkpoint(&r, func(k *class, n int64) { id, text = n, k.prim == stringType })
	return s.finish(&r)
}

// begin starts a record with room for its size; what it holds is copied from at.
func (s *scrubber) begin(typ int64, at int) {
	s.out = append(s.out, make([]byte, sizeBytes)...)
	s.out = appendVarint(s.out, typ)
	s.last = at
}

func (s *scrubber) finish(r *cursor) error {
	if r.err != nil {
		return s.c.wrong(r.err)
	}
	s.out = append(s.out, s.c.b[s.last:r.end]...)
	return nil
}

// replace writes what is between the strings, and the string as f has it. A
// reference stays: the constant is scrubbed for all that refer to it.
func (s *scrubber) replace(f found) {
	s.rep.Strings++
	if !f.ref {
		s.put(f, s.f(f.Field, f.text))
	}
}

func (s *scrubber) replaceConstant(f found, id int64) {
	s.rep.Strings++
	if f.ref {
		return
	}
	text := f.text
	for _, u := range s.uses[id] {
		text = s.f(u, text)
	}
	s.put(f, s.f(f.Field, text))
}

func (s *scrubber) put(f found, text string) {
	if text == f.text {
		return
	}
	name := f.Type
	if f.Path != "" {
		name += "." + f.Path
	}
	s.rep.Changed[name]++
	s.out = append(s.out, s.c.b[s.last:f.start]...)
	s.out = appendText(s.out, text)
	s.last = f.end
}
