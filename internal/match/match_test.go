package match

import (
	"strings"
	"testing"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
)

func message(method, target, media, body string) *cassette.Message {
	head := method + " " + target + " HTTP/1.1\r\nHost: api\r\nUser-Agent: x\r\n"
	if media != "" {
		head += "Content-Type: " + media + "\r\n"
	}
	return &cassette.Message{Head: []byte(head + "\r\n"), Body: cassette.Bytes(body)}
}

func exchange(id, conn int, m *cassette.Message, answer string) *cassette.Exchange {
	return &cassette.Exchange{ID: id, Conn: conn, Scheme: "http", Authority: "api", Request: m,
		Response: &cassette.Message{Head: []byte("HTTP/1.1 200 OK\r\n\r\n"), Body: cassette.Bytes(answer)}}
}

func request(t testing.TB, m *cassette.Message) Request {
	t.Helper()
	r, err := Of("http", "API:80", m)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSame are requests that are one and the same.
func TestSame(t *testing.T) {
	for name, pair := range map[string][2]*cassette.Message{
		"order of a query":   {message("GET", "/a?x=1&y=2", "", ""), message("GET", "/a?y=2&x=1", "", "")},
		"order of JSON keys": {message("POST", "/", "application/json", `{"a":1,"b":[1,2]}`), message("POST", "/", "application/json; charset=utf-8", `{ "b": [1, 2], "a": 1 }`)},
		"order of a form":    {message("POST", "/", "application/x-www-form-urlencoded", "a=1&b=2"), message("POST", "/", "application/x-www-form-urlencoded", "b=2&a=1")},
		"a form's boundary":  {message("POST", "/", "multipart/form-data; boundary=one", "--one\r\n\r\nx\r\n--one--"), message("POST", "/", "multipart/form-data; boundary=two", "--two\r\n\r\nx\r\n--two--")},
		"another API key":    {message("GET", "/?key=tok_api_key_aa11", "", ""), message("GET", "/?key=tok_api_key_bb22", "", "")},
		"a proxy's form":     {message("GET", "http://api/a", "", ""), message("GET", "/a", "", "")},
	} {
		if request(t, pair[0]).key() != request(t, pair[1]).key() {
			t.Errorf("%s: %+v and %+v", name, request(t, pair[0]), request(t, pair[1]))
		}
	}
	for name, pair := range map[string][2]*cassette.Message{
		"number as text":       {message("POST", "/", "application/json", `{"a":1}`), message("POST", "/", "application/json", `{"a":"1"}`)},
		"1 and 1.0":            {message("POST", "/", "application/json", `{"a":1}`), message("POST", "/", "application/json", `{"a":1.0}`)},
		"another person":       {message("GET", "/?u=tok_email_aa", "", ""), message("GET", "/?u=tok_email_bb", "", "")},
		"order of an array":    {message("POST", "/", "application/json", `[1,2]`), message("POST", "/", "application/json", `[2,1]`)},
		"path and query mixed": {message("GET", "/a?b", "", ""), message("GET", "/ab?", "", "")},
	} {
		if request(t, pair[0]).key() == request(t, pair[1]).key() {
			t.Errorf("%s: the same", name)
		}
	}
}

func TestRepeatsAndSessions(t *testing.T) {
	m := message("GET", "/next", "", "")
	x, err := NewIndex([]*cassette.Exchange{exchange(1, 1, m, "a1"), exchange(2, 2, m, "b1"), exchange(3, 1, m, "a2"), exchange(4, 2, m, "b2")}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	take := func(session string) string {
		e, miss := x.Take(session, request(t, m))
		if miss != nil {
			return miss.Cause
		}
		return string(e.Response.Body.(cassette.Bytes))
	}
	got := []string{take("p"), take("q"), take("q"), take("p"), take("p")}
	if want := "a1 b1 b2 a2 extra repeat"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
	if c := x.Counts(); c.Matched != 4 || c.Missed != 1 || c.Ambiguous == 0 || c.Reordered != 1 || len(c.Unused) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestMiss(t *testing.T) {
	x, err := NewIndex([]*cassette.Exchange{
		exchange(1, 1, message("POST", "/orders/17", "application/json", `{"id":"a","at":"2026-01-02T03:04:05Z","n":1}`), ""),
		exchange(2, 1, message("GET", "/users?u=tok_email_aa", "", ""), ""),
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		m     *cassette.Message
		cause string
		field string
	}{
		{message("POST", "/orders/17", "application/json", `{"id":"b","at":"2026-01-02T03:04:05Z","n":1}`), Drifted, "body.id"},
		{message("POST", "/orders/17", "application/json", `{"id":"a","at":"2027-01-02T03:04:05Z","n":1}`), ClockDrift, "body.at"},
		{message("GET", "/users?u=tok_email_bb", "", ""), TokenDrift, "query.u"},
		{message("DELETE", "/all", "", ""), NewCall, "method"},
	} {
		_, miss := x.Take("s", request(t, c.m))
		if miss == nil || miss.Cause != c.cause || len(miss.Fields) == 0 || miss.Fields[0].Name != c.field || !strings.Contains(miss.String(), c.field) {
			t.Errorf("%s: %+v", c.cause, miss)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	f.Add("application/json", `{"b":1,"a":[{"d":2,"c":3}]}`)
	f.Add("application/x-www-form-urlencoded", "b=1&a=2")
	f.Add("multipart/form-data; boundary=x", "--x\r\n\r\n1\r\n--x--")
	f.Fuzz(func(t *testing.T, media, body string) {
		once := canonical(media, []byte(body))
		if strings.HasPrefix(media, "multipart/") {
			return // the boundary is another one then
		}
		if twice := canonical(media, []byte(once)); once != twice {
			t.Errorf("%q, then %q", once, twice)
		}
	})
}
func TestStub(t *testing.T) {
	stub := func(id int, m *cassette.Message, body string) *cassette.Exchange {
		x := exchange(id, 1, m, body)
		x.Stub = true
		return x
	}
	x, err := NewIndex([]*cassette.Exchange{
		stub(1, message("GET", "/state", "", ""), "first"), stub(2, message("GET", "/state", "", ""), "second"),
		stub(3, message("POST", "/orders", "", `{"b":1,"a":2}`), ""), stub(4, message("POST", "/form", "", "b=1&a=2"), ""),
		stub(5, message("PUT", "/typed", "text/plain", "x"), ""), stub(6, message("GET", "/never", "", ""), ""),
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		m    *cassette.Message
		want int
	}{
		{message("GET", "/state", "", ""), 1}, {message("GET", "/state", "", ""), 2}, {message("GET", "/state", "", ""), 2},
		{message("POST", "/orders", "application/json", `{"a":2,"b":1}`), 3}, {message("POST", "/orders", "", `{"a":2,"b":1}`), 3},
		{message("POST", "/form", "application/x-www-form-urlencoded", "a=2&b=1"), 4},
		{message("POST", "/form", "application/x-www-form-urlencoded", "a=2&b=2"), 0},
		{message("PUT", "/typed", "text/plain", "x"), 5}, {message("PUT", "/typed", "text/html", "x"), 0},
	} {
		got, _ := x.Take("s", request(t, c.m))
		if c.want == 0 && got != nil || c.want != 0 && (got == nil || got.ID != c.want) {
			t.Errorf("request %d: %+v, want %d", i, got, c.want)
		}
	}
	if c := x.Counts(); len(c.Unused) != 0 || c.Matched != 7 || c.Missed != 2 || c.Ambiguous != 0 {
		t.Errorf("%+v", c)
	}
}
