package scrub

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// fires names what the detectors still find in scrubbed text.
func fires(s *Scrubber, b []byte) []string {
	var st state
	s.scanner.scan(b, &st)
	var found []string
	for _, h := range st.hits {
		name := "schema"
		if h.det < numDetectors {
			name = detectorNames[h.det]
		} else if h.rep != nil {
			name = "encoded"
		}
		found = append(found, name+": "+string(b[h.start:h.end]))
	}
	return found
}

// check holds for any text.
func check(t *testing.T, s *Scrubber, b []byte) {
	t.Helper()
	once := s.Text(b)
	if twice := s.Text(once.Bytes()); !bytes.Equal(once.b, twice.b) {
		t.Errorf("scrubbing twice differs\nin    %q\nonce  %q\ntwice %q", b, once.b, twice.b)
	}
	if len(once.b) < blockSize {
		if found := fires(s, once.b); found != nil {
			t.Errorf("in scrubbed text is %q\nin   %q\nonce %q", found, b, once.b)
		}
	}
}

func FuzzText(f *testing.F) {
	c := corpus{rand.New(rand.NewPCG(corpusSeed, 1))}
	for n := range 40 {
		f.Add([]byte(c.document(n).text))
	}
	s := newTest(f)
	formats := parseTest(f, formatRules)
	f.Fuzz(func(t *testing.T, b []byte) {
		check(t, s, b)
		check(t, formats, b)
	})
}

func FuzzJSON(f *testing.F) {
	c := corpus{rand.New(rand.NewPCG(corpusSeed, 2))}
	for n := range 40 {
		f.Add([]byte(c.document(n).text))
	}
	f.Add([]byte(`{"a":{"password":["x",1,null,true]},"\ud83d\ude00":"\ud800"}`))
	s := newTest(f)
	closed := parseTest(f, "extends: hipaa\nunknown: mask\n")
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, s := range []*Scrubber{s, closed} {
			once := s.JSON(b)
			if json.Valid(b) && !json.Valid(once.b) {
				t.Errorf("%q becomes %q, which is no JSON", b, once.b)
			}
			if !json.Valid(b) {
				continue // through Text, of which it holds; what comes out may be JSON
			}
			if twice := s.JSON(once.b); !bytes.Equal(once.b, twice.b) {
				t.Errorf("scrubbing twice differs\nin    %q\nonce  %q\ntwice %q", b, once.b, twice.b)
			}
		}
	})
}

