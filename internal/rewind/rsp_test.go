package rewind

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

type duplex struct {
	io.Reader
	io.Writer
}

func TestWire(t *testing.T) {
	var sent bytes.Buffer
	all := strings.Repeat("a", 300) + "$#}*\x00\xff"
	if err := newWire(duplex{nil, &sent}).write(all); err != nil {
		t.Fatal(err)
	}
	if got, err := newWire(duplex{&sent, io.Discard}).read(); err != nil || got != all {
		t.Errorf("got %q, %v", got, err)
	}
	for in, want := range map[string]string{
		"+$OK#9a":             "OK",
		"noise$OK#9a":         "OK",
		"\x03$OK#9a":          interruptPacket,
		"$0* #7a":             "0000",
		"$OK#00$OK#9a":        "OK", // a wrong sum is asked for again
		"$QStartNoAckMode#b0": noAckPacket,
		"$}\x03#80":           "#",
		"$m#6d":               "m",
		"+++$#00":             "",
		"$x#78$y#79+":         "x",
	} {
		var acks bytes.Buffer
		got, err := newWire(duplex{strings.NewReader(in), &acks}).read()
		if err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
		if in == "$OK#00$OK#9a" && acks.String() != "-+" {
			t.Errorf("acknowledged with %q", acks.String())
		}
	}
	for _, in := range []string{"", "$", "$OK", "$OK#9", "$* #4a", "$}", "$" + strings.Repeat("a", maxPacket+1)} {
		if got, err := newWire(duplex{strings.NewReader(in), io.Discard}).read(); err == nil {
			t.Errorf("%.20q: got %.20q, want an error", in, got)
		}
	}
}

func FuzzWire(f *testing.F) {
	f.Add([]byte("+$OK#9a"))
	f.Add([]byte("$0* #7a$}\x03#80"))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := newWire(duplex{bytes.NewReader(in), io.Discard})
		for range 100 {
			if p, err := c.read(); err != nil {
				return
			} else if len(p) > maxPacket {
				t.Fatalf("%d bytes", len(p))
			}
		}
	})
}
