// Package match finds the recorded exchange that a request at replay is. It is
// strict: what does not match is a [Miss], which says what comes nearest and in
// what it differs, and nothing is answered by a guess.
package match

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
)

// Request is a request as it is compared: all that counts, in one form.
type Request struct {
	Method    string
	Scheme    string
	Authority string
	Path      string
	Query     []string // sorted
	Fields    []string // of the header, those that count, sorted
	Body      string   // in one form, or the digest of a large one
}

// Compares tells whether a field of a header is part of what is asked; its name is
// in lower case. The others say who asks, when, and by what program.
func Compares(name string) bool {
	switch name {
	case "content-type", "range", "soapaction", "x-http-method-override", "x-amz-target", "if-none-match", "if-match", "grpc-encoding":
		return true
	}
	return false
}

const maxBody = 8 << 20 // bytes of a body that are compared field by field

// line takes what the first line of a request tells, and its query as it stands.
func line(scheme, authority string, m *cassette.Message) (r Request, query string) {
	r = Request{Method: m.Method(), Scheme: scheme, Authority: host(scheme, authority)}
	target := m.Target()
	if !strings.HasPrefix(target, "/") {
		if u, err := url.Parse(target); err == nil && u.Host != "" { // the form that proxies get
			target = u.RequestURI()
		}
	}
	path, query, _ := strings.Cut(target, "?")
	r.Path = tokens(path)
	return r, query
}

// Of takes from a request what counts.
func Of(scheme, authority string, m *cassette.Message) (Request, error) {
	r, query := line(scheme, authority, m)
	if query != "" {
		for _, p := range strings.Split(query, "&") {
			r.Query = append(r.Query, tokens(p))
		}
		slices.Sort(r.Query)
	}
	media := ""
	for name, value := range m.Fields() {
		name = strings.ToLower(name)
		if !Compares(name) {
			continue
		}
		if name == "content-type" {
			media = value
			value, _, _ = strings.Cut(value, ";") // a boundary differs each time
		}
		r.Fields = append(r.Fields, name+": "+tokens(strings.TrimSpace(value)))
	}
	slices.Sort(r.Fields)
	body, err := m.Decoded()
	if err != nil {
		return r, err
	}
	defer body.Close()
	if m.Body.Size() > maxBody {
		h := sha256.New()
		if _, err := io.Copy(h, body); err != nil {
			return r, err
		}
		r.Body = fmt.Sprintf("sha256:%x", h.Sum(nil))
		return r, nil
	}
	b, err := io.ReadAll(body)
	if err != nil {
		b = append(b, "\n(cut)"...) // a body that ends early is another one
	}
	r.Body = canonical(media, b)
	return r, nil
}

func host(scheme, authority string) string {
	a := strings.ToLower(authority)
	if scheme == "http" {
		a = strings.TrimSuffix(a, ":80")
	} else {
		a = strings.TrimSuffix(a, ":443")
	}
	return tokens(a)
}

// secret are tokens of values that another run has others of: an API key, a
// password. They are compared by their class.
var secret = regexp.MustCompile(`tok_(api_key|bearer|basic|password|secret|jwt|private_key)_[0-9a-f]+`)

func tokens(s string) string {
	if !strings.Contains(s, "tok_") {
		return s
	}
	return secret.ReplaceAllString(s, "tok_$1")
}

// canonical is a body in one form: of JSON the keys sorted, of a form the fields.
func canonical(media string, b []byte) string {
	base, params, _ := mime.ParseMediaType(media)
	switch {
	case base == "application/json", strings.HasSuffix(base, "+json"):
		if text, ok := canonicalJSON(b); ok {
			return tokens(text)
		}
	case base == "application/x-www-form-urlencoded":
		pairs := strings.Split(string(b), "&")
		slices.Sort(pairs)
		return tokens(strings.Join(pairs, "&"))
	case strings.HasPrefix(base, "multipart/") && params["boundary"] != "":
		return tokens(strings.ReplaceAll(string(b), params["boundary"], "boundary"))
	}
	return tokens(string(b))
}

func canonicalJSON(b []byte) (string, bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // 1.0 stays 1.0
	var v any
	if err := d.Decode(&v); err != nil {
		return "", false
	}
	if _, err := d.Token(); err != io.EOF {
		return "", false
	}
	out, err := json.Marshal(v)
	return string(out), err == nil
}

// rule is what a request and a stub that leaves the fields open have in common.
// The stub does not tell what kind of body it has, so the body alone decides.
func (r Request) rule() key {
	r.Fields = nil
	if text, ok := canonicalJSON([]byte(r.Body)); ok {
		r.Body = text
	} else {
		pairs := strings.Split(r.Body, "&")
		slices.Sort(pairs)
		r.Body = strings.Join(pairs, "&")
	}
	k := r.key()
	return key{k[0] ^ 1, k[1]} // no request has it
}

// key is what equal requests have in common: of a SHA-256, as much as no two
// requests will share by chance or by design.
type key [2]uint64

func (r Request) key() key {
	b := make([]byte, 0, 512)
	add := func(list ...string) {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, s := range list {
			b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
		}
	}
	add(r.Method, r.Scheme, r.Authority, r.Path, r.Body)
	add(r.Query...)
	add(r.Fields...)
	h := sha256.Sum256(b)
	return key{binary.LittleEndian.Uint64(h[:]), binary.LittleEndian.Uint64(h[8:])}
}
