package scrubfile

import (
	"bufio"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"bytes"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

const (
	maxHead   = 1 << 20 // bytes of a WARC record's own header
	maxRecord = 1 << 30 // bytes of its block, which is held in memory
)

// warc scrubs record by record. emit gets each record, so that a compressed
// file can have a member for each, as the format wants it.
func warc(s *scrub.Scrubber, r io.Reader, emit func([]byte) error) error {
	b := bufio.NewReaderSize(r, 64<<10)
	for n := 1; ; n++ {
		head, err := warcHead(b)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		size, err := strconv.ParseInt(head.get("Content-Length"), 10, 64)
		if err != nil || size < 0 || size > maxRecord {
			return fmt.Errorf("record %d: need a Content-Length from 0 to %d, found %q", n, maxRecord, head.get("Content-Length"))
		}
		block := make([]byte, 0, min(size, 1<<20))
		block, err = readN(b, block, size)
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		if err := emit(head.scrub(s, block)); err != nil {
			return err
		}
	}
}

// readN reads n bytes without believing n before they are there.
func readN(r io.Reader, b []byte, n int64) ([]byte, error) {
	w := bytes.NewBuffer(b)
	if _, err := io.CopyN(w, r, n); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return w.Bytes(), nil
}

// warcHeader is a record's header: the version line, then the fields.
type warcHeader struct {
	version string
	fields  [][2]string
}

func warcHead(b *bufio.Reader) (*warcHeader, error) {
	h := &warcHeader{}
	total := 0
	for {
		line, err := b.ReadString('\n')
		total += len(line)
		text := strings.TrimRight(line, "\r\n")
		switch {
		case errors.Is(err, io.EOF) && h.version == "" && text == "":
			return nil, io.EOF
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case total > maxHead:
			return nil, fmt.Errorf("need a header of at most %d bytes, found more", maxHead)
		case h.version == "" && text == "": // the end of the record before
		case h.version == "" && !strings.HasPrefix(text, "WARC/"):
			return nil, fmt.Errorf("need WARC/1.0 or WARC/1.1, found other text")
		case h.version == "":
			h.version = text
		case text == "":
			return h, nil
		default:
			name, value, ok := strings.Cut(text, ":")
			if !ok {
				return nil, fmt.Errorf("need a field of a header, found a line without a colon")
			}
			h.fields = append(h.fields, [2]string{name, strings.TrimSpace(value)})
		}
	}
}

func (h *warcHeader) get(name string) string {
	for _, f := range h.fields {
		if strings.EqualFold(f[0], name) {
			return f[1]
		}
	}
	return ""
}

// scrub returns the whole record, scrubbed. Digests are made anew: they are of
// the bytes that are there now.
func (h *warcHeader) scrub(s *scrub.Scrubber, block []byte) []byte {
	payload := 0 // where it starts
	switch media, _, _ := strings.Cut(h.get("Content-Type"), ";"); strings.TrimSpace(media) {
	case "application/http":
		block = httpMessage(s, block)
		if i := bytes.Index(block, []byte("\r\n\r\n")); i >= 0 {
			payload = i + 4
		}
	case "application/json":
		block = s.JSON(block).Bytes()
	default:
		block = httpBody(s, h.get("Content-Type"), "", block)
	}
	var out bytes.Buffer
	out.WriteString(h.version + "\r\n")
	for _, f := range h.fields {
		value := f[1]
		switch strings.ToLower(f[0]) {
		case "content-length":
			value = strconv.Itoa(len(block))
		case "warc-block-digest":
			value = digestLike(value, block)
		case "warc-payload-digest":
			value = digestLike(value, block[payload:])
		case "warc-target-uri":
			value = requestTarget(s, value)
		case "warc-type", "warc-record-id", "warc-date", "content-type", "warc-concurrent-to", "warc-refers-to":
		default:
			value = s.Field(scrub.Header, f[0], value)
		}
		if value != "" {
			out.WriteString(f[0] + ": " + value + "\r\n")
		}
	}
	out.WriteString("\r\n")
	out.Write(block)
	out.WriteString("\r\n\r\n")
	return out.Bytes()
}

// digestLike makes a digest with the algorithm of another one, or none where
// that is unknown: a digest of what was there before would give it away.
func digestLike(old string, b []byte) string {
	algorithm, _, _ := strings.Cut(old, ":")
	switch strings.ToLower(algorithm) {
	case "sha1":
		sum := sha1.Sum(b)
		return algorithm + ":" + base32.StdEncoding.EncodeToString(sum[:])
	case "sha256":
		sum := sha256.Sum256(b)
		return algorithm + ":" + base32.StdEncoding.EncodeToString(sum[:])
	}
	return ""
}
