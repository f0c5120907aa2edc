package scrubfile

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

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
	digests := map[string]string{} // of payloads, as they were: as they are
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
			return fmt.Errorf("record %d: need a Content-Length from 0 to %d, found another", n, maxRecord)
		}
		block := make([]byte, 0, min(size, 1<<20))
		block, err = readN(b, block, size)
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		record, err := head.scrub(s, block, digests)
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		if err := emit(record); err != nil {
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
		line, err := readLine(b, maxHead)
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

// readLine reads a line of at most about max bytes.
func readLine(b *bufio.Reader, max int) (string, error) {
	var line []byte
	for {
		part, err := b.ReadSlice('\n')
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) && len(line) <= max {
			continue
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			err = fmt.Errorf("need a line of at most %d bytes, found a longer one", max)
		}
		return string(line), err
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
// the bytes that are there now. A revisit's digest is that of an earlier payload.
func (h *warcHeader) scrub(s *scrub.Scrubber, block []byte, digests map[string]string) ([]byte, error) {
	switch strings.ToLower(h.get("WARC-Type")) {
	case "continuation":
		return nil, errors.New("need whole records, found a part of one")
	case "revisit":
	default:
		if h.get("WARC-Segment-Number") != "" {
			return nil, errors.New("need whole records, found a part of one")
		}
	}
	payload := 0 // where it starts
	media, _, _ := strings.Cut(h.get("Content-Type"), ";")
	isHTTP := strings.EqualFold(strings.TrimSpace(media), "application/http")
	var err error
	if isHTTP {
		block, err = cleanBytes(s.HTTPMessage(block))
		if i := bytes.Index(block, []byte("\r\n\r\n")); i >= 0 {
			payload = i + 4
		}
	} else {
		block, err = body(s, h.get("Content-Type"), block)
	}
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.WriteString(h.version + "\r\n")
	for _, f := range h.fields {
		old, value := f[1], f[1]
		switch name := strings.ToLower(f[0]); name {
		case "content-length":
			value = strconv.Itoa(len(block))
		case "warc-block-digest":
			value = digestLike(old, block)
		case "warc-payload-digest":
			if strings.EqualFold(h.get("WARC-Type"), "revisit") {
				value = digests[old]
			} else {
				value = digestLike(old, block[payload:])
				digests[old] = value
			}
		case "warc-target-uri", "warc-refers-to-target-uri":
			value = s.HTTPTarget(old)
		case "warc-record-id", "warc-concurrent-to", "warc-refers-to", "warc-warcinfo-id":
			if !recordID.MatchString(old) {
				value = plainText(s, old)
			}
		case "warc-date", "warc-refers-to-date":
			if _, err := time.Parse(time.RFC3339, old); err != nil {
				value = plainText(s, old)
			}
		default:
			value = s.Field(scrub.Header, f[0], old)
		}
		if value != "" || old == "" {
			out.WriteString(plainText(s, f[0]) + ": " + value + "\r\n")
		}
	}
	out.WriteString("\r\n")
	out.Write(block)
	out.WriteString("\r\n\r\n")
	return out.Bytes(), nil
}

// recordID is an id whose digits are nobody's number.
var recordID = regexp.MustCompile(`^<urn:uuid:[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}>$`)

// digestLike makes a digest with the algorithm and in the spelling of another
// one, or none where that is unknown: a digest of what was there before would
// give it away.
func digestLike(old string, b []byte) string {
	algorithm, digits, _ := strings.Cut(old, ":")
	var sum []byte
	switch strings.ToLower(algorithm) {
	case "sha1", "sha-1":
		a := sha1.Sum(b)
		sum = a[:]
	case "sha256", "sha-256":
		a := sha256.Sum256(b)
		sum = a[:]
	default:
		return ""
	}
	if len(digits) == hex.EncodedLen(len(sum)) {
		return algorithm + ":" + hex.EncodeToString(sum)
	}
	return algorithm + ":" + base32.StdEncoding.EncodeToString(sum)
}
