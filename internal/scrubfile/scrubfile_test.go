package scrubfile

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

// secrets are what the tests put into files. None may be left.
var secrets = []string{"ann@mail.example", "4111111111111111", "hunter2-hunter2", "GB33BUKB20201555555555"}

func scrubber(t testing.TB) *scrub.Scrubber {
	t.Helper()
	rules, err := scrub.Builtin("secrets", "pci", "gdpr_default")
	if err != nil {
		t.Fatal(err)
	}
	salt, err := scrub.NewSalt("local:test", []byte("a salt of tests, of 32 bytes 0123"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := scrub.New(rules, salt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func rewrite(t testing.TB, form Form, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Rewrite(t.Context(), scrubber(t), form, &out, bytes.NewReader(b)); err != nil {
		t.Fatalf("%s: %v", form, err)
	}
	return out.Bytes()
}

// refused wants an error, in which nothing private is quoted.
func refused(t testing.TB, form Form, b []byte) {
	t.Helper()
	var out bytes.Buffer
	err := Rewrite(t.Context(), scrubber(t), form, &out, bytes.NewReader(b))
	if err == nil {
		t.Fatalf("%s: no error", form)
	}
	noSecret(t, []byte(err.Error()))
}

func noSecret(t testing.TB, b []byte) {
	t.Helper()
	for _, s := range secrets {
		if bytes.Contains(b, []byte(s)) {
			t.Errorf("%q is left in %.2000q", s, b)
		}
	}
}

func packed(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func unpacked(t testing.TB, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// A file without private data comes out as it went in.
func TestNothingToScrub(t *testing.T) {
	for form, text := range map[Form]string{
		Text:  "GET /a 200\r\n\n\ttabs \x01 and \xff bytes\nno end of line",
		JSON:  "{ \"b\" : 1.50e3,\n\t\"a\":[ ] , \"\\u0061\\/\": \"\\ud83d\\ude00\", \"a\": null}\n\n",
		Lines: "{\"a\": 1 }\r\n\n  [1,2]\n{broken\n\n{\"b\":2}",
		HAR:   "{ \"log\": {\"entries\": [ {\"request\": {\"url\": \"http://shop.example/a?b=%63&d\", \"headers\": [{\"name\":\"X\", \"value\":\"1\"}]},\n \"time\": 1.0} ] } }\n",
		WARC:  string(warcOf("response", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nplain")),
	} {
		t.Run(string(form), func(t *testing.T) {
			if out := rewrite(t, form, []byte(text)); string(out) != text {
				t.Errorf("found\n%q, want\n%q", out, text)
			}
			out := rewrite(t, form+compressed, packed(t, []byte(text)))
			if plain := unpacked(t, out); string(plain) != text {
				t.Errorf("packed: found\n%q, want\n%q", plain, text)
			}
		})
	}
}

func TestLines(t *testing.T) {
	in := `{"email":"ann@mail.example","n":1}
{"broken": "ann@mail.example", "password": "hunter2-hunter2
not JSON: card 4111111111111111

{"last":"no end of line","password":"hunter2-hunter2"}`
	out := rewrite(t, Lines, []byte(in))
	noSecret(t, out)
	lines := strings.Split(string(out), "\n")
	if len(lines) != 5 || !json.Valid([]byte(lines[0])) || !json.Valid([]byte(lines[4])) || strings.HasSuffix(lines[4], "\n") {
		t.Errorf("%q", lines)
	}
}

// A line that is too long to be read as a document is scrubbed as text.
func TestLongLine(t *testing.T) {
	in := `{"a":1}` + "\n" + `{"pad":"` + strings.Repeat("x ", 600<<10) + `","mail":"ann@mail.example"}` + "\n" + `{"email":"ann@mail.example"}` + "\n"
	var out bytes.Buffer
	if err := lines(scrubber(t), &out, strings.NewReader(in), 300<<10); err != nil {
		t.Fatal(err)
	}
	noSecret(t, out.Bytes())
	got := strings.Split(out.String(), "\n")
	if len(got) != 4 || got[0] != `{"a":1}` || !json.Valid([]byte(got[1])) || !json.Valid([]byte(got[2])) {
		t.Errorf("%d lines: %.100q", len(got), got)
	}
}

func TestHAR(t *testing.T) {
	in := `{"log":{"version":"1.2","creator":{"name":"x","version":"1.2.3"},"entries":[{"startedDateTime":"2026-01-02T03:04:05.000Z","time":12.5,
"request":{"method":"POST","url":"http://shop.example/a?email=ann%40mail.example&x=1#password=hunter2-hunter2","httpVersion":"HTTP/1.1",
 "headers":[{"name":"Authorization","value":"Basic YW5uOmh1bnRlcjItaHVudGVyMg=="},{"name":"Accept","value":"*/*"}],
 "queryString":[{"name":"email","value":"ann@mail.example"}],"cookies":[{"name":"session","value":"hunter2-hunter2"}],
 "postData":{"mimeType":"multipart/form-data; boundary=b","text":"--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nhunter2-hunter2\r\n--b--\r\n"}},
"response":{"status":200,"content":{"size":30,"mimeType":"application/json","encoding":"base64","text":"eyJwYXNzd29yZCI6Imh1bnRlcjItaHVudGVyMiIsImEiOjF9"}}}]}}`
	out := rewrite(t, HAR, []byte(in))
	noSecret(t, out)
	if bytes.Contains(out, []byte("YW5uOmh1bnRlcjItaHVudGVyMg")) || bytes.Contains(out, []byte("Imh1bnRlcjItaHVudGVyMi")) {
		t.Errorf("a secret is left in base64: %s", out)
	}
	var x, y any
	if err := json.Unmarshal([]byte(in), &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &y); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(shape(x), shape(y)) {
		t.Errorf("another shape:\n%s", out)
	}
	content := y.(map[string]any)["log"].(map[string]any)["entries"].([]any)[0].(map[string]any)["response"].(map[string]any)["content"].(map[string]any)
	body, err := decode64(content["text"].(string))
	if err != nil || !json.Valid(body) || !bytes.Contains(body, []byte("tok_password_")) {
		t.Errorf("the body is %q, %v", body, err)
	}
}

// shape is a document without the texts in it.
func shape(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, e := range v {
			m[k] = shape(e)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = shape(e)
		}
		return list
	case string:
		return ""
	}
	return v
}

func TestHostileHAR(t *testing.T) {
	for name, text := range map[string]string{
		"deep":           `{"log":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "}",
		"deep, unclosed": strings.Repeat(`{"a":`, 1_000_000),
		"cut":            `{"log":{"entries":[{"request":{"url":"http://ann@mail.example`,
		"two documents":  `{"log":{}} {"password":"hunter2-hunter2"}`,
		"no document":    "",
		"not JSON":       "ann@mail.example",
	} {
		t.Run(name, func(t *testing.T) { refused(t, HAR, []byte(text)) })
	}
}

// Deep JSON is scrubbed too, if only as text.
func TestDeepJSON(t *testing.T) {
	noSecret(t, rewrite(t, JSON, []byte(strings.Repeat(`{"a":`, 10_000)+`"ann@mail.example"`+strings.Repeat("}", 10_000))))
}

// zeros is gzip that unpacks to n MiB, and needs no memory to be made.
func zeros(t testing.TB, n int, with string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	block := bytes.Repeat([]byte("0\n"), 512<<10)
	for range n {
		if _, err := z.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(z, with); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBomb(t *testing.T) {
	bomb := zeros(t, 24, "")
	for _, form := range []Form{Text, Lines, JSON, HAR, WARC} {
		err := rewritePacked(t.Context(), scrubber(t), form, io.Discard, bytes.NewReader(bomb), 8<<20)
		if err == nil || (form == Text || form == Lines) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: error %v", form, err)
		}
	}
	if err := rewritePacked(t.Context(), scrubber(t), Text, io.Discard, bytes.NewReader(bomb), 24<<20); err != nil {
		t.Errorf("what is just as large as allowed: %v", err)
	}
}

func TestDamagedGzip(t *testing.T) {
	whole := packed(t, []byte(strings.Repeat("ann@mail.example\n", 1000)))
	for _, form := range []Form{Text, Lines, JSON, WARC} {
		refused(t, form+compressed, whole[:len(whole)/2])
		flipped := bytes.Clone(whole)
		flipped[len(flipped)-6] ^= 1 // of the checksum
		refused(t, form+compressed, flipped)
	}
}

func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, form := range []Form{Text, Lines, JSON, HAR, WARC, Text + compressed} {
		if err := Rewrite(ctx, scrubber(t), form, io.Discard, bytes.NewReader(packed(t, nil))); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v", form, err)
		}
	}
}

func TestInMemory(t *testing.T) {
	f, err := inMemory(strings.NewReader("0123456789"), 9)
	if !errors.Is(err, ErrTooLarge) {
		t.Fatalf("error %v", err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); string(b) != "0123456789" || err != nil {
		t.Errorf("the beginning is %q, %v", b, err)
	}
	if _, err := inMemory(io.MultiReader(strings.NewReader("x"), failing{}), 9); !errors.Is(err, errFailing) {
		t.Errorf("error %v", err)
	}
}

var errFailing = errors.New("the reader fails")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errFailing }

func TestFailingReader(t *testing.T) {
	for _, form := range []Form{Text, JSON, Lines, HAR, WARC, SQLite, Parquet, JFR, Text + compressed} {
		if err := Rewrite(t.Context(), scrubber(t), form, io.Discard, failing{}); !errors.Is(err, errFailing) {
			t.Errorf("%s: error %v", form, err)
		}
	}
	if err := Rewrite(t.Context(), scrubber(t), Opaque, io.Discard, failing{}); !errors.Is(err, ErrOpaque) {
		t.Errorf("error %v", err)
	}
}

func TestArgs(t *testing.T) {
	for _, test := range [][]string{
		{"prog", "--password", "hunter2-hunter2"},
		{"prog", "--password=hunter2-hunter2"},
		{"prog", "-password", "hunter2-hunter2", "file"},
		{"java", "-Ddb.password=hunter2-hunter2", "-jar", "x.jar"},
		{"env", "DB_PASSWORD=hunter2-hunter2", "prog"},
		{"env", "-i", "DB_PASSWORD=hunter2-hunter2", "prog"},
		{"helm", "--set", "db.password=hunter2-hunter2"},
		{"curl", "https://ann:hunter2-hunter2@shop.example/a?b=c"},
		{"curl", "-H", "Authorization: Bearer hunter2-hunter2"},
		{"prog", "--mail=ann@mail.example"},
		{"prog", "--ann@mail.example=1"},
		{"prog", "ann@mail.example=1"},
		{"sh", "-c", "DB_PASSWORD=hunter2-hunter2 prog"},
	} {
		out := Args(scrubber(t), test)
		if len(out) != len(test) || out[0] != test[0] {
			t.Errorf("%q: %q", test, out)
		}
		noSecret(t, []byte(strings.Join(out, "\n")))
	}
	plain := []string{"prog", "-v", "--name", "x", "--level=3", "K=V", "file.txt", "-Xmx1g", "--", "a b"}
	if out := Args(scrubber(t), plain); !reflect.DeepEqual(out, plain) {
		t.Errorf("found %q, want %q", out, plain)
	}
}

func TestFormOf(t *testing.T) {
	for _, test := range []struct {
		name, media, head string
		want              Form
	}{
		{"a.bin", "", "SQLite format 3\x00", SQLite},
		{"a.txt", "", "PAR1", Parquet},
		{"a", "", "FLR\x00", JFR},
		{"a", "", "WARC/1.0\r\n", WARC},
		{"a.warc.gz", "", "\x1f\x8b\x08", WARC + compressed},
		{"a.LOG", "", "text", Text},
		{"a.log", "", "te\x00xt", Opaque}, // the name lies
		{"a.tar.gz", "", "\x1f\x8b\x08", Opaque},
		{"a", "application/vnd.api+json; charset=utf-8", "{}", JSON},
		{"a", "text/csv", "a,b", Text},
		{"a", "", "text", Opaque},
		{"a.ndjson", "", "", Lines},
	} {
		if got := FormOf(test.name, test.media, []byte(test.head)); got != test.want {
			t.Errorf("%q %q %q: %q, want %q", test.name, test.media, test.head, got, test.want)
		}
	}
}
