package jfr

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// forged makes a chunk of types and records of our own choice.
type forged struct {
	names []string
	types []byte // the elements of the classes
	n     int    // of them
	body  []byte // what comes before the metadata
}

func (f *forged) name(s string) int64 {
	i := slices.Index(f.names, s)
	if i < 0 {
		i = len(f.names)
		f.names = append(f.names, s)
	}
	return int64(i)
}

func (f *forged) element(kind string, attr [][2]string, children int) []byte {
	b := appendVarint(nil, f.name(kind))
	b = appendVarint(b, int64(len(attr)))
	for _, a := range attr {
		b = appendVarint(appendVarint(b, f.name(a[0])), f.name(a[1]))
	}
	return appendVarint(b, int64(children))
}

// class adds a type; each field is its name and the number of its type.
func (f *forged) class(id int, name string, event bool, fields ...[2]string) {
	attr := [][2]string{{"id", fmt.Sprint(id)}, {"name", name}}
	if event {
		attr = append(attr, [2]string{"superType", "jdk.jfr.Event"})
	}
	f.n++
	f.types = append(f.types, f.element("class", attr, len(fields))...)
	for _, fd := range fields {
		f.types = append(f.types, f.element("field", [][2]string{{"name", fd[0]}, {"class", fd[1]}}, 0)...)
	}
}

func (f *forged) record(typ int64, content []byte) int {
	at := headerSize + len(f.body)
	r := append(make([]byte, sizeBytes), appendVarint(nil, typ)...)
	r = append(r, content...)
	putSize(r, len(r))
	f.body = append(f.body, r...)
	return at
}

// chunk puts it all together. pools is where the last checkpoint is.
func (f *forged) chunk(pools int, extra ...byte) []byte {
	root := f.element("root", nil, f.n)
	m := []byte{0, 0, 0}
	m = appendVarint(m, int64(len(f.names)))
	for _, n := range f.names {
		m = appendText(m, n)
	}
	m = append(append(append(m, root...), f.types...), extra...)
	meta := f.record(typeMetadata, m)
	b := append(make([]byte, headerSize), f.body...)
	copy(b, Magic)
	binary.BigEndian.PutUint16(b[4:], 2)
	binary.BigEndian.PutUint64(b[8:], uint64(len(b)))
	binary.BigEndian.PutUint64(b[16:], uint64(pools))
	binary.BigEndian.PutUint64(b[24:], uint64(meta))
	b[67] = 1
	return b
}

// checkpoint is one with the constants of one type.
func checkpoint(delta int64, typ int64, constants ...[]byte) []byte {
	b := appendVarint([]byte{0, 0}, delta)
	b = append(b, 0, 1)
	b = appendVarint(appendVarint(b, typ), int64(len(constants)))
	for i, c := range constants {
		b = append(appendVarint(b, int64(i+1)), c...)
	}
	return b
}

func text(s string) []byte { return appendText(nil, s) }

func events() []byte {
	var f forged
	f.class(2, "java.lang.String", false)
	f.class(3, "a.Event", true, [2]string{"who", "2"})
	at := f.record(typeCheckpoint, checkpoint(0, 2, text("ann@mail.example")))
	f.record(3, text("bob@mail.example"))
	f.record(3, append([]byte{encPool}, 1))
	return f.chunk(at)
}

func nested() []byte {
	var f forged
	f.class(2, "java.lang.String", false)
	f.class(3, "int", false)
	f.class(4, "a.Inner", false, [2]string{"key", "2"}, [2]string{"n", "3"})
	f.class(5, "a.Event", true, [2]string{"inner", "4"}, [2]string{"value", "2"})
	f.record(5, append(append(text("k"), 7), text("ann@mail.example")...))
	at := f.record(typeCheckpoint, checkpoint(0, 4, append(text("bob@mail.example"), 1)))
	return f.chunk(at)
}

