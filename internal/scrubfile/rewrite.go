package scrubfile

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

// ErrOpaque says that a file has no format that can be scrubbed.
var ErrOpaque = errors.New("the file has no format that can be scrubbed field by field")

// ErrTooLarge says that a file, or what is packed in it, is more than is read.
var ErrTooLarge = errors.New("the file is larger than what can be scrubbed")

const (
	// maxWhole is how large a file may be, in bytes, that has to be in memory as
	// a whole: one JSON document, a database.
	maxWhole = 1 << 30
	// maxUnpacked is how much a compressed file may unpack to, in bytes.
	maxUnpacked = 4 << 30
	// maxLine is how long a line may be, in bytes, to be read as a JSON document.
	maxLine = 64 << 20
)

// Rewrite scrubs src, a file of the given form, into dst. On an error what dst
// got is not to be used. Raw data is held in memory alone, never in a file.
func Rewrite(ctx context.Context, s *scrub.Scrubber, form Form, dst io.Writer, src io.Reader) (err error) {
	// A file comes from anywhere, and some of what reads it is not ours. The
	// panic's text may have data in it.
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("need a file in %s, found a damaged one", form)
		}
	}()
	switch form {
	case SQLite, Parquet, JFR: // are read at any place
	default:
		src = &stopping{ctx, src}
	}
	if form.Packed() {
		return rewritePacked(ctx, s, form.Plain(), dst, src, maxUnpacked)
	}
	switch form {
	case Text:
		w := s.NewWriter(dst)
		if _, err := io.Copy(w, src); err != nil {
			return err
		}
		return w.Close()
	case Lines:
		return lines(s, dst, src, maxLine)
	case JSON, HAR:
		text, err := whole(src)
		if err != nil {
			return err
		}
		if form == JSON {
			_, err = dst.Write(s.JSON(text).Bytes())
			return err
		}
		clean, err := har(s, text)
		if err != nil {
			return err
		}
		_, err = dst.Write(clean)
		return err
	case WARC:
		return scrubWARC(s, src, func(record []byte) error {
			_, err := dst.Write(record)
			return err
		})
	case SQLite, Parquet, JFR:
		return rewriteAt(ctx, s, form, dst, src)
	}
	return ErrOpaque
}

// stopping is a reader that ends with its context.
type stopping struct {
	ctx context.Context
	r   io.Reader
}

func (s *stopping) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.r.Read(p)
}

// bounded is a reader that fails where more than left bytes come.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, ErrTooLarge
	}
	return n, err
}

// rewritePacked keeps a WARC file's member for each record; others get one.
func rewritePacked(ctx context.Context, s *scrub.Scrubber, form Form, dst io.Writer, src io.Reader, most int64) error {
	z, err := gzip.NewReader(src)
	if err != nil {
		return err
	}
	plain := &bounded{z, most}
	if form == WARC {
		return scrubWARC(s, plain, func(record []byte) error {
			_, err := dst.Write(repack(record))
			return err
		})
	}
	w := gzip.NewWriter(dst)
	if err := Rewrite(ctx, s, form, w, plain); err != nil {
		return err
	}
	return w.Close()
}

// lines scrubs one JSON document a line. A line of more than most bytes is
// scrubbed as text.
func lines(s *scrub.Scrubber, dst io.Writer, src io.Reader, most int) error {
	r := bufio.NewReaderSize(src, 256<<10)
	w := bufio.NewWriterSize(dst, 256<<10)
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			if len(line) <= most {
				continue
			}
			err = longLine(s, w, line, r)
		} else {
			text := bytes.TrimRight(line, "\r\n")
			if len(text) > 0 {
				if _, err := w.Write(s.JSON(text).Bytes()); err != nil {
					return err
				}
			}
			if _, err := w.Write(line[len(text):]); err != nil {
				return err
			}
		}
		line = line[:0]
		if errors.Is(err, io.EOF) {
			return w.Flush()
		}
		if err != nil {
			return err
		}
	}
}

// longLine scrubs a line as text, of which head is read.
func longLine(s *scrub.Scrubber, dst io.Writer, head []byte, r *bufio.Reader) error {
	w := s.NewWriter(dst)
	part, more := head, error(bufio.ErrBufferFull)
	for {
		if _, err := w.Write(part); err != nil {
			return err
		}
		if !errors.Is(more, bufio.ErrBufferFull) {
			return errors.Join(w.Close(), more)
		}
		part, more = r.ReadSlice('\n')
	}
}

func whole(src io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(src, maxWhole+1))
	if err == nil && len(text) > maxWhole {
		err = ErrTooLarge
	}
	return text, err
}

// rewriteAt is for formats that are read at any place.
func rewriteAt(ctx context.Context, s *scrub.Scrubber, form Form, dst io.Writer, src io.Reader) error {
	in, ok := src.(*os.File)
	if !ok {
		var err error
		in, err = InMemory(src)
		if in != nil {
			defer in.Close()
		}
		if err != nil {
			return err
		}
	}
	st, err := in.Stat()
	if err != nil {
		return err
	}
	switch form {
	case Parquet:
		return parquetFile(s, dst, in, st.Size())
	case JFR:
		return jfrFile(s, dst, in, st.Size())
	}
	b, err := whole(in)
	if err != nil {
		return err
	}
	clean, err := sqlite(ctx, s, b)
	if err != nil {
		return err
	}
	_, err = dst.Write(clean)
	return err
}

// InMemory copies src into a file that is in memory alone, since it is raw, and
// at its start. Of a larger one it returns the beginning, and ErrTooLarge.
func InMemory(src io.Reader) (*os.File, error) {
	return inMemory(src, maxWhole)
}

func inMemory(src io.Reader, most int64) (*os.File, error) {
	fd, err := unix.MemfdCreate("tapedeck", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "memory")
	n, err := io.Copy(f, io.LimitReader(src, most+1))
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	if n > most {
		return f, ErrTooLarge
	}
	return f, nil
}

func encode64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func decode64(text string) ([]byte, error) { return base64.StdEncoding.DecodeString(text) }

// body scrubs a body by its media type.
func body(s *scrub.Scrubber, media string, b []byte) ([]byte, error) {
	return cleanBytes(s.HTTPBody(media, "", b))
}

func cleanBytes(c scrub.Clean, err error) ([]byte, error) { return c.Bytes(), err }

// repack makes a gzip member.
func repack(plain []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(plain) // into memory: it can't fail
	_ = z.Close()
	return b.Bytes()
}
