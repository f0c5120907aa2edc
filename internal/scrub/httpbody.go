package scrub

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"mime"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck-dev/tapedeck/internal/coding"
)

const maxBody = 256 << 20 // bytes that a compressed body may unpack to

// httpBody scrubs a body by its media type. A body that is compressed in a way
// that can't be undone here is an error: nobody knows what is in it.
func httpBody(s *Scrubber, media, codings string, body []byte) ([]byte, error) {
	rest, last := "", strings.ToLower(strings.TrimSpace(codings))
	if i := strings.LastIndexByte(codings, ','); i >= 0 { // the last one was applied last
		rest, last = codings[:i], strings.ToLower(strings.TrimSpace(codings[i+1:]))
	}
	if last == "identity" {
		last = ""
	}
	if last == "" || len(body) == 0 {
		if rest != "" {
			return httpBody(s, media, rest, body)
		}
		return plainBody(s, media, body)
	}
	plain, err := coding.Unpack(last, body, maxBody)
	if err != nil {
		return nil, err
	}
	clean, err := httpBody(s, media, rest, plain)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(clean, plain) && !(last == "gzip" && namedMember(body)) {
		return body, nil
	}
	return packBody(last, clean), nil
}

// packBody compresses again. The bytes differ from what another encoder made,
// which is why the length is counted afterwards.
func packBody(coding string, plain []byte) []byte {
	var b bytes.Buffer
	switch coding { // into memory: it can't fail
	case "deflate":
		z := zlib.NewWriter(&b)
		_, _ = z.Write(plain)
		_ = z.Close()
	case "zstd":
		z, _ := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
		_, _ = z.Write(plain)
		_ = z.Close()
	default:
		return repackHTTP(plain)
	}
	return b.Bytes()
}

// namedMember tells whether a gzip header has room for text, which is the name and
// the comment of a file. Only the first member is looked at.
func namedMember(body []byte) bool {
	const extra, name, comment = 4, 8, 16
	return len(body) > 3 && body[3]&(extra|name|comment) != 0 || bytes.Count(body, []byte{0x1f, 0x8b, 8}) > 1
}

func plainBody(s *Scrubber, media string, body []byte) ([]byte, error) {
	if len(body) == 0 {
		return body, nil
	}
	base, _, _ := strings.Cut(media, ";")
	if base == "" {
		base, _, _ = strings.Cut(http.DetectContentType(body), ";")
	}
	switch base = strings.ToLower(strings.TrimSpace(base)); {
	case base == "application/json", strings.HasSuffix(base, "+json"), base == "text/plain" && mayBeJSON(body):
		return s.JSON(body).Bytes(), nil
	case base == "application/grpc", strings.HasPrefix(base, "application/grpc+proto"):
		return grpcBody(s, body)
	case base == "application/x-www-form-urlencoded":
		return []byte(pairs(s, Form, string(body))), nil
	case base == "multipart/form-data":
		_, params, err := mime.ParseMediaType(media)
		if err == nil && params["boundary"] != "" {
			return multipartBody(s, params["boundary"], body)
		}
	}
	return s.Text(body).Bytes(), nil
}

func mayBeJSON(body []byte) bool {
	t := bytes.TrimLeft(body, " \t\r\n")
	return len(t) > 0 && (t[0] == '{' || t[0] == '[')
}

// multipartBody scrubs the parts of a form: the value of a field by the name of
// the field, a file by its media type. What is between the parts stays.
func multipartBody(s *Scrubber, boundary string, body []byte) ([]byte, error) {
	mark := []byte("--" + boundary)
	parts := bytes.Split(body, mark)
	if len(parts) < 2 {
		return s.Text(body).Bytes(), nil
	}
	for i, p := range parts {
		head, value, ok := bytes.Cut(p, []byte("\r\n\r\n"))
		if i == 0 || !ok || !bytes.HasPrefix(p, []byte("\r\n")) {
			parts[i] = s.Text(p).Bytes() // what precedes the first part, or follows the last
			continue
		}
		value, end := bytes.CutSuffix(value, []byte("\r\n"))
		clean, err := formPart(s, head, value)
		if err != nil {
			return nil, err
		}
		if end {
			clean = append(clean, "\r\n"...)
		}
		parts[i] = clean
	}
	return bytes.Join(parts, mark), nil
}

func formPart(s *Scrubber, head, value []byte) ([]byte, error) {
	field, media, isFile := "", "", false
	lines := strings.Split(string(head), "\r\n")
	for i, l := range lines {
		name, v, _ := strings.Cut(l, ":")
		switch strings.ToLower(name) {
		case "content-disposition":
			if _, params, err := mime.ParseMediaType(v); err == nil {
				field = params["name"]
				_, isFile = params["filename"]
			}
		case "content-type":
			media = strings.TrimSpace(v)
		}
		lines[i] = plainText(s, l)
	}
	out := []byte(strings.Join(lines, "\r\n") + "\r\n\r\n")
	if text := string(value); field != "" && !isFile {
		if clean := s.Field(Form, field, text); clean != text {
			return append(out, clean...), nil
		}
	}
	clean, err := plainBody(s, media, value)
	return append(out, clean...), err
}

func repackHTTP(plain []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(plain) // into memory: it can't fail
	_ = z.Close()
	return b.Bytes()
}
