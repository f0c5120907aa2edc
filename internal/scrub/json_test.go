package scrub

import (
	"strings"
	"testing"
)

// TestUnchanged: what stays as it is isn't copied, nor is what was handed in
// written to when something changes.
func TestUnchanged(t *testing.T) {
	t.Parallel()
	s := newTest(t)
	for _, doc := range []string{`{"a":1,"ts":"2025-01-03T12:34:56Z"}`, " [1,2]\n", `{"a":"x\ty"} {"b":-1.5e3}`} {
		in := append(make([]byte, 0, 200), doc...)
		out := s.JSON(in).Bytes()
		if &in[0] != &out[0] || string(out) != doc || cap(out) != len(out) {
			t.Errorf("%s: %s, with room for %d", doc, out, cap(out))
		}
	}
	doc := `{"a":1,"b":"ada@example.org"}`
	in := []byte(doc)
	if out := s.JSON(in).Bytes(); string(in) != doc || &in[0] == &out[0] {
		t.Errorf("%s becomes %s in its place", doc, in)
	}
}

// TestQuiet: base64 is opened even where no byte of it makes the scanner look.
func TestQuiet(t *testing.T) {
	t.Parallel()
	s := newTest(t)
	for _, run := range []string{"YVdqQHpSZVlLLkNjZQ", "YnZjZWggcHdkPWhmcXZwdXQ"} { // an address, a password
		for _, c := range []byte(run) {
			if s.scanner.table[c] != trigNone {
				t.Fatalf("%c in %s is looked at", c, run)
			}
		}
		doc := `{"a":"` + run + `","` + run + `":1}`
		if got := s.JSON([]byte(doc)).String(); strings.Contains(got, run) {
			t.Errorf("%s becomes %s", doc, got)
		}
	}
}

// TestShort: values that are passed over by their length are none that a
// detector finds, and the shortest ones that it finds are not.
func TestShort(t *testing.T) {
	t.Parallel()
	s := newTest(t)
	for doc, want := range map[string]string{
		`{"a":4222222222222}`:                           `{"a":"<pan>"}`, // 13 digits
		`{"a":4.222222222222e12}`:                       `{"a":"<pan>"}`,
		`{"a":42.22222222222e11}`:                       `{"a":"<pan>"}`,
		`{"a":422222222222}`:                            `{"a":422222222222}`,
		`{"a":-123456789}`:                              `{"a":-123456789}`,
		`{"a":"a@b.de"}`:                                `{"a":"<email>"}`, // 6 characters
		`{"a":"2025-01-03T4111"}`:                       `{"a":"2025-01-03T4111"}`,
		`{"a":"2025-01-03T12:34:56.4111111111111111Z"}`: `{"a":"2025-01-03T12:34:56.4111111111111111Z"}`,
		`{"a":"2025-01-03T12:34:56.5Z@b.de"}`:           `{"a":"2025-01-03T12:34:<email>"}`,
		`{"a":"2025-01-03T12:34:56.5Z ada@b.de"}`:       `{"a":"2025-01-03T12:34:56.5Z <email>"}`,
		`{"a":"2025-01-03T12:34:56 10.9.8.7"}`:          `{"a":"2025-01-03T12:34:56 <ip>"}`,
		`{"a":"+4930123456"}`:                           `{"a":"<phone>"}`,
		`{"a":"+12345678."}`:                            `{"a":"<phone>."}`,
		`{"a":"\u0061@b.de"}`:                           `{"a":"<email>"}`,
	} {
		if got := shape(s.JSON([]byte(doc)).Bytes()); got != want {
			t.Errorf("%s becomes %s, not %s", doc, got, want)
		}
	}
}
