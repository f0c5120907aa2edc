package cassette

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"iter"
	"net/http/httputil"
	"strconv"
	"strings"
)

// Bytes is a body in memory.
type Bytes []byte

// Open returns a reader of it.
func (b Bytes) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }

// Size is its length.
func (b Bytes) Size() int64 { return int64(len(b)) }

// Digest is its SHA-256.
func (b Bytes) Digest() string {
	s := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(s[:])
}

// StartLine is the first line of the head.
func (m *Message) StartLine() string {
	line, _, _ := bytes.Cut(m.Head, []byte("\r\n"))
	return string(line)
}

// Fields are the fields of the head, in their order.
func (m *Message) Fields() iter.Seq2[string, string] { return Fields(m.Head) }

// Fields are the fields of a head.
func Fields(head []byte) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		_, rest, _ := strings.Cut(string(head), "\n")
		for line := range strings.SplitSeq(rest, "\n") {
			name, value, ok := strings.Cut(strings.TrimSuffix(line, "\r"), ":")
			if ok && !yield(name, strings.TrimSpace(value)) {
				return
			}
		}
	}
}

// Get returns the first field of that name, or "".
func (m *Message) Get(name string) string {
	for n, v := range m.Fields() {
		if strings.EqualFold(n, name) {
			return v
		}
	}
	return ""
}

// Status is an answer's status, or 0.
func (m *Message) Status() int {
	_, rest, _ := strings.Cut(m.StartLine(), " ")
	code, _, _ := strings.Cut(rest, " ")
	n, _ := strconv.Atoi(code)
	return n
}

// Method is that of a request.
func (m *Message) Method() string {
	method, _, _ := strings.Cut(m.StartLine(), " ")
	return method
}

// Target is what a request asks for, as it stands in its first line.
func (m *Message) Target() string {
	_, rest, _ := strings.Cut(m.StartLine(), " ")
	target, _, _ := strings.Cut(rest, " ")
	return target
}

// Decoded is the body without its transfer coding.
func (m *Message) Decoded() (io.ReadCloser, error) {
	r, err := m.Body.Open()
	if err != nil || !strings.EqualFold(m.Get("Transfer-Encoding"), "chunked") {
		return r, err
	}
	return &struct {
		io.Reader
		io.Closer
	}{httputil.NewChunkedReader(r), r}, nil
}

// URL is what the request was for.
func (x *Exchange) URL() string {
	target := x.Request.Target()
	if strings.Contains(target, "://") {
		return target
	}
	return x.Scheme + "://" + x.Authority + target
}