func FuzzRules(f *testing.F) {
	for _, name := range BuiltinNames() {
		text, err := ruleFiles.ReadFile("rules/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(formatRules))
	f.Add([]byte("json:\n  $.a.**.b[*]: name\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseRules("f.yaml", text)
		if err != nil {
			if strings.Contains(err.Error(), "panic") {
				t.Error(err)
			}
			return
		}
		if r.hasArgonAction() {
			return // minutes of work
		}
		withRules(t, r).JSON([]byte(`{"a":[{"b":"x"}],"email":"a@b.org"}`))
	})
}

func (r *Rules) hasArgonAction() bool {
	if r.unknown == Argon {
		return true
	}
	for _, a := range r.actions {
		if a == Argon {
			return true
		}
	}
	for k := range r.fields {
		for _, f := range r.fields[k].exact {
			if f.action == Argon {
				return true
			}
		}
		for _, p := range r.fields[k].patterns {
			if p.field.action == Argon {
				return true
			}
		}
	}
	for _, p := range r.paths {
		if p.field.action == Argon {
			return true
		}
	}
	return false
}

// stream writes b in pieces of sizes that rng draws.
func stream(t *testing.T, s *Scrubber, b []byte, rng *rand.Rand, largest int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := s.NewWriter(&out)
	for len(b) > 0 {
		n := min(len(b), 1+rng.IntN(largest))
		if k, err := w.Write(b[:n]); k != n || err != nil {
			t.Fatal(k, err)
		}
		b = b[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestChunks: a stream gives the same in whatever pieces it comes.
func TestChunks(t *testing.T) {
	t.Parallel()
	s := newTest(t)
	c := corpus{rand.New(rand.NewPCG(corpusSeed, 3))}
	var lines, one bytes.Buffer
	for n := 0; lines.Len() < 400<<10; n++ {
		d := c.document(n).text
		lines.WriteString(d + "\n")
		one.WriteString(strings.ReplaceAll(d, "\n", " ") + ",")
	}
	letters := bytes.Repeat([]byte("YWFh"), 60<<10)
	long := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("text with ada@example.org in it, "), 8000))
	packed := base64.StdEncoding.EncodeToString(gzipped(lines.Bytes()))
	random := make([]byte, 300<<10)
	for i := range random {
		random[i] = byte(c.Uint32())
	}
	for name, in := range map[string][]byte{"lines": lines.Bytes(), "one line": one.Bytes(), "letters": letters, "base64": []byte("x " + long + " y\n"), "gzip": []byte("x:" + packed + "\nend"), "random": random} {
		want := s.Text(in).Bytes()
		for _, largest := range []int{1, 7, 1000, 50 << 10, 200 << 10} {
			if largest == 1 && len(in) > 500<<10 {
				continue
			}
			if got := stream(t, s, in, c.Rand, largest); !bytes.Equal(got, want) {
				t.Errorf("%s: pieces of up to %d bytes give something else", name, largest)
			}
		}
		if name == "base64" || name == "gzip" {
			if got := shape(want); strings.Count(got, "<opaque>") != 1 || len(got) > 20 {
				t.Errorf("%s: what is too long to be opened becomes %.200s", name, got)
			}
		}
		if twice := s.Text(want).Bytes(); !bytes.Equal(twice, want) {
			i := 0
			for i < min(len(twice), len(want)) && twice[i] == want[i] {
				i++
			}
			t.Errorf("%s: scrubbing twice differs at %d: %q, %q", name, i, want[max(0, i-100):min(len(want), i+100)], twice[max(0, i-100):min(len(twice), i+100)])
		}
	}
}

func FuzzWriter(f *testing.F) {
	c := corpus{rand.New(rand.NewPCG(corpusSeed, 4))}
	for n := range 10 {
		f.Add([]byte(c.document(n).text), uint64(n), uint16(10000))
	}
	s := newTest(f)
	f.Fuzz(func(t *testing.T, b []byte, seed uint64, times uint16) {
		if len(b) == 0 {
			return
		}
		b = bytes.Repeat(b, 1+min(int(times), (200<<10)/len(b)))
		if got := stream(t, s, b, rand.New(rand.NewPCG(seed, 0)), 1+len(b)/3); !bytes.Equal(got, s.Text(b).Bytes()) {
			t.Error("pieces give something else")
		}
	})
}

// boundary finds values wherever they stand in a long stream.
func TestBoundary(t *testing.T) {
	t.Parallel()
	s := newTest(t)
	for _, fill := range []string{"x ", "abc,", "line of text\n", "0123456789abcdef"} {
		for at := blockSize - 200; at < blockSize+40; at += 7 {
			in := strings.Repeat(fill, 1+at/len(fill))[:at] + " mail ada@example.org card 4111 1111 1111 1111 , " + strings.Repeat(fill, 9000)
			got := s.Text([]byte(in)).String()
			if strings.Contains(got, "ada@") || strings.Contains(got, "4111 1111") {
				t.Fatalf("%q: a value at %d stays", fill, at)
			}
		}
	}
}

// TestLongLine: a line of 100 MB takes no more memory than a short one.
func TestLongLine(t *testing.T) {
	t.Parallel()
	s := newTest(t)
	piece := []byte(strings.Repeat("value without an end, ", 2000) + "ada@example.org ")
	in := &repeat{piece: piece, left: 100 << 20}
	w := s.NewWriter(io.Discard)
	if _, err := io.Copy(struct{ io.Writer }{w}, struct{ io.Reader }{in}); err != nil {
		t.Fatal(err)
	}
	if buf := w.(*writer); cap(buf.buf) > 4*blockSize || cap(buf.out) > 16*blockSize {
		t.Errorf("buffers of %d and %d bytes", cap(buf.buf), cap(buf.out))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var n int64
	for _, c := range s.Report().Counts {
		n += c.Count
	}
	if want := int64(100 << 20 / len(piece)); n < want || n > want+1 {
		t.Errorf("%d of %d addresses", n, want)
	}
}

type repeat struct {
	piece []byte
	off   int
	left  int
}

func (r *repeat) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.left)], r.piece[r.off:])
	r.off = (r.off + n) % len(r.piece)
	r.left -= n
	return n, nil
}

// TestLongValue: a value of a known name is gone whatever its length, and
// wherever the blocks end.
func TestLongValue(t *testing.T) {
	t.Parallel()
	s := newTest(t)
	for _, quoted := range []bool{true, false} {
		for _, before := range []int{0, 100, blockSize - 20, blockSize - 8, blockSize - 3} {
			for _, n := range []int{10, 5000, 70 << 10, 200 << 10} {
				value := strings.Repeat("hunter2", n/7)
				in := strings.Repeat("x ", before/2) + `{"password":"` + value + `","a":1}`
				if !quoted {
					in = strings.Repeat("x ", before/2) + `password=` + value + " a"
				}
				got := s.Text([]byte(in)).String()
				if strings.Contains(got, "hunter") || strings.Count(got, "tok_password") != 1 || len(got) > before+80 {
					t.Errorf("quoted %v, %d before, %d long: %.200s", quoted, before, n, strings.TrimLeft(got, "x "))
				}
			}
		}
	}
}
