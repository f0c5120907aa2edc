package bundle

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"time"
)

func (w *Writer) add(f File, r io.Reader) error {
	hash := sha256.New()
	src := &source{w: w, r: r, lim: w.lim.File}
	buf := w.press.buffer()
	n, err := src.fill(buf[:frameSize])
	if err != nil && err != io.EOF {
		w.press.release(buf)
		return err
	}
	hash.Write(buf[:n])
	start := w.pos
	if err == io.EOF {
		err = w.addSmall(f.Path, buf[:n])
	} else {
		err = w.addLarge(f.Path, buf[:n], src, hash)
	}
	if err != nil {
		return err
	}
	if f.PlainSize != nil && *f.PlainSize > w.lim.File {
		return &LimitError{What: "bytes of a file", Limit: w.lim.File, Found: *f.PlainSize}
	}
	f.Size = src.n
	f.SHA256 = hex.EncodeToString(hash.Sum(nil))
	w.files = append(w.files, f)
	w.starts = append(w.starts, start)
	w.names[f.Path] = true
	return nil
}

// addSmall shares a frame with its neighbours.
func (w *Writer) addSmall(name string, data []byte) error {
	defer w.press.release(data)
	head, err := header(name, int64(len(data)))
	if err != nil {
		return err
	}
	if len(w.group) > 0 && len(w.group)+len(head)+len(data) > frameSize {
		w.flush()
	}
	w.group = append(w.group, head...)
	w.group = append(w.group, data...)
	w.group = append(w.group, padding(int64(len(data)))...)
	w.pos += int64(len(head)) + padded(int64(len(data)))
	return w.press.failed()
}

// addLarge has frames of its own. The header has one as well, which is made
// when the size is known.
func (w *Writer) addLarge(name string, buf []byte, src *source, hash io.Writer) error {
	w.flush()
	slot := len(w.frames)
	w.frames = append(w.frames, nil)
	for {
		next := w.press.buffer()
		n, err := src.fill(next[:frameSize])
		if err != nil && err != io.EOF {
			w.press.release(buf)
			w.press.release(next)
			return err
		}
		hash.Write(next[:n])
		next = next[:n]
		if n == 0 {
			w.press.release(next)
			break
		}
		w.frames = append(w.frames, w.press.compress(buf))
		buf = next
		if err == io.EOF {
			break
		}
	}
	// The last piece has the padding too; frames are whole blocks, so it fits.
	w.frames = append(w.frames, w.press.compress(append(buf, padding(src.n)...)))
	head, err := header(name, src.n)
	if err != nil {
		return err
	}
	w.frames[slot] = w.press.compress(append(w.press.buffer(), head...))
	w.pos += int64(len(head)) + padded(src.n)
	return w.press.failed()
}

// flush makes a frame of the small files that have come together.
func (w *Writer) flush() {
	if len(w.group) == 0 {
		return
	}
	w.frames = append(w.frames, w.press.compress(append(w.press.buffer(), w.group...)))
	w.group = w.group[:0]
}

// source reads in whole pieces, whatever the reader returns at a time: the
// frames must not depend on it.
type source struct {
	w   *Writer
	r   io.Reader
	n   int64
	lim int64
}

// fill returns io.EOF with the last piece, which may be empty.
func (s *source) fill(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		if s.w.aborted.Load() {
			return n, ErrAborted
		}
		var k int
		k, err = s.r.Read(b[n:])
		n += k
	}
	s.n += int64(n)
	if s.n > s.lim {
		return n, &LimitError{What: "bytes of a file", Limit: s.lim, Found: s.n}
	}
	if total := s.w.pos + s.n; total > s.w.lim.Total {
		return n, &LimitError{What: "bytes in all", Limit: s.w.lim.Total, Found: total}
	}
	return n, err
}

// header makes a tar header. Nothing in it depends on the machine or the day:
// the date is the one that zip files start at.
func header(name string, size int64) ([]byte, error) {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	err := t.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644,
		ModTime: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC),
	})
	return b.Bytes(), err
}

const block = 512

func padded(n int64) int64 { return (n + block - 1) / block * block }

func padding(n int64) []byte { return make([]byte, padded(n)-n) }
