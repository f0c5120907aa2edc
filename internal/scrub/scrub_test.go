package scrub

import (
	"encoding/json"
	"strings"
	"testing"
)

func newTest(t testing.TB, sets ...string) *Scrubber {
	t.Helper()
	if len(sets) == 0 {
		sets = BuiltinNames()
	}
	r, err := Builtin(sets...)
	if err != nil {
		t.Fatal(err)
	}
	return withRules(t, r)
}

func withRules(t testing.TB, r *Rules) *Scrubber {
	t.Helper()
	salt, err := NewSalt("test:salt", []byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(r, salt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shape replaces tokens by their classes, so that tests can be read.
func shape(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		if n := tokenLen(b); n > 0 {
			out.WriteString("<" + string(b[len(tokenPrefix):n-tokenSum-1]) + ">")
			b = b[n:]
			continue
		}
		out.WriteByte(b[0])
		b = b[1:]
	}
	return out.String()
}

func TestText(t *testing.T) {
	t.Parallel()
	s := newTest(t)
	for _, c := range []struct{ in, want string }{
		{"mail from Ada.Lovelace@Example.org, ok", "mail from <email>, ok"},
		{"<a.b+c@x-y.co.uk>.", "<<email>>."},
		{"card 4111 1111 1111 1111 exp", "card <pan> exp"},
		{"card 4111-1111-1111-1111.", "card <pan>."},
		{"amex 3782 822463 10005", "amex <pan>"},
		{`{"order":4111111111111112}`, `{"order":4111111111111112}`},
		{`{"n":4111111111111111,"m":1}`, `{"n":"<pan>","m":1}`},
		{"iban DE89 3704 0044 0532 0130 00 x", "iban <iban> x"},
		{"iban GB82WEST12345698765432", "iban <iban>"},
		{"iban DE88 3704 0044 0532 0130 00", "iban DE88 3704 0044 0532 0130 00"},
		{"ssn 123-45-6789", "ssn <ssn>"},
		{"ssn 000-45-6789", "ssn 000-45-6789"},
		{"call +49 30 901820 now", "call <phone> now"},
		{"call (415) 555-2671 now", "call <phone> now"},
		{"call 415-555-2671", "call <phone>"},
		{"from 10.1.2.3:80", "from <ip>:80"},
		{"from 2001:db8::8a2e:370:7334", "from <ip>"},
		{"at 127.0.0.1", "at 127.0.0.1"},
		{"Authorization: Bearer abcdef0123456789abcdef", "Authorization: Bearer <bearer>"},
		{"Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic <basic>"},
		{"jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl end", "jwt <jwt> end"},
		{"postgres://app:hunter2@db/app", "postgres://app:<conn_string>@db/app"},
		{"AKIAIOSFODNN7EXAMPLE", "<api_key>"},
		{"key ghp_0123456789abcdef0123456789abcdef0123", "key <api_key>"},
		{"-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----\nx", "<private_key>\nx"},
		{`{"password":"hunter2","user":"u"}`, `{"password":"<password>","user":"u"}`},
		{"password=hunter2&x=1", "password=<password>&x=1"},
		{"?email=joe%40example.com&n=1", "?email=<email>&n=1"},
		{"q=joe%40example.com&n=1", "q=<email>&n=1"},
		{`{"m":"joe\u0040example.com"}`, `{"m":"<email>"}`},
		{`{"m":"{\"password\":\"x\\\"y\"}"}`, `{"m":"{\"password\":\"<password>\"}"}`},
		{"2024-01-02T03:04:05.123456789Z 1735907696000 id 123e4567-e89b-12d3-a456-426614174000 v1.2.3.4", "2024-01-02T03:04:05.123456789Z 1735907696000 id 123e4567-e89b-12d3-a456-426614174000 v1.2.3.4"},
	} {
		once := s.Text([]byte(c.in))
		if got := shape(once.Bytes()); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.in, got, c.want)
		}
		if twice := s.Text(once.Bytes()); twice.String() != once.String() {
			t.Errorf("%s\nonce  %s\ntwice %s", c.in, once, twice)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	s := newTest(t)
	for _, c := range []struct{ in, want string }{
		{`{"email": "a@b.org", "n": 1}`, `{"email": "<email>", "n": 1}`},
		{`{"card":4111111111111111}`, `{"card":"<pan>"}`},
		{`{"card":4.111111111111111e15, "x":-1.5E3}`, `{"card":"<pan>", "x":-1.5E3}`},
		{`{"first_name":{"a":"x","b":[1,true,null]}}`, `{"first_name":{"a":"<name>","b":["<name>","<name>",null]}}`},
		{`{"a@b.org":[]}`, `{"<email>":[]}`},
		{`["\u0061@b.org", "tab\t\u00e9"]`, `["<email>", "tab\t\u00e9"]`},
		{`{"m":"quote \" and a@b.org"}`, `{"m":"quote \" and <email>"}`},
		{`{"m":"{\"password\":\"x\"}"}`, `{"m":"{\"password\":\"<password>\"}"}`},
		{`{"authorization":"Bearer abcdefgh12345678"}`, `{"authorization":"Bearer <bearer>"}`},
		{"{\"a\":1}\n{\"cvv\":123}\n", "{\"a\":1}\n{\"cvv\":null}\n"},
		{`{"password":"hunter2"`, `{"password":"<password>"`},
		{`{"b64":"eyJ1c2VyIjoiYSIsIm1haWwiOiJqb2VAZXhhbXBsZS5jb20ifQ=="}`, ``},
	} {
		once := s.JSON([]byte(c.in))
		if got := shape(once.Bytes()); c.want != "" && got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.in, got, c.want)
		}
		if json.Valid([]byte(c.in)) && !json.Valid(once.Bytes()) {
			t.Errorf("%s\nbecomes %s, which is no JSON", c.in, once)
		}
		if c.want == "" && once.String() == c.in {
			t.Errorf("%s stayed", c.in)
		}
		if twice := s.JSON(once.Bytes()); twice.String() != once.String() {
			t.Errorf("%s\nonce  %s\ntwice %s", c.in, once, twice)
		}
	}
}
