package scrubfile

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
)

// fuzz gives bytes to a form. Whatever they are, it must not panic; what it
// makes must be of the form again, and scrubbed again must be the same to check.
func fuzz(f *testing.F, form Form, seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := scrubber(t)
		var once, twice bytes.Buffer
		if err := Rewrite(t.Context(), s, form, &once, bytes.NewReader(b)); err != nil {
			return
		}
		if err := Rewrite(t.Context(), s, form, &twice, bytes.NewReader(once.Bytes())); err != nil {
			t.Errorf("the result can't be read: %v", err)
		}
		if form == HAR && !json.Valid(once.Bytes()) {
			t.Errorf("no JSON: %q", once.Bytes())
		}
		if form == Lines && bytes.Count(b, []byte("\n")) > bytes.Count(once.Bytes(), []byte("\n")) {
			t.Errorf("lines are gone: %q", once.Bytes())
		}
	})
}

func FuzzRewriteText(f *testing.F) { fuzz(f, Text, []byte("card 4111111111111111\nann@mail.example")) }
func FuzzRewriteJSON(f *testing.F) {
	fuzz(f, JSON, []byte(`{"password":"x","a":[1,"ann@mail.example"]}`))
}
func FuzzRewriteLines(f *testing.F) {
	fuzz(f, Lines, []byte("{\"a\":1}\r\n\n{broken\n[\"ann@mail.example\"]"))
}
func FuzzRewriteHAR(f *testing.F) {
	fuzz(f, HAR, []byte(`{"log":{"entries":[{"request":{"url":"/?a=b#c","headers":[{"name":"Cookie","value":"a=b;c=d"}],"postData":{"mimeType":"multipart/form-data; boundary=b","text":"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--b--"}}}]}}`),
		[]byte(`{"mimeType":"application/json","encoding":"base64","text":"e30="}`))
}

func FuzzRewriteWARC(f *testing.F) {
	fuzz(f, WARC, warcOf("request", "GET /?a=ann@mail.example HTTP/1.1\r\nCookie: a=b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
		warcOf("response", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 30\r\n\r\n"+string(packed(f, []byte(`{"a":"b"}`)))))
}
func FuzzRewriteGzip(f *testing.F) { fuzz(f, Text+compressed, packed(f, []byte("ann@mail.example"))) }
func FuzzRewriteSQLite(f *testing.F) {
	fuzz(f, SQLite, sqliteOf(f, "PRAGMA page_size = 512; CREATE TABLE a (email TEXT, b INTEGER PRIMARY KEY); INSERT INTO a VALUES ('ann@mail.example', 1);"))
}

func FuzzRewriteParquet(f *testing.F) {
	b, err := os.ReadFile("testdata/small.parquet")
	if err != nil {
		f.Fatal(err)
	}
	fuzz(f, Parquet, b)
}

func FuzzRewriteJFR(f *testing.F) {
	f.Add([]byte("FLR\x00\x00\x02\x00\x00"))
	fuzz(f, JFR)
}
