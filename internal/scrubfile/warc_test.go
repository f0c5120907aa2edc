package scrubfile

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func warcOf(kind, block string) []byte {
	payload := block
	if _, p, ok := strings.Cut(block, "\r\n\r\n"); ok {
		payload = p
	}
	a, b := sha1.Sum([]byte(block)), sha1.Sum([]byte(payload))
	return fmt.Appendf(nil, "WARC/1.1\r\nWARC-Type: %s\r\nWARC-Target-URI: http://shop.example/a\r\nWARC-Date: 2026-01-02T03:04:05Z\r\n"+
		"WARC-Record-ID: <urn:uuid:41111111-1111-4111-8111-111111111111>\r\nContent-Type: application/http; msgtype=%s\r\n"+
		"WARC-Block-Digest: sha1:%s\r\nWARC-Payload-Digest: sha1:%s\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n",
		kind, kind, base32.StdEncoding.EncodeToString(a[:]), base32.StdEncoding.EncodeToString(b[:]), len(block), block)
}

type record struct {
	head  textproto.MIMEHeader
	block []byte
}

// records reads a WARC file with the standard library's reader of headers.
func records(t testing.TB, b []byte) []record {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(b))
	var list []record
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF && line == "" {
			return list
		}
		if line != "WARC/1.1\r\n" {
			t.Fatalf("record %d begins with %q, %v", len(list), line, err)
		}
		head, err := textproto.NewReader(r).ReadMIMEHeader()
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(head.Get("Content-Length"))
		if err != nil {
			t.Fatal(err)
		}
		block := make([]byte, n+4)
		if _, err := io.ReadFull(r, block); err != nil || string(block[n:]) != "\r\n\r\n" {
			t.Fatalf("record %d ends with %q, %v", len(list), block[n:], err)
		}
		list = append(list, record{head, block[:n]})
	}
}

// digests checks those of a record against the bytes that are there.
func (r record) digests(t testing.TB) {
	t.Helper()
	payload := r.block
	if _, p, ok := bytes.Cut(r.block, []byte("\r\n\r\n")); ok {
		payload = p
	}
	for name, b := range map[string][]byte{"WARC-Block-Digest": r.block, "WARC-Payload-Digest": payload} {
		one, two := sha1.Sum(b), sha256.Sum256(b)
		switch d := r.head.Get(name); d {
		case "", "sha1:" + base32.StdEncoding.EncodeToString(one[:]), "sha256:" + hex.EncodeToString(two[:]), "sha256:" + base32.StdEncoding.EncodeToString(two[:]):
		default:
			t.Errorf("%s is %s", name, d)
		}
	}
}

func deflated(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstandard(t testing.TB, b []byte) []byte {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(b, nil)
}

func TestWARCBodies(t *testing.T) {
	body := []byte(`{"password":"hunter2-hunter2","who":"ann@mail.example"}`)
	long := strings.Repeat("x", 100)
	response := func(coding string, b []byte) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: %s\r\nContent-Length: %d\r\nX-Pad: %s\r\n\r\n%s", coding, len(b), long, b)
	}
	chunks := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%x;who=ann@mail.example\r\n%s\r\n%x\r\n%s\r\n0\r\nX-Trailer: ann@mail.example\r\n\r\n", 20, body[:20], len(body)-20, body[20:])
	undo := map[string]func(io.Reader) (io.Reader, error){
		"":        func(r io.Reader) (io.Reader, error) { return r, nil },
		"gzip":    func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"deflate": func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) },
		"zstd":    func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
	}
	for name, test := range map[string]struct{ coding, block string }{
		"plain":   {"", strings.Replace(response("", body), "Content-Encoding: \r\n", "", 1)},
		"gzip":    {"gzip", response("gzip", packed(t, body))},
		"deflate": {"deflate", response("deflate", deflated(t, body))},
		"zstd":    {"zstd", response("zstd", zstandard(t, body))},
		"chunked": {"", chunks},
	} {
		t.Run(name, func(t *testing.T) {
			out := rewrite(t, WARC, warcOf("response", test.block))
			noSecret(t, out)
			list := records(t, out)
			list[0].digests(t)
			resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(list[0].block)), nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := undo[test.coding](resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := io.ReadAll(r)
			if err != nil || !bytes.HasPrefix(plain, []byte(`{"password":"tok_password_`)) || !bytes.HasSuffix(plain, []byte(`"}`)) {
				t.Errorf("the body is %q, %v", plain, err)
			}
		})
	}
	// Two codings, one on the other
	out := rewrite(t, WARC, warcOf("response", response("gzip, deflate", deflated(t, packed(t, body)))))
	_, got, _ := bytes.Cut(records(t, out)[0].block, []byte("\r\n\r\n"))
	z, err := zlib.NewReader(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	inner, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	noSecret(t, unpacked(t, inner))
	// What nobody can look into is no WARC file that can be scrubbed.
	refused(t, WARC, warcOf("response", response("br", []byte("\x1b\x10\x00"))))
	refused(t, WARC, warcOf("response", response("gzip", packed(t, body)[:20])))
}

