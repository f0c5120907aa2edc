package scrub

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"testing"
)

func TestGzip(t *testing.T) {
	t.Parallel()
	s := newTest(t)
	nested := gzipped([]byte("mail ada@example.org"))
	for range 3 {
		nested = gzipped(nested)
	}
	deep := nested
	for range maxDepth {
		deep = gzipped(deep)
	}
	bomb := gzipped(make([]byte, 64<<20))
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"body":      {gzipped([]byte("mail ada@example.org")), "mail <email>"},
		"nested":    {nested, "mail <email>"},
		"deep":      {deep, "<opaque>"},
		"bomb":      {bomb, "<opaque>"},
		"cut":       {nested[:len(nested)-3], "<opaque>"},
		"followed":  {append(bytes.Clone(nested), "mail ada@example.org"...), "<opaque>"},
		"too short": {[]byte{0x1f, 0x8b}, "\x1f\x8b"},
	} {
		once := s.Text(c.in).Bytes()
		plain := once
		for bytes.HasPrefix(plain, gzipMagic) {
			var err error
			if plain, err = gunzip(plain); err != nil {
				t.Fatal(name, err)
			}
		}
		if got := shape(plain); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if twice := s.Text(once).Bytes(); !bytes.Equal(twice, once) {
			t.Errorf("%s: scrubbing twice differs", name)
		}
		if got := stream(t, s, c.in, rand.New(rand.NewPCG(1, 1)), 5000); !bytes.Equal(got, once) {
			t.Errorf("%s: pieces give something else", name)
		}
	}
	// Within base64, a bomb is a token too.
	in := `{"body":"` + base64.StdEncoding.EncodeToString(bomb) + `"}`
	if got := shape(s.JSON([]byte(in)).Bytes()); got != `{"body":"<opaque>"}` {
		t.Errorf("a bomb in base64: %.100s", got)
	}
	large := append(bytes.Clone(gzipMagic), make([]byte, maxUnzip)...)
	if got := shape(s.Text(large).Bytes()); got != "<opaque>" {
		t.Errorf("large: %.100q", got)
	}
}
