package importer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/match"
)

// FuzzRead reads anything as each format. What is imported has to be a cassette
// that loads, and whose requests can be compared.
func FuzzRead(f *testing.F) {
	for name, format := range map[string]string{"playwright/chromium.har": "har", "mitmproxy/mitmproxy.har": "har", "warc/wget.warc.gz": "warc", "hoverfly/simulation.json": "hoverfly",
		"govcr/cassette.yaml": "go-vcr", "vcrpy/cassette.yaml": "vcrpy", "vcrpy/cassette.json": "vcrpy", "keploy/test-set-0/mocks.yaml": "keploy"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(format, b)
	}
	f.Add("wiremock", []byte(`{"request":{"method":"GET","url":"/a?b"},"response":{"status":200,"jsonBody":{"a":1}}}`))
	f.Add("warc", []byte("WARC/1.1\r\nWARC-Type: request\r\nWARC-Record-ID: <urn:uuid:1>\r\nWARC-Target-URI: http://a.test/\r\nContent-Type: application/http\r\nContent-Length: 37\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\nA: b\r\n\r\n\r\n\r\n"))
	f.Add("go-vcr", []byte("version: 2\ninteractions: &a\n- request: {url: 'http://a.test', method: GET}\n  response: {code: 200, body: *a}\n"))
	f.Add("vcrpy", []byte("interactions:\n- &a\n  request: {uri: 'http://a.test', method: GET, body: &b {string: *b}, headers: {}}\n  response: *a\n"))
	s := clean(f)
	f.Fuzz(func(t *testing.T, format string, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		dir := t.TempDir()
		file := filepath.Join(dir, "tape")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		tape, err := Read(format, []string{file}, Options{Scheme: "http", Authority: "a.test"})
		if err != nil {
			return
		}
		w, err := tape.Write(filepath.Join(dir, "inputs"), s, imported)
		if err != nil {
			return
		}
		c, err := cassette.Load(filepath.Join(dir, "inputs"))
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Exchanges) != w.Exchanges {
			t.Fatalf("%d exchanges were written, %d loaded", w.Exchanges, len(c.Exchanges))
		}
		if _, err := match.NewIndex(c.Exchanges, match.Options{}); err != nil {
			t.Fatal(err)
		}
		for _, x := range c.Exchanges {
			for _, m := range []*cassette.Message{x.Request, x.Response} {
				if m == nil {
					continue
				}
				for name := range m.Fields() {
					if strings.ContainsAny(name, "\r\n") {
						t.Errorf("a field's name is %q", name)
					}
				}
			}
		}
	})
}