func TestForged(t *testing.T) {
	huge := appendVarint(nil, 1<<40)
	tests := []struct {
		name string
		make func() []byte
		ok   bool
	}{
		{"a good one", events, true},
		{"types in types", nested, true},
		{"two constants of one id", func() []byte {
			var f forged
			f.class(2, "java.lang.String", false)
			twice := checkpoint(0, 2, text("ann@mail.example"))
			f.record(typeCheckpoint, twice)
			at := f.record(typeCheckpoint, checkpoint(0, 2, text("bob@mail.example")))
			return f.chunk(at)
		}, true},
		{"a type twice", func() []byte {
			var f forged
			f.class(2, "java.lang.String", false)
			f.class(2, "other", false)
			return f.chunk(f.record(typeCheckpoint, checkpoint(0, 2)))
		}, false},
		{"types within types without an end, and without bytes", func() []byte {
			var f forged
			f.class(10, "empty", false)
			for i := 11; i < 40; i++ { // each has ten of the one before
				var fields [][2]string
				for j := range 10 {
					fields = append(fields, [2]string{fmt.Sprint("f", j), fmt.Sprint(i - 1)})
				}
				f.class(i, fmt.Sprint("t", i), i == 39, fields...)
			}
			f.record(39, nil)
			return f.chunk(f.record(typeCheckpoint, checkpoint(0, 10)))
		}, false},
		{"a type within itself", func() []byte {
			var f forged
			f.class(2, "a.Loop", true, [2]string{"self", "2"}, [2]string{"again", "2"})
			f.record(2, make([]byte, 100))
			return f.chunk(f.record(typeCheckpoint, checkpoint(0, 2)))
		}, false},
		{"a count beyond all", func() []byte {
			var f forged
			f.class(2, "java.lang.String", false)
			return f.chunk(f.record(typeCheckpoint, append([]byte{0, 0, 0, 0, 1, 2}, huge...)))
		}, false},
		{"a text beyond all", func() []byte {
			var f forged
			f.class(2, "java.lang.String", false)
			f.class(3, "a.Event", true, [2]string{"who", "2"})
			f.record(3, append([]byte{encChars}, huge...))
			return f.chunk(f.record(typeCheckpoint, checkpoint(0, 2)))
		}, false},
		{"a checkpoint that follows itself", func() []byte {
			var f forged
			f.class(2, "java.lang.String", false)
			f.record(typeCheckpoint, checkpoint(0, 2))
			return f.chunk(f.record(typeCheckpoint, checkpoint(1, 2)))
		}, false},
		{"two checkpoints that follow one another", func() []byte {
			var f forged
			f.class(2, "java.lang.String", false)
			one := len(checkpoint(20, 2)) + sizeBytes + 1
			f.record(typeCheckpoint, checkpoint(int64(one), 2))
			return f.chunk(f.record(typeCheckpoint, checkpoint(-int64(one), 2)))
		}, false},
		{"bytes behind the metadata", func() []byte {
			var f forged
			f.class(2, "java.lang.String", false)
			at := f.record(typeCheckpoint, checkpoint(0, 2))
			return f.chunk(at, []byte("ann@mail.example")...)
		}, false},
		{"an address for a type's name", func() []byte {
			var f forged
			f.class(2, "java.lang.String", false)
			f.class(3, "ann@mail.example", false)
			return f.chunk(f.record(typeCheckpoint, checkpoint(0, 2)))
		}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := test.make()
			var out bytes.Buffer
			_, err := Scrub(&out, bytes.NewReader(b), int64(len(b)), clean)
			var format *FormatError
			if test.ok != (err == nil) || err != nil && !errors.As(err, &format) {
				t.Fatalf("error %v", err)
			}
			if bytes.Contains(out.Bytes(), []byte("mail.example")) {
				t.Error("an address is left")
			}
			if test.ok && !bytes.Contains(out.Bytes(), []byte("tok_x")) {
				t.Error("nothing was replaced")
			}
		})
	}
}

// Elements within elements are limited before the stack is.
func TestDeepMetadata(t *testing.T) {
	var f forged
	f.class(2, "java.lang.String", false)
	for range 100_000 {
		f.types = append(f.types, f.element("x", nil, 1)...)
	}
	f.n++
	b := f.chunk(f.record(typeCheckpoint, checkpoint(0, 2)))
	_, err := Scrub(&bytes.Buffer{}, bytes.NewReader(b), int64(len(b)), clean)
	var format *FormatError
	if !errors.As(err, &format) {
		t.Fatalf("error %v", err)
	}
}
