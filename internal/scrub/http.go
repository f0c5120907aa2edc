package scrub

import (
	"bytes"
	"fmt"
	"io"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
)

// HTTPMessage scrubs an HTTP/1 message as it stood on the wire. An error means
// that its body can't be read, and so can't be scrubbed.
func (s *Scrubber) HTTPMessage(msg []byte) (Clean, error) {
	b, err := httpMessage(s, msg)
	return Clean{b}, err
}

// HTTPBody scrubs a body, without transfer coding, by its media type and its
// content coding.
func (s *Scrubber) HTTPBody(media, coding string, body []byte) (Clean, error) {
	b, err := httpBody(s, media, coding, body)
	return Clean{b}, err
}

// HTTPTarget scrubs a request's target or a URL.
func (s *Scrubber) HTTPTarget(target string) string { return requestTarget(s, target) }

// HTTPField scrubs the value of a header's field.
func (s *Scrubber) HTTPField(name, value string) string { return header(s, name, value) }

func plainText(s *Scrubber, text string) string { return string(s.text([]byte(text), 0)) }

// httpMessage scrubs an HTTP/1 message as it stood on the wire: the path and
// the query, header by header, the body by its media type. What has to agree
// with the body, its length and its chunks, is made anew if the body changes.
func httpMessage(s *Scrubber, msg []byte) ([]byte, error) {
	head, wire, ok := bytes.Cut(msg, []byte("\r\n\r\n"))
	if !ok {
		return s.Text(msg).Bytes(), nil // no message, or one that was cut in its head
	}
	lines := strings.Split(string(head), "\r\n")
	media, coding, chunked := "", "", false
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ":")
		switch value = strings.TrimSpace(value); strings.ToLower(name) {
		case "content-type":
			media = value
		case "content-encoding":
			coding = value
		case "transfer-encoding":
			chunked = strings.EqualFold(value, "chunked")
		}
	}
	body := wire
	if chunked {
		// Many recorders write the body unchunked and leave the header.
		plain, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(wire)))
		if chunked = err == nil; chunked {
			body = plain
		}
	}
	clean, err := httpBody(s, media, coding, body)
	if err != nil {
		return nil, err
	}
	switch {
	case !chunked:
		wire = clean
	case !bytes.Equal(clean, body) || !bytes.Equal(s.Text(wire).Bytes(), wire): // trailers and extensions are text too
		wire = oneChunk(clean)
	}
	var out bytes.Buffer
	out.WriteString(startLine(s, lines[0]))
	for _, l := range lines[1:] {
		out.WriteString("\r\n")
		name, value, ok := strings.Cut(l, ":")
		lead := value[:len(value)-len(strings.TrimLeft(value, " \t"))]
		n, err := strconv.Atoi(strings.TrimSpace(value))
		switch {
		case !ok:
			out.Write(s.Text([]byte(l)).Bytes())
		case strings.EqualFold(name, "content-length") && err == nil:
			if n == len(body) { // else it was of more, or of other bytes
				value = lead + strconv.Itoa(len(clean))
			}
			out.WriteString(name + ":" + value)
		default:
			out.WriteString(name + ":" + lead + header(s, name, value[len(lead):]))
		}
	}
	out.WriteString("\r\n\r\n")
	out.Write(wire)
	return out.Bytes(), nil
}

func oneChunk(body []byte) []byte {
	if len(body) == 0 {
		return []byte("0\r\n\r\n")
	}
	return fmt.Appendf(nil, "%x\r\n%s\r\n0\r\n\r\n", len(body), body)
}

func startLine(s *Scrubber, line string) string {
	method, rest, ok := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 || !strings.HasPrefix(version, "HTTP/") {
		return plainText(s, line)
	}
	return plainText(s, method) + " " + requestTarget(s, target) + " " + plainText(s, version)
}

// requestTarget scrubs a request's target or a whole URL: its parameters by name,
// in the fragment too, the rest as text.
func requestTarget(s *Scrubber, target string) string {
	target, fragment, ok := strings.Cut(target, "#")
	path, query, ok2 := strings.Cut(target, "?")
	path = plainText(s, path)
	if ok2 {
		path += "?" + pairs(s, Query, query)
	}
	if ok {
		path += "#" + pairs(s, Query, fragment)
	}
	return path
}

// pairs scrubs a=b&c=d, and leaves the spelling of what stays as it was.
func pairs(s *Scrubber, kind Kind, text string) string {
	parts := strings.Split(text, "&")
	for i, p := range parts {
		name, value, ok := strings.Cut(p, "=")
		plainName, err1 := url.QueryUnescape(name)
		plain, err2 := url.QueryUnescape(value)
		if !ok || err1 != nil || err2 != nil {
			parts[i] = plainText(s, p)
			continue
		}
		if clean := plainText(s, plainName); clean != plainName {
			name = url.QueryEscape(clean)
		}
		if clean := s.Field(kind, plainName, plain); clean != plain {
			value = url.QueryEscape(clean)
		}
		parts[i] = name + "=" + value
	}
	return strings.Join(parts, "&")
}

func header(s *Scrubber, name, value string) string {
	switch strings.ToLower(name) {
	case "cookie":
		cookies := strings.Split(value, ";")
		for i, c := range cookies {
			if k, v, ok := strings.Cut(c, "="); ok {
				cookies[i] = plainText(s, k) + "=" + s.Field(Cookie, strings.TrimSpace(k), v)
			}
		}
		return s.Field(Attr, "cookie", strings.Join(cookies, ";"))
	case "set-cookie":
		c, rest, more := strings.Cut(value, ";")
		k, v, ok := strings.Cut(c, "=")
		if !ok {
			break
		}
		if more {
			rest = ";" + plainText(s, rest)
		}
		return plainText(s, k) + "=" + s.Field(Cookie, strings.TrimSpace(k), v) + rest
	case "location", "referer", "origin", "content-location":
		return requestTarget(s, value)
	}
	return s.Field(Header, name, value)
}
