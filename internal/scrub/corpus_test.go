package scrub

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
)

// opened undoes the encodings of a document, for the test to look inside.
func opened(t *testing.T, kind, text string) string {
	body := func() string {
		var v struct{ Body string }
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%s: %v in %s", kind, err, text)
		}
		return v.Body
	}
	var plain []byte
	switch kind {
	case "form":
		s, err := url.QueryUnescape(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	case "json in json":
		return opened(t, "json", body())
	case "base64", "gzip":
		var err error
		if plain, err = base64.StdEncoding.DecodeString(body()); err != nil {
			return text // a token as a whole
		}
		if kind == "gzip" {
			if plain, err = gunzip(plain); err != nil {
				return text
			}
		}
		return opened(t, "json", string(plain))
	case "json", "json log":
		var v map[string]any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%s: %v in %s", kind, err, text)
		}
		var out strings.Builder
		for _, x := range v {
			if f, ok := x.(float64); ok {
				fmt.Fprintf(&out, "%.0f\n", f)
				continue
			}
			fmt.Fprintln(&out, x)
		}
		return out.String()
	}
	return text
}

func TestCorpus(t *testing.T) {
	t.Parallel()
	const documents = 2700
	c := corpus{rand.New(rand.NewPCG(corpusSeed, 0))}
	type score struct{ found, of, extra int }
	scores := map[Class]*score{}
	for _, class := range corpusClasses {
		scores[class] = &score{}
	}
	kinds := map[string]int{}
	fields, extra, shown := 0, 0, 0
	r, err := Builtin(BuiltinNames()...)
	if err != nil {
		t.Fatal(err)
	}
	for n := range documents {
		d := c.document(n)
		kinds[d.kind]++
		s := withRules(t, r)
		scrub := s.Text
		if d.json {
			scrub = s.JSON
		}
		clean := scrub([]byte(d.text))
		plain := opened(t, d.kind, clean.String())
		got, want := map[Class]int{}, map[Class]int{}
		for _, k := range s.Report().Counts {
			got[k.Class] += int(k.Count)
		}
		for _, f := range d.fields {
			fields++
			if f.class == "" {
				continue
			}
			want[f.class]++
			scores[f.class].of++
			if !strings.Contains(plain, secretPart(f)) && strings.Contains(plain, tokenPrefix+string(f.class)) {
				scores[f.class].found++
			} else if shown++; shown < 40 {
				t.Logf("%s: missed %s %q in\n%s\n%s", d.kind, f.class, f.value, d.text, plain)
			}
		}
		for class, k := range got {
			if k > want[class] {
				extra += k - want[class]
				if scores[class] != nil {
					scores[class].extra += k - want[class]
				}
				if shown++; shown < 40 {
					t.Logf("%s: %d times %s too many in\n%s\n%s", d.kind, k-want[class], class, d.text, plain)
				}
			}
		}
		if again := scrub(clean.Bytes()); again.String() != clean.String() {
			t.Errorf("%s: scrubbing twice differs:\n%s\n%s\n%s", d.kind, d.text, clean, again)
		}
	}
	t.Logf("%d documents with %d fields: %v", documents, fields, kinds)
	t.Logf("%-12s %6s %6s %8s %6s %9s", "class", "found", "of", "recall", "extra", "precision")
	for _, class := range corpusClasses {
		k := scores[class]
		recall := float64(k.found) / float64(k.of)
		t.Logf("%-12s %6d %6d %8.4f %6d %9.4f", class, k.found, k.of, recall, k.extra, float64(k.found)/float64(k.found+k.extra))
		least := 1.0
		if class == Phone {
			least = 0.98
		}
		if recall < least || k.of < 100 {
			t.Errorf("%s: recall %.4f of %d, want %.2f of 100 or more", class, recall, k.of, least)
		}
	}
	t.Logf("false positives: %d in %d fields, %.2f in 1000", extra, fields, float64(extra)*1000/float64(fields))
	if extra*1000 > fields {
		t.Errorf("%d false positives in %d fields, want at most 1 in 1000", extra, fields)
	}
}
