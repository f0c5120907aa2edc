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

// maxWhole is how large a file may be, in bytes, that has to be in memory as a
// whole: one JSON document, a database.
const maxWhole = 1 << 30

// Rewrite scrubs src, a file of the given form, into dst. On an error what dst
// got is not to be used. Raw data is held in memory alone, never in a file.
func Rewrite(ctx context.Context, s *scrub.Scrubber, form Form, dst io.Writer, src io.Reader) error {
	if form.Packed() {
		return rewritePacked(ctx, s, form.Plain(), dst, src)
	}
	switch form {
	case Text:
		w := s.NewWriter(dst)
		if _, err := io.Copy(w, src); err != nil {
			return err
		}
		return w.Close()
	case Lines:
		return lines(s, dst, src)
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
		return warc(s, src, func(record []byte) error {
			_, err := dst.Write(record)
			return err
		})
	case SQLite, Parquet, JFR:
		return rewriteAt(ctx, s, form, dst, src)
	}
	return ErrOpaque
}

// rewritePacked keeps a WARC file's member for each record; others get one.
func rewritePacked(ctx context.Context, s *scrub.Scrubber, form Form, dst io.Writer, src io.Reader) error {
	plain, err := gzip.NewReader(src)
	if err != nil {
		return err
	}
	if form == WARC {
		return warc(s, plain, func(record []byte) error {
			_, err := dst.Write(repack(record))
			return err
		})
	}
	z := gzip.NewWriter(dst)
	if err := Rewrite(ctx, s, form, z, plain); err != nil {
		return err
	}
	return z.Close()
}

// lines scrubs one JSON document a line.
func lines(s *scrub.Scrubber, dst io.Writer, src io.Reader) error {
	r := bufio.NewReaderSize(src, 256<<10)
	w := bufio.NewWriterSize(dst, 256<<10)
	for total := 0; ; {
		line, err := r.ReadBytes('\n')
		if total = len(line); total > maxWhole {
			return fmt.Errorf("need lines of at most %d bytes, found a longer one", maxWhole)
		}
		if text := bytes.TrimRight(line, "\r\n"); len(text) > 0 {
			if _, err := w.Write(s.JSON(text).Bytes()); err != nil {
				return err
			}
			line = line[len(text):]
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return w.Flush()
		}
		if err != nil {
			return err
		}
	}
}

func whole(src io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(src, maxWhole+1))
	if err == nil && len(text) > maxWhole {
		err = fmt.Errorf("need a document of at most %d bytes, found a larger one", maxWhole)
	}
	return text, err
}

// rewriteAt is for formats that are read at any place.
func rewriteAt(ctx context.Context, s *scrub.Scrubber, form Form, dst io.Writer, src io.Reader) error {
	in, ok := src.(*os.File)
	if !ok {
		var err error
		if in, err = InMemory(src); err != nil {
			return err
		}
		defer in.Close()
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
// at its start.
func InMemory(src io.Reader) (*os.File, error) {
	fd, err := unix.MemfdCreate("tapedeck", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "memory")
	n, err := io.Copy(f, io.LimitReader(src, maxWhole+1))
	if err == nil && n > maxWhole {
		err = fmt.Errorf("need a file of at most %d bytes, found a larger one", maxWhole)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func encode64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func decode64(text string) ([]byte, error) { return base64.StdEncoding.DecodeString(text) }
