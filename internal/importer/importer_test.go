package importer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

// clean is a scrubber with the default rules.
func clean(t testing.TB) *scrub.Scrubber {
	t.Helper()
	rules, err := scrub.Builtin("secrets", "pci", "gdpr_default")
	if err != nil {
		t.Fatal(err)
	}
	salt, err := scrub.NewSalt("test", []byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := scrub.New(rules, salt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var imported = time.Date(2026, 11, 25, 13, 0, 0, 0, time.UTC)

// load imports files and loads the cassette that became of them.
func load(t testing.TB, format string, o Options, paths ...string) (*cassette.Cassette, *Written) {
	t.Helper()
	tape, err := Read(format, paths, o)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, tape)
}

func write(t testing.TB, tape *Tape) (*cassette.Cassette, *Written) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "inputs")
	w, err := tape.Write(dir, clean(t), imported)
	if err != nil {
		t.Fatalf("%v: %+v", err, w)
	}
	c, err := cassette.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c, w
}

// lines describe exchanges in a form that is the same each time a tool runs.
func lines(t testing.TB, c *cassette.Cassette) []string {
	t.Helper()
	var all []string
	for _, x := range c.Exchanges {
		text := fmt.Sprintf("%s %s %d", x.Request.Method(), x.URL(), x.Response.Status())
		for _, m := range []*cassette.Message{x.Request, x.Response} {
			r, err := m.Decoded()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			r.Close()
			if err != nil {
				t.Errorf("%s: %v", text, err)
			}
			text += fmt.Sprintf(" %d", len(b))
		}
		all = append(all, text)
	}
	return all
}

