package scrub

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRuleErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want, hint string }{
		{"", "r.yaml: need a rule file, found nothing", "extends"},
		{"extends: secretz", `r.yaml:1:10: need the name of a rule set, found "secretz"`, `did you mean "secrets"?`},
		{"detectors:\n  emial: on", `r.yaml:2:3: need the name of a detector, found "emial"`, `did you mean "email"?`},
		{"detectors:\n  email: maybe", `r.yaml:2:10: need on or off, found "maybe"`, "classes"},
		{"headrs:\n  a: name", `r.yaml:1:1: need a section of a rule file, found "headrs"`, `did you mean "headers"?`},
		{"classes:\n  pan: tokenize", `r.yaml:2:8: need an action, found "tokenize"`, `did you mean "tokenise"?`},
		{"json:\n  a: {class: name, acton: drop}", `r.yaml:2:20: need class or action, found "acton"`, `did you mean "action"?`},
		{"json:\n  a: {action: drop}", "r.yaml:2:6: need a class, found none", "class"},
		{"json:\n  a: Bad Class", `r.yaml:2:6: need a class: 2 to 24 lower-case letters, digits and single underscores, or scan, or keep, found "Bad Class"`, ""},
		{"json:\n  a: name\n  a: name", `r.yaml:3:3: need each name once, found "a", which stands at line 2 too`, "remove"},
		{"json:\n  $.a[0]: name", `r.yaml:2:3: need a path such as $.user.cards[*].number, found "$.a[0]"`, "[*]"},
		{"json: [a]", "r.yaml:1:7: need a mapping: names and classes, found a list", ""},
		{"json:\n\ta: name", "r.yaml:2:1: need YAML, found found character that cannot start any token", ""},
		{"argon2id: {memory: 1}", `r.yaml:1:20: need a number from 8192 to 1048576, found "1"`, "KiB"},
		{"extends: ./missing.yaml", "missing.yaml: need a readable rule file, found no such file or directory", "extended at r.yaml:1:10"},
		{"a: 1\n---\nb: 2", "r.yaml: need one YAML document, found more than one", ""},
	} {
		_, err := ParseRules("r.yaml", []byte(c.text))
		var e *RuleError
		if !errors.As(err, &e) || e.Error() != c.want || !strings.Contains(e.Hint(), c.hint) {
			t.Errorf("%q\n got %v\nhint %q\nwant %s, %s", c.text, err, e.Hint(), c.want, c.hint)
		}
	}
	if _, err := Builtin("hippa"); err == nil || !strings.Contains(err.(*RuleError).Fix, `"hipaa"`) {
		t.Error(err)
	}
}

