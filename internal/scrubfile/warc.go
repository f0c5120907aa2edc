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
	"github.com/tapedeck-dev/tapedeck/internal/warc"
)

const (
	maxRecord = 1 << 30 // bytes of a WARC record's block, which is held in memory
)

// scrubWARC scrubs record by record. emit gets each record, so that a compressed
// file can have a member for each, as the format wants it.
func scrubWARC(s *scrub.Scrubber, r io.Reader, emit func([]byte) error) error {
	b := bufio.NewReaderSize(r, 64<<10)
	digests := map[string]string{} // of payloads, as they were: as they are
	for n := 1; ; n++ {
		version, head, _, err := warc.ReadHeader(b)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		size, err := head.Size()
		if err == nil && size > maxRecord {
			err = fmt.Errorf("need a Content-Length of at most %d, found %d", maxRecord, size)
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		block := make([]byte, 0, min(size, 1<<20))
		block, err = readN(b, block, size)
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		record, err := scrubRecord(s, version, head, block, digests)
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

// scrubRecord returns the whole record, scrubbed. Digests are made anew: they are of
// the bytes that are there now. A revisit's digest is that of an earlier payload.
func scrubRecord(s *scrub.Scrubber, version string, h warc.Header, block []byte, digests map[string]string) ([]byte, error) {
	switch strings.ToLower(h.Get("WARC-Type")) {
	case "continuation":
		return nil, errors.New("need whole records, found a part of one")
	case "revisit":
	default:
		if h.Get("WARC-Segment-Number") != "" {
			return nil, errors.New("need whole records, found a part of one")
		}
	}
	payload := 0 // where it starts
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	isHTTP := strings.EqualFold(strings.TrimSpace(media), "application/http")
	var err error
	if isHTTP {
		block, err = cleanBytes(s.HTTPMessage(block))
		if i := bytes.Index(block, []byte("\r\n\r\n")); i >= 0 {
			payload = i + 4
		}
	} else {
		block, err = body(s, h.Get("Content-Type"), block)
	}
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.WriteString(version + "\r\n")
	for _, f := range h {
		old, value := f.Value, f.Value
		switch name := strings.ToLower(f.Name); name {
		case "content-length":
			value = strconv.Itoa(len(block))
		case "warc-block-digest":
			value = digestLike(old, block)
		case "warc-payload-digest":
			if strings.EqualFold(h.Get("WARC-Type"), "revisit") {
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
			value = s.Field(scrub.Header, f.Name, old)
		}
		if value != "" || old == "" {
			out.WriteString(plainText(s, f.Name) + ": " + value + "\r\n")
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