func TestRealTapes(t *testing.T) {
	for _, c := range []struct {
		format string
		path   string
		opt    Options
		want   []string // method, URL, status, and the lengths of both bodies
		skip   []string
		notes  []string
	}{
		{format: "har", path: "playwright/chromium.har", want: []string{
			"GET https://api.example.test/item/1 200 0 26", "GET https://api.example.test/item/2 200 0 26", "GET https://api.example.test/item/2 200 0 26",
			"POST https://api.example.test/echo 200 9 49", "POST https://api.example.test/echo 200 9 52", "GET https://api.example.test/big?n=64 200 0 64",
			"GET https://api.example.test/status/404 404 0 24"},
			skip:  []string{"entry 8: the answer's body is not in the file"},
			notes: []string{"HTTP/2"}},
		{format: "har", path: "mitmproxy/mitmproxy.har", want: []string{
			"GET http://api.example.test/now 200 0 100", "GET https://api.example.test/item/1 200 0 26", "POST https://api.example.test/echo 200 59 103",
			"POST https://api.example.test/echo 200 7 50", "GET https://api.example.test/big?n=100 200 0 100", "GET https://api.example.test/events 200 0 150",
			"HEAD https://api.example.test/status/404 404 0 0"},
			skip:  []string{"entry 4: the request's body is not in the file as it was"},
			notes: []string{"HTTP/2", "Content-Length"}},
		{format: "go-vcr", path: "govcr/cassette.yaml", want: []string{
			"GET https://api.example.test/item/1 200 0 23", "POST https://api.example.test/echo 200 59 103", "POST https://api.example.test/echo 200 4 62",
			"GET https://api.example.test/status/404 404 0 24", "GET https://api.example.test/trailer 200 0 22"},
			notes: []string{"HTTP/2", "Content-Length"}},
		{format: "vcrpy", path: "vcrpy/cassette.yaml", want: []string{
			"GET https://api.example.test/item/1 200 0 26", "GET https://api.example.test/item/1 200 0 26", "POST https://api.example.test/echo 200 10 50",
			"GET https://api.example.test/status/404 404 0 24", "POST https://api.example.test/echo 200 4 62", "GET https://api.example.test/big?n=100 200 0 100"}},
		{format: "vcrpy", path: "vcrpy/cassette.json", want: []string{
			"GET https://api.example.test/item/1 200 0 26", "GET https://api.example.test/item/1 200 0 25", "POST https://api.example.test/echo 200 10 50",
			"GET https://api.example.test/status/404 404 0 24"}},
		{format: "wiremock", path: "wiremock", opt: Options{Scheme: "http", Authority: "api.example.test"}, want: []string{
			"GET http://api.example.test/big?n=100 200 0 100", "GET http://api.example.test/item/1 200 0 26", "GET http://api.example.test/item/2 200 0 25",
			"GET http://api.example.test/item/2 200 0 26", "GET http://api.example.test/status/404?why=a%20b 404 0 24", "POST http://api.example.test/echo 200 9 49"},
			skip:  []string{"its body pattern has ignore"},
			notes: []string{"Content-Length", "stubs that take any body"}},
		{format: "warc", path: "warc/wget.warc.gz", want: []string{
			"GET https://api.example.test/item/1 200 0 26", "GET https://api.example.test/item/2 200 0 26", "GET https://api.example.test/big?n=100 200 0 100",
			"GET https://api.example.test/events 200 0 150", "GET https://api.example.test/trailer 200 0 22"}},
		{format: "hoverfly", path: "hoverfly/simulation.json", want: []string{
			"GET https://api.example.test/item/1 200 0 10", "POST https://api.example.test/orders?dry=true 201 13 4", "GET https://api.example.test/exact.html 200 0 8",
			"GET https://api.example.test/poll 202 0 4", "GET https://api.example.test/poll 200 0 4"},
			skip:  []string{"pair 5: its path", "pair 7: its path", "pair 8: its answer is a template", "pair 9: its scheme"},
			notes: []string{"Content-Length", "after a delay", "any body", "any query"}},
		{format: "keploy", path: "keploy", opt: Options{Scheme: "https"}, want: []string{
			"POST https://pay.example.test/charge 200 9 11", "GET https://pay.example.test/events 200 0 34"},
			skip:  []string{"document 3: the answer's body", "document 4: it is a mock of Postgres", "test-1.yaml: a test"},
			notes: []string{"content coding", "Content-Length", "streams"}},
	} {
		t.Run(c.path, func(t *testing.T) {
			got, w := load(t, c.format, c.opt, "testdata/"+c.path)
			have := lines(t, got)
			if c.format == "wiremock" { // its files have random names
				slices.Sort(have)
			}
			for i := range max(len(have), len(c.want)) {
				if i >= len(have) || i >= len(c.want) || !alike(have[i], c.want[i]) {
					t.Errorf("exchanges\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(c.want, "\n"))
					break
				}
			}
			if len(w.Skipped) != len(c.skip) {
				t.Errorf("skipped %+v", w.Skipped)
			}
			for i, s := range w.Skipped {
				if text := s.Where + ": " + s.Reason; i < len(c.skip) && !strings.Contains(text, c.skip[i]) {
					t.Errorf("skipped %q, want %q", text, c.skip[i])
				}
			}
			if len(w.Notes) != len(c.notes) {
				t.Errorf("notes %+v", w.Notes)
			}
			for _, want := range c.notes {
				if !slices.ContainsFunc(w.Notes, func(n Note) bool { return strings.Contains(n.What, want) && n.Count > 0 }) {
					t.Errorf("no note on %q: %+v", want, w.Notes)
				}
			}
			resolves(t, got)
		})
	}
}

// alike compares two lines; a length may be another one by a few bytes, since the
// server answers with random numbers.
func alike(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	if len(x) != 5 || len(y) != 5 || !slices.Equal(x[:4], y[:4]) {
		return false
	}
	var m, n int
	fmt.Sscan(x[4], &m)
	fmt.Sscan(y[4], &n)
	return m-n <= 4 && n-m <= 4
}

// resolves checks that each name leads to an address on which a connection was.
func resolves(t *testing.T, c *cassette.Cassette) {
	t.Helper()
	address := map[string]string{}
	for _, q := range c.Queries {
		var m dnsmessage.Message
		if err := m.Unpack(q.Answer); err != nil || !m.Response || m.RCode != dnsmessage.RCodeSuccess {
			t.Errorf("%s %s: %+v %v", q.Name, q.Type, m, err)
		}
		for _, r := range m.Answers {
			if a, ok := r.Body.(*dnsmessage.AResource); ok {
				address[strings.TrimSuffix(q.Name, ".")] = fmt.Sprintf("%d.%d.%d.%d", a.A[0], a.A[1], a.A[2], a.A[3])
			}
		}
	}
	for _, conn := range c.Conns {
		if address[conn.Name] != conn.Peer.Addr().String() {
			t.Errorf("%s resolves to %q, and was dialled at %s", conn.Name, address[conn.Name], conn.Peer)
		}
	}
}

func TestDamagedTapes(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ format, text, want string }{
		"cut.har":       {"har", `{"log":{"version":"1.2","entries":[{"request"`, "HTTP archive"},
		"other.har":     {"har", `{"a":1}`, "HTTP archive"},
		"type.har":      {"har", `{"log":{"version":"1.2","entries":[{"startedDateTime":7}]}}`, "HTTP archive"},
		"cut.warc":      {"warc", "WARC/1.1\r\nWARC-Type: request\r\nContent-Length: 100\r\n\r\nGET /", "record 1"},
		"huge.warc":     {"warc", "WARC/1.1\r\nWARC-Type: request\r\nContent-Length: 9000000000000\r\n\r\nGET /", "record 1"},
		"text.warc":     {"warc", "hello\r\n", "record 1"},
		"gzip.warc.gz":  {"warc", "\x1f\x8b\x08", "gzip"},
		"v4.json":       {"hoverfly", `{"data":{"pairs":[]},"meta":{"schemaVersion":"v4"}}`, "schemaVersion v5"},
		"syntax.json":   {"hoverfly", `{"data":{"pairs":[{]}}`, "syntax error"},
		"wiremock.json": {"wiremock", `{"hello":1}`, "mapping of WireMock"},
		"vcr.yaml":      {"go-vcr", "version: 3\ninteractions: []\n", "version 1 or 2"},
		"tab.yaml":      {"go-vcr", "version: 2\n\tinteractions", "YAML"},
		"kind.yaml":     {"go-vcr", "version: 2\ninteractions: 7\n", "another type"},
		"keploy.yaml":   {"keploy", "hello: world\n", "mock of keploy"},
		"vcrpy.yaml":    {"vcrpy", "version: 1\n", "list of interactions"},
		"bomb.yaml":     {"go-vcr", bomb(), "too many aliases"},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Read(c.format, []string{file}, Options{})
		var damaged *DamagedError
		if !errors.As(err, &damaged) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want a DamagedError with %q", name, err, c.want)
		}
	}
	if _, err := Read("har", []string{filepath.Join(dir, "none.har")}, Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such file: %v", err)
	}
	if _, err := Read("warc", []string{t.TempDir()}, Options{}); err == nil || !strings.Contains(err.Error(), "found none") {
		t.Errorf("an empty folder: %v", err)
	}
}

// bomb is YAML that grows when its aliases are followed.
func bomb() string {
	text := "version: 2\na0: &a0 [x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		text += fmt.Sprintf("a%d: &a%d [%s*a%d]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 8), i)
	}
	return text + "interactions: *a9\n"
}
