package scrubfile

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

// httpMessage scrubs an HTTP/1 message as it stood on the wire: the path and
// the query, header by header, the body by its media type. What has to agree
// with the body, its length and its chunks, is made anew.
func httpMessage(s *scrub.Scrubber, msg []byte) []byte {
	head, body, ok := bytes.Cut(msg, []byte("\r\n\r\n"))
	if !ok {
		return s.Text(msg).Bytes() // no message, or one that was cut in its head
	}
	lines := strings.Split(string(head), "\r\n")
	media, coding, chunked := "", "", false
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ":")
		switch value = strings.TrimSpace(value); strings.ToLower(name) {
		case "content-type":
			media = value
		case "content-encoding":
			coding = strings.ToLower(value)
		case "transfer-encoding":
			chunked = strings.EqualFold(value, "chunked")
		}
	}
	if chunked {
		if plain, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(body))); err == nil {
			body = plain
		} else {
			chunked = false
		}
	}
	clean := httpBody(s, media, coding, body)
	var out bytes.Buffer
	out.WriteString(startLine(s, lines[0]))
	for _, l := range lines[1:] {
		out.WriteString("\r\n")
		name, value, ok := strings.Cut(l, ":")
		switch {
		case !ok:
			out.Write(s.Text([]byte(l)).Bytes())
		case strings.EqualFold(name, "content-length"):
			if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && n == len(body) {
				value = " " + strconv.Itoa(len(clean))
			}
			out.WriteString(name + ":" + value)
		default:
			lead := value[:len(value)-len(strings.TrimLeft(value, " \t"))]
			out.WriteString(name + ":" + lead + header(s, name, value[len(lead):]))
		}
	}
	out.WriteString("\r\n\r\n")
	if chunked {
		if len(clean) > 0 {
			fmt.Fprintf(&out, "%x\r\n%s\r\n", len(clean), clean)
		}
		out.WriteString("0\r\n\r\n")
	} else {
		out.Write(clean)
	}
	return out.Bytes()
}

func startLine(s *scrub.Scrubber, line string) string {
	method, rest, ok := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 || !strings.HasPrefix(version, "HTTP/") {
		return string(s.Text([]byte(line)).Bytes())
	}
	return method + " " + requestTarget(s, target) + " " + version
}

// requestTarget scrubs a request's target or a whole URL: its parameters by name, the
// rest as text.
func requestTarget(s *scrub.Scrubber, target string) string {
	path, query, ok := strings.Cut(target, "?")
	path = string(s.Text([]byte(path)).Bytes())
	if !ok {
		return path
	}
	query, fragment, ok := strings.Cut(query, "#")
	path += "?" + pairs(s, scrub.Query, query)
	if ok {
		path += "#" + string(s.Text([]byte(fragment)).Bytes())
	}
	return path
}

// pairs scrubs a=b&c=d, and leaves the spelling of what stays as it was.
func pairs(s *scrub.Scrubber, kind scrub.Kind, text string) string {
	parts := strings.Split(text, "&")
	for i, p := range parts {
		name, value, ok := strings.Cut(p, "=")
		plainName, err1 := url.QueryUnescape(name)
		plain, err2 := url.QueryUnescape(value)
		if !ok || err1 != nil || err2 != nil {
			parts[i] = string(s.Text([]byte(p)).Bytes())
			continue
		}
		if clean := s.Field(kind, plainName, plain); clean != plain {
			parts[i] = name + "=" + url.QueryEscape(clean)
		}
	}
	return strings.Join(parts, "&")
}

func header(s *scrub.Scrubber, name, value string) string {
	switch strings.ToLower(name) {
	case "cookie":
		cookies := strings.Split(value, "; ")
		for i, c := range cookies {
			if k, v, ok := strings.Cut(c, "="); ok {
				cookies[i] = k + "=" + s.Field(scrub.Cookie, k, v)
			}
		}
		return s.Field(scrub.Attr, "cookie", strings.Join(cookies, "; "))
	case "set-cookie":
		c, rest, _ := strings.Cut(value, ";")
		k, v, ok := strings.Cut(c, "=")
		if !ok {
			break
		}
		if rest != "" {
			rest = ";" + rest
		}
		return k + "=" + s.Field(scrub.Cookie, k, v) + rest
	case "location", "referer", "origin", "content-location":
		return requestTarget(s, value)
	}
	return s.Field(scrub.Header, name, value)
}

const maxBody = 256 << 20 // bytes that a compressed body may unpack to

// httpBody scrubs a body by its media type.
func httpBody(s *scrub.Scrubber, media, coding string, body []byte) []byte {
	if coding == "gzip" || coding == "x-gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err == nil {
			if plain, err := io.ReadAll(io.LimitReader(z, maxBody)); err == nil && len(plain) < maxBody {
				return repack(httpBody(s, media, "", plain))
			}
		}
		return s.Text(body).Bytes()
	}
	base, _, _ := strings.Cut(media, ";")
	if base == "" && len(body) > 0 {
		base, _, _ = strings.Cut(http.DetectContentType(body), ";")
	}
	switch base = strings.ToLower(strings.TrimSpace(base)); {
	case base == "application/json", strings.HasSuffix(base, "+json"):
		return s.JSON(body).Bytes()
	case base == "application/x-www-form-urlencoded":
		return []byte(pairs(s, scrub.Form, string(body)))
	}
	return s.Text(body).Bytes()
}

// repack compresses again. The bytes differ from what another encoder made,
// which is why the length is counted afterwards.
func repack(plain []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(plain) // into memory: it can't fail
	_ = z.Close()
	return b.Bytes()
}
