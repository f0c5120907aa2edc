package volatile

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

const example = `version: 1
volatile:
  - method: POST
    authority: "*.example.test"
    path: /orders/*/items
    field: body.items[*].id
    kind: uuid
  - path: /**
    field: query.ts
    kind: time
  - {field: 'path[2]', kind: counter}
  - {field: 'body["a.b"].*[3]', kind: any, shape: 'x-\d+'}
`

func TestParse(t *testing.T) {
	r, err := Parse("r.yaml", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Name(0); got != `r.yaml:3: POST *.example.test /orders/*/items body.items[*].id is uuid` {
		t.Error(got)
	}
	first := &r.List[0]
	for _, c := range []struct {
		method, authority, path string
		want                    bool
	}{
		{"POST", "api.example.test", "/orders/17/items", true},
		{"PUT", "api.example.test", "/orders/17/items", false},
		{"POST", "example.test", "/orders/17/items", false},
		{"POST", "api.example.test", "/orders/17/18/items", false},
		{"POST", "api.example.test", "/orders/17/items/", false},
	} {
		if got := first.Applies(c.method, c.authority, c.path); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if !r.List[3].Fits("x-17") || r.List[3].Fits("ax-17") {
		t.Error("a shape is of the whole value")
	}
	doc := map[string]any{"items": []any{map[string]any{"id": "a"}, map[string]any{"id": "b", "x": 1}}}
	first.Field.Replace(doc, func(any) any { return "?" })
	if b, _ := json.Marshal(doc); string(b) != `{"items":[{"id":"?"},{"id":"?","x":1}]}` {
		t.Errorf("%s", b)
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"/**", "/", true}, {"/**", "/a/b", true}, {"/**/c", "/a/b/c", true}, {"/**/c", "/c", true}, {"/**/c", "/a/c/d", false},
		{"/a/**/b/**/c", "/a/x/b/b/c", true}, {"/v*/x", "/v1/x", true}, {"/*", "/a/b", false}, {"**", "/a/b", true}, {"/a*b*c", "/abbc", true}, {"/a*b*c", "/acb", false},
	} {
		if got := segments(strings.Split(c.pattern, "/"), strings.Split(c.path, "/")); got != c.want {
			t.Errorf("%s of %s: %v", c.pattern, c.path, got)
		}
	}
}

func TestLooks(t *testing.T) {
	for k, values := range map[Kind][2][]string{
		Time:    {{"2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123456+01:00", "2026-01-02 03:04", "2026-01-02", "Fri, 02 Jan 2026 03:04:05 GMT", "1767323045", "1767323045123", "1767323045.25", "1767323045123456789"}, {"12", "x", "", "2026", "tomorrow"}},
		UUID:    {{"0188c2a4-1111-7222-8333-444455556666"}, {"0188c2a4111172228333444455556666", "0188c2a4-1111-7222-8333-44445555666g", " 0188c2a4-1111-7222-8333-444455556666"}},
		Nonce:   {{"a8f3b2c1", "Zm9vYmFy+/=="}, {"short", "two words", ""}},
		Counter: {{"0", "-3", "17"}, {"1.5", "", "x1"}},
		Any:     {{"", "anything at all"}, nil},
	} {
		for i, list := range values {
			for _, v := range list {
				if Looks(k, v) != (i == 0) {
					t.Errorf("%s: %q", k, v)
				}
			}
		}
	}
}

// TestErrors: each says where, what is needed, what was found, and what may
// have been meant. The schema refuses them too.
func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "r.yaml: need rules, found an empty file",
		"a: [":                     "r.yaml:1:1: need YAML, found did not find expected node content",
		"- 1":                      "r.yaml:1:1: need the fields version, volatile, found a list",
		"version: 1":               "r.yaml:1:1: volatile: need this field, found none",
		"version: 2":               `r.yaml:1:10: version: need 1, found "2"`,
		"volatil: []":              `r.yaml:1:1: need one of the fields version, volatile, found "volatil" did you mean "volatile"?`,
		"version: 1\nvolatile: {}": "r.yaml:2:11: volatile: need a list of rules, found a map",
		"version: 1\nvolatile:\n- {field: query.a}":                             "r.yaml:3:3: volatile[0].kind: need this field, found none",
		"version: 1\nvolatile:\n- {field: query.a, kind: uid}":                  `r.yaml:3:26: volatile[0].kind: need one of time, uuid, nonce, counter, any, found "uid" did you mean "uuid"?`,
		"version: 1\nvolatile:\n- {field: qury.a, kind: any}":                   `r.yaml:3:11: volatile[0].field: need query.NAME, header.NAME, form.NAME, path[N] or body.PATH such as body.items[*].id, found "qury.a" (the place "qury") did you mean "query"?`,
		"version: 1\nvolatile:\n- {feild: query.a, kind: any}":                  `r.yaml:3:4: volatile[0]: need one of the fields method, authority, path, field, kind, shape, found "feild" did you mean "field"?`,
		"version: 1\nvolatile:\n- {field: 'path[0]', kind: any}":                `no number of a segment`,
		"version: 1\nvolatile:\n- {field: body, kind: any}":                     `no path into the body`,
		"version: 1\nvolatile:\n- {field: query, kind: any}":                    `no name`,
		"version: 1\nvolatile:\n- {field: 'body.a[', kind: any}":                `does not close`,
		"version: 1\nvolatile:\n- {field: body.a, kind: any, shape: '('}":       `need a regular expression (RE2), found "(" (`,
		"version: 1\nvolatile:\n- {method: post, field: body.a, kind: any}":     `did you mean "POST"?`,
		"version: 1\nvolatile:\n- {path: orders, field: body.a, kind: any}":     `need a path from / on`,
		"version: 1\nvolatile:\n- {authority: 'http://a', field: q, kind: any}": `need a host`,
		"version: 1\nvolatile:\n- {field: body.a, field: body.b, kind: any}":    `need it once, found it again`,
		"version: 1\nvolatile:\n- {field: &a body.a, kind: any}":                `an anchor or alias`,
		"version: 1\nvolatile: []\n---\nversion: 1":                             `need one document`,
	} {
		_, err := Parse("r.yaml", []byte(text))
		e, ok := err.(*RuleError)
		if !ok || !strings.Contains(strings.TrimSpace(e.Error()+" "+e.Hint()), want) {
			t.Errorf("%q: %v %v", text, err, want)
		}
		var v any
		if yaml.Unmarshal([]byte(text), &v) == nil && !strings.Contains(text, "---") && !strings.Contains(text, "&") && !strings.Contains(text, "[',") && validate(t, v) == nil {
			t.Errorf("the schema takes %q", text)
		}
	}
}