func TestWARCRequest(t *testing.T) {
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	for _, f := range [][2]string{{"password", "hunter2-hunter2"}, {"note", "I am ann@mail.example"}, {"plain", "stays"}} {
		if err := w.WriteField(f[0], f[1]); err != nil {
			t.Fatal(err)
		}
	}
	file, err := w.CreateFormFile("upload", "of-ann@mail.example.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(file, `card 4111111111111111`); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	block := fmt.Sprintf("POST /buy/ann%%40mail.example?password=hunter2-hunter2&x=1 HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Basic YW5uOmh1bnRlcjItaHVudGVyMg==\r\n"+
		"Cookie: a=1;session=hunter2-hunter2; b=2\r\nReferer: http://shop.example/#access_token=hunter2-hunter2\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		w.FormDataContentType(), form.Len(), form.String())
	out := rewrite(t, WARC, warcOf("request", block))
	noSecret(t, out)
	if bytes.Contains(out, []byte("YW5uOmh1bnRlcjItaHVudGVyMg")) {
		t.Error("the password is left in base64")
	}
	list := records(t, out)
	list[0].digests(t)
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(list[0].block)))
	if err != nil {
		t.Fatal(err)
	}
	if err := req.ParseMultipartForm(1 << 20); err != nil {
		t.Fatal(err)
	}
	if v := req.FormValue("plain"); v != "stays" {
		t.Errorf("plain is %q", v)
	}
	if v := req.PostFormValue("password"); !strings.HasPrefix(v, "tok_password_") {
		t.Errorf("password is %q", v)
	}
	if v := req.PostFormValue("note"); !strings.HasPrefix(v, "I am tok_email_") {
		t.Errorf("note is %q", v)
	}
	if c, err := req.Cookie("b"); err != nil || c.Value != "2" {
		t.Errorf("cookie b: %v, %v", c, err)
	}
}

func TestSetCookie(t *testing.T) {
	out := rewrite(t, WARC, warcOf("response", "HTTP/1.1 200 OK\r\nSet-Cookie: session_id=hunter2-hunter2; Path=/; Comment=ann@mail.example\r\n\r\n"))
	noSecret(t, out)
	if !bytes.Contains(out, []byte("; Path=/; Comment=tok_email_")) {
		t.Errorf("%q", out)
	}
}

// Each record of a compressed file is a member of its own.
func TestWARCMembers(t *testing.T) {
	one := warcOf("response", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nann@mail.example")
	two := bytes.ReplaceAll(one, []byte("sha1:"), []byte("md5:"))
	out := rewrite(t, WARC+compressed, append(packed(t, one), packed(t, two)...))
	r := bufio.NewReader(bytes.NewReader(out))
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; ; n++ {
		z.Multistream(false)
		plain, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		noSecret(t, plain)
		list := records(t, plain)
		if len(list) != 1 {
			t.Errorf("member %d has %d records", n, len(list))
		}
		list[0].digests(t) // none of an algorithm that isn't known
		if err := z.Reset(r); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n != 1 {
		t.Errorf("%d members", n+1)
	}
}

// A revisit names the digest of an earlier payload, which has another one now.
func TestWARCRevisit(t *testing.T) {
	first := warcOf("response", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nann@mail.example")
	head := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
	old := records(t, first)[0].head.Get("WARC-Payload-Digest")
	revisit := fmt.Appendf(nil, "WARC/1.1\r\nWARC-Type: revisit\r\nContent-Type: application/http\r\nWARC-Payload-Digest: %s\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n", old, len(head), head)
	list := records(t, rewrite(t, WARC, append(first, revisit...)))
	if got, want := list[1].head.Get("WARC-Payload-Digest"), list[0].head.Get("WARC-Payload-Digest"); got != want || got == old {
		t.Errorf("the digest is %q, want %q", got, want)
	}
	if d := records(t, rewrite(t, WARC, revisit))[0].head.Get("WARC-Payload-Digest"); d != "" {
		t.Errorf("a digest of what isn't there: %s", d)
	}
}

func TestWARCDigestHex(t *testing.T) {
	block := "HTTP/1.1 200 OK\r\n\r\nann@mail.example"
	sum := sha256.Sum256([]byte(block))
	in := fmt.Appendf(nil, "WARC/1.1\r\nWARC-Type: response\r\nContent-Type: application/http\r\nWARC-Block-Digest: sha256:%x\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n", sum, len(block), block)
	list := records(t, rewrite(t, WARC, in))
	list[0].digests(t)
	if d := list[0].head.Get("WARC-Block-Digest"); len(d) != len("sha256:")+64 {
		t.Errorf("the digest is %q", d)
	}
}

func TestHostileWARC(t *testing.T) {
	whole := warcOf("response", "HTTP/1.1 200 OK\r\n\r\nann@mail.example")
	refused(t, WARC, whole[:len(whole)-20])
	refused(t, WARC, whole[:100])
	for name, text := range map[string]string{
		"a giant":           "WARC/1.1\r\nContent-Length: 9223372036854775807\r\n\r\nx",
		"a large promise":   "WARC/1.1\r\nContent-Length: 1073741824\r\n\r\nx",
		"less than none":    "WARC/1.1\r\nContent-Length: -1\r\n\r\nx",
		"no length":         "WARC/1.1\r\nX: ann@mail.example\r\n\r\nx",
		"no number":         "WARC/1.1\r\nContent-Length: ann@mail.example\r\n\r\nx",
		"no colon":          "WARC/1.1\r\nann@mail.example\r\n\r\n",
		"a header for ever": "WARC/1.1\r\n" + strings.Repeat("X", 3<<20),
		"fields for ever":   "WARC/1.1\r\n" + strings.Repeat("X: y\r\n", 1<<20),
		"a part":            "WARC/1.1\r\nWARC-Type: continuation\r\nContent-Length: 1\r\n\r\nx\r\n\r\n",
		"the first part":    "WARC/1.1\r\nWARC-Type: response\r\nWARC-Segment-Number: 1\r\nContent-Length: 1\r\n\r\nx\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) { refused(t, WARC, []byte(text)) })
	}
}
