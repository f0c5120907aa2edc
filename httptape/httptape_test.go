package httptape_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck-dev/tapedeck"
	"github.com/tapedeck-dev/tapedeck/httptape"
)

func open(t testing.TB, m tapedeck.Mode, dir string) *tapedeck.Session {
	t.Helper()
	s, err := tapedeck.Open(m, dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// server answers otherwise each time.
func server() *httptest.Server {
	var n atomic.Int64
	return httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/events":
			for i := range 3 {
				fmt.Fprintf(w, "data: %d %d\n\n", i, n.Add(1))
				w.(http.Flusher).Flush()
			}
		case "/big":
			io.WriteString(w, strings.Repeat(fmt.Sprint(n.Add(1), " "), 1_000_000))
		case "/trailer":
			w.Header().Set("Trailer", "X-Sum")
			fmt.Fprint(w, n.Add(1))
			w.Header().Set("X-Sum", fmt.Sprint(n.Add(1)))
		case "/broken":
			panic(http.ErrAbortHandler)
		default:
			w.Header().Add("A", "1")
			w.Header().Add("A", "2")
			fmt.Fprintf(w, "%s %s %s %d", r.Method, r.URL, b, n.Add(1))
		}
	}))
}

// talk is a client; what it returns must be the same from a recording.
func talk(c *http.Client, url string) string {
	var out strings.Builder
	say := func(r *http.Response, err error) {
		if err != nil {
			fmt.Fprintln(&out, "an error")
			return
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		fmt.Fprintln(&out, r.StatusCode, r.Header["A"], len(b), string(b[:min(len(b), 100)]), r.Trailer, err)
	}
	say(c.Get(url + "/a?x=1"))
	say(c.Get(url + "/a?x=1"))
	say(c.Post(url+"/b", "text/plain", strings.NewReader("to ada.lovelace@example.com")))
	say(c.Post(url+"/c", "text/plain", io.MultiReader(strings.NewReader("in "), strings.NewReader("chunks"))))
	say(c.Head(url + "/a"))
	for _, path := range []string{"/events", "/big", "/trailer", "/broken"} {
		say(c.Get(url + path))
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	got := map[int]string{}
	for i := range 20 {
		wg.Go(func() {
			r, err := c.Get(fmt.Sprintf("%s/many/%d", url, i))
			if err != nil {
				return
			}
			defer r.Body.Close()
			b, _ := io.ReadAll(r.Body)
			mu.Lock()
			got[i] = string(b)
			mu.Unlock()
		})
	}
	wg.Wait()
	fmt.Fprintln(&out, got)
	return out.String()
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "keys-")
	if err != nil {
		panic(err)
	}
	os.Setenv("TAPEDECK_KEYS", filepath.Join(dir, "keys.json"))
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func TestTransport(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tape")
	live := server()
	s := open(t, tapedeck.Record, dir)
	want := talk(&http.Client{Transport: httptape.Transport(s, live.Client().Transport)}, live.URL)
	uuid := s.Rand().UUID()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	live.Close()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if b, _ := os.ReadFile(path); strings.Contains(string(b), "lovelace") {
				t.Errorf("%s has an address", path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	s = open(t, tapedeck.Replay, dir)
	c := &http.Client{Transport: httptape.Transport(s, nil)}
	got := talk(c, live.URL)
	if clean := scrubbed(want); scrubbed(got) != clean {
		t.Errorf("recorded\n%s\nreplayed\n%s", clean, scrubbed(got))
	}
	if list, err := os.ReadDir(dir); err != nil || slices.ContainsFunc(list, func(d fs.DirEntry) bool { return d.Name()[0] == '.' }) {
		t.Errorf("%v is left", list)
	}
	if s.Rand().UUID() != uuid {
		t.Error("another UUID")
	}
	if age := time.Since(s.Clock().Now()); age < 0 || age > time.Hour {
		t.Errorf("the clock is %v behind", age)
	}
	var miss *httptape.NotRecordedError
	if _, err := c.Get(live.URL + "/a?x=2"); !errors.As(err, &miss) || !strings.Contains(err.Error(), `query.x: recorded "1", now "2"`) {
		t.Errorf("%v", err)
	}
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "1 missed, 0 unused") {
		t.Errorf("%v", err)
	}
}

// scrubbed leaves out what the recording has a token for.
func scrubbed(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		if !strings.Contains(line, "POST /b") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// TestSynctest waits for an hour in no time, and is at the recorded time.
func TestSynctest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tape")
	s := open(t, tapedeck.Record, dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := open(t, tapedeck.Replay, dir)
		clock := s.Clock()
		began := clock.Now()
		if err := clock.Sleep(context.Background(), time.Hour); err != nil {
			t.Fatal(err)
		}
		if d := clock.Since(began); d != time.Hour {
			t.Errorf("%v passed", d)
		}
		if began.Year() < 2026 {
			t.Errorf("it is %v in the bubble, not when it was recorded", began)
		}
	})
}

func TestOpen(t *testing.T) {
	if _, err := tapedeck.Open("rewind", ""); err == nil || !strings.Contains(err.Error(), `found "rewind"`) {
		t.Errorf("%v", err)
	}
	if _, err := tapedeck.Open(tapedeck.Replay, filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a replay of nothing")
	}
	dir := t.TempDir()
	if err := open(t, tapedeck.Record, dir).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := tapedeck.Open(tapedeck.Record, dir); err == nil {
		t.Error("a recording over another")
	}
	killed := t.TempDir()
	open(t, tapedeck.Record, killed)
	if _, err := tapedeck.Open(tapedeck.Record, killed); err == nil || !strings.Contains(err.Error(), "not ended") {
		t.Errorf("%v", err)
	}
	if _, err := tapedeck.Open(tapedeck.Replay, killed); err == nil {
		t.Error("a replay of a recording that was not ended")
	}
	t.Setenv("TAPEDECK_MODE", "replay")
	t.Setenv("HTTP_CASSETTE_DIR", filepath.Join(dir, "http_vcr"))
	if s, err := tapedeck.FromEnv(); err != nil || s.Mode() != tapedeck.Replay {
		t.Errorf("%v", err)
	}
	var off *tapedeck.Session
	if httptape.Transport(off, nil) != http.DefaultTransport || off.Mode() != tapedeck.Off || off.Close() != nil {
		t.Error("a session that is off does something")
	}
}