func validate(t testing.TB, v any) error {
	t.Helper()
	j, err := json.Marshal(v)
	if err != nil {
		return err
	}
	s, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("rules.json", s); err != nil {
		t.Fatal(err)
	}
	sch, err := c.Compile("rules.json")
	if err != nil {
		t.Fatal(err)
	}
	inst, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
	if err != nil {
		t.Fatal(err)
	}
	return sch.Validate(inst)
}

func TestEncode(t *testing.T) {
	r, err := Parse("r.yaml", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	r.List[0].Note = []string{"recorded \"a\nb\": 1", "second"}
	circle(t, r)
	for _, empty := range []*Rules{{}, r} {
		b, err := empty.Encode("a proposal")
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := yaml.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		if err := validate(t, v); err != nil {
			t.Errorf("%v\n%s", err, b)
		}
		if !Is(b) {
			t.Error("not known as one")
		}
	}
	if Is([]byte("detectors:\n  jwt: on\n")) {
		t.Error("a rule file of another kind is taken for one")
	}
}

// circle writes rules and reads them again.
func circle(t *testing.T, r *Rules) {
	t.Helper()
	b, err := r.Encode("comment")
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(r.File, b)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	for i := range again.List {
		again.List[i].Line, again.List[i].Note = r.List[i].Line, r.List[i].Note
	}
	if len(again.List) != len(r.List) || len(r.List) > 0 && !reflect.DeepEqual(again.List, r.List) {
		t.Errorf("%+v\n%+v\n%s", r.List, again.List, b)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("version: 1\nvolatile:\n- {field: 'body[\"\\x00\"][*].*', kind: any, shape: '(?i)a|b'}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Parse("r.yaml", text)
		if err != nil {
			if e, ok := err.(*RuleError); !ok || e.Need == "" || e.Found == "" {
				t.Errorf("%#v", err)
			}
			return
		}
		if !Is(text) {
			t.Error("parsed, and not known as one")
		}
		circle(t, r)
		for i := range r.List {
			_ = r.Name(i)
			r.List[i].Applies("GET", "a", "/a/b")
			r.List[i].Fits("x")
		}
	})
}