func TestExtends(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("base.yaml", "extends: gdpr_default\njson:\n  nick: name\n  \"*_ref\": reference\n")
	own := write("own.yaml", "extends: [./base.yaml]\ndetectors: {phone: off}\nclasses: {name: mask}\nfields:\n  order_ref: scan\n  email: {class: email, action: drop}\n")
	r, err := LoadRules(own)
	if err != nil {
		t.Fatal(err)
	}
	s := withRules(t, r)
	for in, want := range map[string]string{
		`{"nick":"ada","call":"+49 30 901820"}`:      `{"nick":"[masked]","call":"+49 30 901820"}`,
		`{"order_ref":"x","pay_ref":"y"}`:            `{"order_ref":"x","pay_ref":"<reference>"}`,
		`{"email":"a@b.org","to":"a@b.org","n":1}`:   `{"email":"","to":"<email>","n":1}`,
		`{"orderRef":"a@b.org","password":"secret"}`: `{"orderRef":"<email>","password":"<password>"}`,
	} {
		if got := shape(s.JSON([]byte(in)).Bytes()); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
	if got := fmt.Sprint(r.Names()); got != "[secrets gdpr_default base own]" {
		t.Errorf("made of %s", got)
	}
	a, b := write("a.yaml", "extends: ./b.yaml\n"), write("b.yaml", "extends: ./a.yaml\n")
	if _, err := LoadRules(a); err == nil || !strings.Contains(err.Error(), "circle") {
		t.Errorf("%s and %s: %v", a, b, err)
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	s := parseTest(t, "json:\n  $.user.name: name\n  items[*].card: pan\n  \"**.secret\": secret\n  $.list[*]: thing\n")
	const in = `{"user":{"name":"a","x":{"name":"b"}},"items":[{"card":1},{"card":"2"}],"q":{"secret":[1]},"list":["a",2]}`
	const want = `{"user":{"name":"<name>","x":{"name":"b"}},"items":[{"card":"<pan>"},{"card":"<pan>"}],"q":{"secret":["<secret>"]},"list":["<thing>","<thing>"]}`
	if got := shape(s.JSON([]byte(in)).Bytes()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestUnknown(t *testing.T) {
	t.Parallel()
	s := parseTest(t, "extends: secrets\nunknown: tokenise\njson: {status: keep, path: scan}\nheaders: {accept: keep}\n")
	if got := shape(s.JSON([]byte(`{"status":200,"path":"/x","new":"value","deep":{"n":[1,true,null]}}`)).Bytes()); got !=
		`{"status":200,"path":"/x","new":"<unknown>","deep":{"n":["<unknown>","<unknown>",null]}}` {
		t.Error(got)
	}
	if got := shape([]byte(s.Field(Header, "X-New", "v"))) + s.Field(Header, "Accept", "*/*"); got != "<unknown>*/*" {
		t.Error(got)
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	s := newTest(t)
	for _, c := range []struct {
		kind        Kind
		name, value string
		want        string
	}{
		{Header, "Authorization", "Bearer abcdefghijkl", "Bearer <bearer>"},
		{Header, "Cookie", "a=b; c=d", "<secret>"},
		{Header, "Accept", "text/html", "text/html"},
		{Header, "X-Forwarded-For", "10.0.0.1", "<ip>"},
		{Query, "token", "abc", "<secret>"},
		{Query, "q", "ada@example.org", "<email>"},
		{Cookie, "JSESSIONID", "abc", "<secret>"},
		{Form, "card-number", "4111111111111111", "<pan>"},
		{SQLColumn, "users.password", "x", "<password>"},
		{SQLColumn, "password", "x", "<password>"},
		{SQLParam, "$1", "DE89370400440532013000", "<iban>"},
		{Env, "API_TOKEN", "abc", "<secret>"},
		{Env, "PWD", "/home", "/home"},
		{Attr, "clientIp", "10.0.0.1", "<ip>"},
	} {
		once := s.Field(c.kind, c.name, c.value)
		if got := shape([]byte(once)); got != c.want {
			t.Errorf("%v %s: %s gives %s, want %s", c.kind, c.name, c.value, got, c.want)
		}
		if twice := s.Field(c.kind, c.name, once); twice != once {
			t.Errorf("%v %s: once %s, twice %s", c.kind, c.name, once, twice)
		}
	}
	env := s.Env([]string{"PATH=/bin", "DB_PASSWORD=x", "URL=postgres://u:p@h/d", "odd"})
	if got := shape([]byte(strings.Join(env, " "))); got != "PATH=/bin DB_PASSWORD=<password> URL=postgres://u:<conn_string>@h/d odd" {
		t.Error(got)
	}
}

// TestTokens: one value gives one token however it is written, and another
// under another salt.
func TestTokens(t *testing.T) {
	t.Parallel()
	s := newTest(t)
	for _, same := range [][]string{
		{"x 4111111111111111", "x 4111 1111 1111 1111", "x 4111-1111-1111-1111"},
		{"x Ada@Example.org", "x ada@example.org", "x ada%40example.org"},
		{"x DE89370400440532013000", "x DE89 3704 0044 0532 0130 00"},
		{"x +49 30 901820", "x +4930901820", "x 0049 30 901820"},
		{"x (415) 555-2671", "x +1 415 555 2671", "x 415.555.2671"},
	} {
		want := s.Text([]byte(same[0])).String()
		for _, text := range same[1:] {
			if got := s.Text([]byte(text)).String(); got != want {
				t.Errorf("%s gives %s, %s gives %s", same[0], want, text, got)
			}
		}
	}
	salt, err := NewSalt("other", []byte("another salt of enough bytes"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := New(s.rules, salt)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := s.Text([]byte("a@b.org")).String(), other.Text([]byte("a@b.org")).String(); a == b {
		t.Error("two salts, one token")
	}
	// What comes back in a later request, in whatever dress, still matches.
	tok := s.Text([]byte("a@b.org")).String()
	for _, text := range []string{tok, "email=" + tok + "&x=1", `{"email":"` + tok + `"}`} {
		if got := s.Text([]byte(text)).String(); got != text {
			t.Errorf("%s becomes %s", text, got)
		}
	}
}

func TestSalt(t *testing.T) {
	t.Parallel()
	r, err := Builtin("secrets")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", "short", strings.Repeat("\x00", 32)} {
		if _, err := NewSalt("x", []byte(key)); !errors.Is(err, ErrNoSalt) {
			t.Errorf("%q: %v", key, err)
		}
	}
	if _, err := New(r, Salt{Ref: "x"}); !errors.Is(err, ErrNoSalt) {
		t.Errorf("no salt: %v", err)
	}
	salt, err := NewSalt("local:x", []byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		if got := fmt.Sprintf(verb, salt); strings.Contains(got, "0123456789") || strings.Contains(got, "30313233") {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}

func TestArgon(t *testing.T) {
	t.Parallel()
	s := parseTest(t, "extends: gdpr_default\nclasses: {ssn: argon2id}\nargon2id: {time: 1, memory: 8192, threads: 1}\n")
	plain := newTest(t)
	a, b := s.Text([]byte("ssn 123-45-6789")).String(), s.Text([]byte("ssn 123 45 6789")).String()
	if a != b || a == plain.Text([]byte("ssn 123-45-6789")).String() || shape([]byte(a)) != "ssn <ssn>" {
		t.Errorf("%s, %s", a, b)
	}
	if len(s.argon.known) != 1 {
		t.Errorf("%d tokens are remembered", len(s.argon.known))
	}
}

// TestReport has counts, and no value.
func TestReport(t *testing.T) {
	t.Parallel()
	s := newTest(t)
	s.JSON([]byte(`{"password":"hunter2","m":"ada@example.org and bob@example.org"}`))
	b, err := json.Marshal(s.Report())
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"salt":"test:salt","rules":["secrets","gdpr_default","hipaa","pci"],"counts":[` +
		`{"rule":"email","class":"email","action":"tokenise","count":2},{"rule":"fields:password","class":"password","action":"tokenise","count":1}]}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
}
