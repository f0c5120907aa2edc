package importer

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/warc"
)

// warcRecord is a record, in memory.
type warcRecord struct {
	n     int
	h     warc.Header
	block []byte
	used  bool
}

// readWARC reads a file of WARC, compressed as a whole, member by member, or not.
// A request and its answer are told by WARC-Concurrent-To, or else by being next
// to one another and of one URI.
func readWARC(r *reader, s source) error {
	b, err := r.text(s, maxFile)
	if err != nil {
		return err
	}
	in := io.Reader(bytes.NewReader(b))
	if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		if in, err = gzip.NewReader(in); err != nil {
			return &DamagedError{s.String(), "WARC records in gzip", "damaged gzip"}
		}
	}
	var all []*warcRecord
	byID := map[string]*warcRecord{}
	left := int64(maxTotal)
	for records := bufio.NewReaderSize(in, 64<<10); ; {
		rec, err := nextRecord(records, len(all)+1, &left)
		if err == io.EOF {
			break
		}
		if err != nil {
			return &DamagedError{s.at("record %d", len(all)+1), "a WARC record", err.Error()}
		}
		all = append(all, rec)
		if len(all) > 4*maxExchanges {
			return &DamagedError{s.String(), fmt.Sprintf("at most %d records", 4*maxExchanges), "more"}
		}
		byID[rec.h.Get("WARC-Record-ID")] = rec
	}
	for i, rec := range all {
		kind, where := strings.ToLower(rec.h.Get("WARC-Type")), s.at("record %d", rec.n)
		switch kind {
		case "warcinfo":
			for line := range strings.SplitSeq(string(rec.block), "\n") {
				if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(name), "software") {
					r.tape.Tool = strings.TrimSpace(value)
				}
			}
		case "request":
			if media(rec.h) != "application/http" {
				r.skip(where, "its block is no HTTP message")
				continue
			}
			x, err := r.warcExchange(rec, answerTo(all, byID, i))
			if err != nil {
				r.skip(where, err.Error())
				continue
			}
			x.Where = where
			if err := r.add(x); err != nil {
				return err
			}
		case "revisit":
			r.skip(where, "it refers to the body of another record")
		case "continuation":
			r.skip(where, "it is a part of a record")
		}
	}
	for _, rec := range all {
		if strings.EqualFold(rec.h.Get("WARC-Type"), "response") && !rec.used {
			r.skip(s.at("record %d", rec.n), "the file does not tell what the request was")
		}
	}
	return nil
}

func nextRecord(b *bufio.Reader, n int, left *int64) (*warcRecord, error) {
	_, h, _, err := warc.ReadHeader(b)
	if err == io.EOF {
		return nil, err
	}
	size := int64(0)
	if err == nil {
		size, err = h.Size()
	}
	if err == nil && size > *left {
		err = fmt.Errorf("more than %d MiB", maxTotal>>20)
	}
	if err != nil {
		return nil, err
	}
	*left -= size
	var block bytes.Buffer
	if _, err := io.CopyN(&block, b, size); err != nil {
		return nil, errors.New("it ends too early")
	}
	return &warcRecord{n: n, h: h, block: block.Bytes()}, nil
}

// answerTo finds the answer to the request at i.
func answerTo(all []*warcRecord, byID map[string]*warcRecord, i int) *warcRecord {
	request := all[i]
	take := func(rec *warcRecord) *warcRecord {
		if rec == nil || rec.used || !strings.EqualFold(rec.h.Get("WARC-Type"), "response") {
			return nil
		}
		rec.used = true
		return rec
	}
	if rec := take(byID[request.h.Get("WARC-Concurrent-To")]); rec != nil {
		return rec
	}
	for _, j := range []int{i + 1, i - 1} { // most tools write one beside the other
		if j < 0 || j >= len(all) {
			continue
		}
		rec := all[j]
		to := rec.h.Get("WARC-Concurrent-To")
		if to == request.h.Get("WARC-Record-ID") || to == "" && rec.h.Get("WARC-Target-URI") == request.h.Get("WARC-Target-URI") {
			if rec := take(rec); rec != nil {
				return rec
			}
		}
	}
	return nil
}

