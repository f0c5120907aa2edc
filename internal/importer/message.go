package importer

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
)

// wire is a message as it could have been on the wire.
type wire struct {
	head, body []byte
	pieces     []Chunk // over the body as it is here, framing included
}

// What is done to messages, for the notes.
const (
	noteDecoded = "bodies without their content coding, as the file has them; Content-Encoding is left out"
	noteHTTP2   = "messages of HTTP/2 or 3, written as HTTP/1.1"
	noteLength  = "messages whose Content-Length was made anew, or added"
	noteChunked = "bodies whose chunks were made anew"
)

// build writes a message down. note is told of what had to be changed.
func build(x *Exchange, m *Message, note func(string)) (wire, error) {
	if m.Raw != nil {
		return split(m)
	}
	var head bytes.Buffer
	answer := m != &x.Request
	if answer {
		if m.Status < 100 || m.Status > 999 {
			return wire{}, errors.New("its status is none")
		}
		if m.Status == http.StatusSwitchingProtocols {
			return wire{}, errors.New("it is an upgrade to another protocol")
		}
		reason := m.Reason
		if reason == "" || bad(reason) {
			reason = http.StatusText(m.Status)
		}
		fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\n", m.Status, reason)
	} else {
		fmt.Fprintf(&head, "%s %s HTTP/1.1\r\n", x.Method, x.Target)
	}
	none := answer && (x.Method == "HEAD" || m.Status < 200 || m.Status == 204 || m.Status == 304)
	if none && len(m.Body) > 0 {
		return wire{}, errors.New("it has a body, and must have none")
	}
	w := wire{body: m.Body}
	seen := map[string]bool{}
	for _, f := range m.Fields {
		if strings.HasPrefix(f.Name, ":") { // of HTTP/2
			continue
		}
		if !token(f.Name) || bad(f.Value) {
			return wire{}, errors.New("a field of its header can't stand in a message")
		}
		name, value := strings.ToLower(f.Name), f.Value
		switch {
		case name == "content-length" && !none:
			if seen[name] {
				continue
			}
			if seen["transfer-encoding"] {
				continue
			}
			if n := strconv.Itoa(len(m.Body)); value != n && m.Cut == "" {
				value = n
				note(noteLength)
			}
		case name == "transfer-encoding" && !none:
			if seen[name] || seen["content-length"] {
				continue
			}
			value = "chunked"
			note(noteChunked)
			w = chunked(m)
		case name == "content-encoding" && decoded(value, m.Body):
			if len(m.Body) > 0 || !none {
				note(noteDecoded)
				continue
			}
		}
		seen[name] = true
		head.WriteString(f.Name + ": " + value + "\r\n")
	}
	if !answer && !seen["host"] {
		head.WriteString("Host: " + x.Authority + "\r\n")
	}
	if !none && m.Cut == "" && !seen["content-length"] && !seen["transfer-encoding"] && (answer || len(m.Body) > 0) {
		fmt.Fprintf(&head, "Content-Length: %d\r\n", len(m.Body))
		note(noteLength)
	}
	head.WriteString("\r\n")
	w.head = head.Bytes()
	if w.pieces == nil && !seen["transfer-encoding"] {
		w.pieces = m.Chunks
	}
	return w, nil
}

// split takes a message as on the wire apart.
func split(m *Message) (wire, error) {
	end := bytes.Index(m.Raw, []byte("\r\n\r\n"))
	if end < 0 {
		return wire{}, errors.New("it has no end of its header")
	}
	return wire{head: m.Raw[:end+4], body: m.Raw[end+4:]}, nil
}

// chunked makes a chunk of each part of the body that came at one time.
func chunked(m *Message) wire {
	var w wire
	at := int64(0)
	add := func(part []byte) (int64, int64) {
		off := int64(len(w.body))
		if len(part) > 0 {
			w.body = fmt.Appendf(w.body, "%x\r\n%s\r\n", len(part), part)
		}
		return off, int64(len(w.body)) - off
	}
	for _, c := range m.Chunks {
		if c.Off != at || c.Len < 0 || c.Len > int64(len(m.Body))-at {
			w.body, w.pieces, at = nil, nil, 0
			break
		}
		off, n := add(m.Body[at : at+c.Len])
		w.pieces = append(w.pieces, Chunk{off, n, c.At})
		at += c.Len
	}
	add(m.Body[at:])
	if m.Cut != "" { // nothing told its end
		return w
	}
	w.body = append(w.body, "0\r\n"...)
	for _, f := range m.Trailers {
		if token(f.Name) && !bad(f.Value) {
			w.body = append(w.body, f.Name+": "+f.Value+"\r\n"...)
		}
	}
	w.body = append(w.body, "\r\n"...)
	if n := len(w.pieces); n > 0 { // the last chunk and the trailers came with the last part
		w.pieces[n-1].Len = int64(len(w.body)) - w.pieces[n-1].Off
	}
	return w
}

// decoded tells whether a body is without the coding that its header names.
// Codings begin with a mark; brotli has none, but is hardly ever text.
func decoded(coding string, body []byte) bool {
	starts := func(mark string) bool { return strings.HasPrefix(string(body[:min(len(body), 4)]), mark) }
	switch strings.ToLower(strings.TrimSpace(coding)) {
	case "", "identity":
		return false
	case "gzip", "x-gzip":
		return !starts("\x1f\x8b")
	case "zstd":
		return !starts("\x28\xb5\x2f\xfd")
	case "deflate":
		return !(len(body) > 1 && body[0]&0x0f == 8 && (int(body[0])<<8|int(body[1]))%31 == 0)
	case "br":
		return utf8.Valid(body)
	}
	return false
}

func token(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c) })
}

func bad(value string) bool { return strings.ContainsAny(value, "\r\n\x00") }

// lengthOf is what Content-Length says, or -1.
func lengthOf(fields []Field) int64 {
	for _, f := range fields {
		if strings.EqualFold(f.Name, "content-length") {
			if n, err := strconv.ParseInt(f.Value, 10, 64); err == nil {
				return n
			}
		}
	}
	return -1
}

// hostOf is what the request's Host says.
func hostOf(fields []Field) string {
	for _, f := range fields {
		if strings.EqualFold(f.Name, "host") {
			return f.Value
		}
	}
	return ""
}

// message is what the cassette gets: scrubbed, and its pieces if they still fit.
func (w wire) message(clean []byte, cut string) *cassette.Message {
	n := bytes.Index(clean, []byte("\r\n\r\n")) + 4
	m := &cassette.Message{Head: clean[:n], Body: cassette.Bytes(clean[n:]), Truncated: cut}
	m.Rewritten = !bytes.Equal(w.head, m.Head) || !bytes.Equal(w.body, clean[n:])
	return m
}
