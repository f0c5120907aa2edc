package rewind

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// dump writes a value in a form that shows what was parsed.
func dump(v value) string {
	switch {
	case v.fields != nil:
		var parts []string
		for _, f := range v.fields {
			parts = append(parts, f.name+": "+dump(f.value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case v.items != nil:
		var parts []string
		for _, i := range v.items {
			parts = append(parts, dump(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprintf("%q", v.text)
}

// TestParseGolden reads a session that gdb 13.1 wrote.
func TestParseGolden(t *testing.T) {
	in, err := os.ReadFile("testdata/mi/session.mi")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(in)) {
		line = strings.TrimSuffix(line, "\n")
		r, err := parseRecord(line)
		switch {
		case errors.Is(err, errPrompt):
			out.WriteString("prompt\n")
		case err != nil:
			fmt.Fprintf(&out, "no record: %v: %s\n", err, line)
		case r.class == "":
			fmt.Fprintf(&out, "%c %q\n", r.kind, r.text)
		default:
			fmt.Fprintf(&out, "%c %d %s %s\n", r.kind, r.token, r.class, dump(r.results))
		}
	}
	const golden = "testdata/mi/session.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("differs from %s (rewrite it with -update):\n%s", golden, out.String())
	}
}

func TestParseRecord(t *testing.T) {
	for line, want := range map[string]string{
		`12^done`:                               `{}`,
		`^done,a="b"`:                           `{a: "b"}`,
		`*stopped,frame={args=[],line="3"}`:     `{frame: {args: "", line: "3"}}`,
		`^done,s=[f={n="1"},f={n="2"}]`:         `{s: [{n: "1"}, {n: "2"}]}`,
		`^done,l=["a","b"],t={}`:                `{l: ["a", "b"], t: ""}`,
		`^error,msg="No symbol \"x\" \\ \t"`:    `{msg: "No symbol \"x\" \\ \t"}`,
		`^done,v="\303\244\000\1779"`:           `{v: "ä\x00\x7f9"}`,
		`^done,asm_insns=[{inst="mov (%rax)"}]`: `{asm_insns: [{inst: "mov (%rax)"}]}`,
	} {
		r, err := parseRecord(line)
		got := dump(r.results)
		if r.results.fields == nil {
			got = "{}"
		}
		if err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", line, got, err, want)
		}
	}
	for _, line := range []string{
		"", "12", "hello", "^", "^done,", "^done,a", "^done,a=", `^done,a="x`, `^done,a={`, `^done,a=[`, `^done,a=["x"`,
		`^done,a=["x" "y"]`, `^done,a={b}`, `^done,="x"`, `~x`, `~"x"y`, `~"x\`, `^done,a={b="1",}`,
		`99999999999999999999^done`, "^done,a=" + strings.Repeat("[", 10_000),
	} {
		if r, err := parseRecord(line); err == nil {
			t.Errorf("%.40q: got %s, want an error", line, dump(r.results))
		}
	}
	if _, err := parseRecord("(gdb) "); !errors.Is(err, errPrompt) {
		t.Errorf("the prompt: %v", err)
	}
}

// FuzzMI: what gdb sends never panics, and what quote writes comes back.
func FuzzMI(f *testing.F) {
	in, err := os.ReadFile("testdata/mi/session.mi")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(in)) {
		f.Add(strings.TrimSuffix(line, "\n"))
	}
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := parseRecord(s); err == nil && len(dump(r.results)) > 16*len(s)+64 {
			t.Errorf("%d bytes became %d", len(s), len(dump(r.results)))
		}
		r, err := parseRecord("~" + quote(s))
		if err != nil || r.text != s {
			t.Errorf("%q came back as %q, %v", s, r.text, err)
		}
	})
}