func media(h warc.Header) string {
	m, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(m))
}

func (r *reader) warcExchange(request, response *warcRecord) (*Exchange, error) {
	head, err := r.warcMessage(request.block)
	if err != nil {
		return nil, err
	}
	m := &cassette.Message{Head: head}
	x := &Exchange{Method: m.Method(), Request: Message{Raw: head, Cut: request.h.Get("WARC-Truncated")}}
	link := strings.Trim(request.h.Get("WARC-Target-URI"), "<>") // as some tools spell it
	if err := r.place(x, link, ""); err != nil {
		return nil, err
	}
	if a, err := netip.ParseAddr(request.h.Get("WARC-IP-Address")); err == nil {
		x.Peer = netip.AddrPortFrom(a, 0)
	}
	x.Began, _ = time.Parse(time.RFC3339Nano, request.h.Get("WARC-Date"))
	if response == nil {
		return nil, errors.New("the file has no answer to it")
	}
	if media(response.h) != "application/http" {
		return nil, errors.New("the block of its answer is no HTTP message")
	}
	if a, err := netip.ParseAddr(response.h.Get("WARC-IP-Address")); err == nil {
		x.Peer = netip.AddrPortFrom(a, 0)
	}
	raw, err := r.warcMessage(response.block)
	if err != nil {
		return nil, err
	}
	x.Response = &Message{Raw: raw, Cut: response.h.Get("WARC-Truncated")}
	if x.Response.Cut != "" {
		x.End = "closed"
	}
	if status := (&cassette.Message{Head: raw}).Status(); status < 200 {
		return nil, errors.New("its answer is an upgrade to another protocol, or none")
	}
	x.Answered, _ = time.Parse(time.RFC3339Nano, response.h.Get("WARC-Date"))
	x.Ended = x.Answered
	return x, nil
}

// warcMessage is a message as it can be replayed: HTTP/1, and with a body that
// ends where its header says. Many tools take the chunks off a body and leave the
// header as it was, or write HTTP/2 in its first line.
func (r *reader) warcMessage(block []byte) ([]byte, error) {
	end := bytes.Index(block, []byte("\r\n\r\n"))
	if end < 0 {
		return nil, errors.New("its block is no HTTP message")
	}
	head, body := string(block[:end]), block[end+4:]
	first, fields, _ := strings.Cut(head, "\r\n")
	changed := false
	for _, old := range []string{"HTTP/2.0", "HTTP/2", "HTTP/3"} {
		if rest, ok := strings.CutPrefix(first, old+" "); ok {
			first, changed = "HTTP/1.1 "+rest, true
		} else if rest, ok := strings.CutSuffix(first, " "+old); ok {
			first, changed = rest+" HTTP/1.1", true
		}
	}
	if changed {
		r.note(noteHTTP2)
	}
	m := &cassette.Message{Head: block[:end+4]}
	if strings.EqualFold(m.Get("Transfer-Encoding"), "chunked") && len(body) > 0 {
		if _, err := io.Copy(io.Discard, httputil.NewChunkedReader(bytes.NewReader(body))); err != nil {
			fields, changed = withoutField(fields, "transfer-encoding"), true
			fields = withoutField(fields, "content-length") + "\r\nContent-Length: " + strconv.Itoa(len(body))
			r.note("bodies that the file has without their chunks; their length is told instead")
		}
	}
	if !changed {
		return block, nil
	}
	return append([]byte(first+"\r\n"+strings.TrimPrefix(fields, "\r\n")+"\r\n\r\n"), body...), nil
}

func withoutField(fields, name string) string {
	var kept []string
	for line := range strings.SplitSeq(fields, "\r\n") {
		if n, _, _ := strings.Cut(line, ":"); !strings.EqualFold(strings.TrimSpace(n), name) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\r\n")
}
