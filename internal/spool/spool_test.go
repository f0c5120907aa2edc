package spool

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

func scrubber(t testing.TB) *scrub.Scrubber {
	t.Helper()
	r, err := scrub.Builtin("secrets")
	if err != nil {
		t.Fatal(err)
	}
	salt, err := scrub.NewSalt("test:salt", []byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := scrub.New(r, salt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustOpen(t testing.TB, dir string, opt Options) *Spool {
	t.Helper()
	s, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func all(t testing.TB, dir string) (records []Record, damage []error) {
	t.Helper()
	for rec, err := range Read(dir) {
		var d *DamagedError
		if errors.As(err, &d) {
			damage = append(damage, err)
		} else if err != nil {
			t.Fatal(err)
		} else {
			records = append(records, rec)
		}
	}
	return records, damage
}

func TestAppendAndRead(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "spool")
	clean := scrubber(t)
	var want []Record
	for run := range 3 {
		s := mustOpen(t, dir, Options{})
		for i := range 10 {
			seq, err := s.Append("log", clean.Text(fmt.Appendf(nil, "run %d line %d", run, i)))
			if err != nil || seq != uint64(run*10+i) {
				t.Fatalf("record %d: %v", seq, err)
			}
			want = append(want, Record{Seq: seq, Kind: "log", Data: fmt.Appendf(nil, "run %d line %d", run, i)})
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Append("log", scrub.Clean{}); !errors.Is(err, ErrClosed) {
			t.Errorf("append after close: %v", err)
		}
	}
	got, damage := all(t, dir)
	if fmt.Sprint(got) != fmt.Sprint(want) || damage != nil {
		t.Errorf("read %v %v, want %v", got, damage, want)
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, _ := e.Info(); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v", info.Mode())
	}
}

// TestDamage cuts a segment at every byte, and flips every byte: what comes
// before is read, and nothing is invented.
func TestDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{})
	clean := scrubber(t)
	ends := []int{headerSize}
	var want []Record
	for i := range 8 {
		data := bytes.Repeat([]byte{byte('a' + i)}, i*5)
		if _, err := s.Append("k", clean.Text(data)); err != nil {
			t.Fatal(err)
		}
		want = append(want, Record{Seq: uint64(i), Kind: "k", Data: data})
		ends = append(ends, ends[len(ends)-1]+frameSize+1+len(data))
	}
	s.Close()
	name := fmt.Sprintf("%016x%s", 0, suffix)
	whole, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || len(whole) != ends[len(ends)-1] {
		t.Fatalf("a segment of %d bytes, %v", len(whole), err)
	}
	check := func(what string, b []byte, intact int) {
		t.Helper()
		var got []Record
		var damage error
		parse(bytes.NewReader(b), segment{name: name, size: int64(len(b))}, func(r Record, err error) bool {
			if err != nil {
				damage = err
			} else {
				got = append(got, r)
			}
			return true
		})
		if len(got) != intact || intact > 0 && fmt.Sprint(got) != fmt.Sprint(want[:intact]) {
			t.Fatalf("%s: read %d records, want %d", what, len(got), intact)
		}
		if damage == nil && len(b) != 0 && intact < len(want) && len(b) != ends[intact] {
			t.Fatalf("%s: damage isn't told", what)
		}
	}
	before := func(at int) (n int) {
		for n < len(want) && ends[n+1] <= at {
			n++
		}
		return n
	}
	for i := range len(whole) {
		check(fmt.Sprintf("cut at %d", i), whole[:i], before(i))
		for _, bit := range []byte{1, 0x80} {
			flipped := bytes.Clone(whole)
			flipped[i] ^= bit
			intact := before(i)
			if i < headerSize {
				intact = 0
			}
			check(fmt.Sprintf("flip at %d", i), flipped, intact)
		}
		// A writer goes on after any of it, and its records are read.
		if i%17 == 0 {
			again := t.TempDir()
			if err := os.WriteFile(filepath.Join(again, name), whole[:i], 0o600); err != nil {
				t.Fatal(err)
			}
			s := mustOpen(t, again, Options{})
			seq, err := s.Append("k", clean.Text([]byte("new")))
			s.Close()
			got, _ := all(t, again)
			if err != nil || seq != uint64(before(i)) || len(got) != before(i)+1 || string(got[before(i)].Data) != "new" {
				t.Fatalf("after a cut at %d: %v, record %d, %d records", i, err, seq, len(got))
			}
		}
	}
}

func TestRing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{MaxBytes: 4000, SegmentBytes: 1000, SyncBytes: -1})
	clean := scrubber(t)
	data := clean.Text(bytes.Repeat([]byte("x"), 100))
	for i := range 500 {
		if _, err := s.Append("k", data); err != nil {
			t.Fatal(err)
		}
		segments, _ := list(dir)
		var total int64
		for _, g := range segments {
			total += g.size
		}
		if total > 4000 {
			t.Fatalf("record %d: %d bytes", i, total)
		}
	}
	got, damage := all(t, dir)
	dropped := s.Dropped()
	if damage != nil || dropped == 0 || got[0].Seq != dropped || int(dropped)+len(got) != 500 {
		t.Errorf("%d records from %d on, %d dropped, %v", len(got), got[0].Seq, dropped, damage)
	}
	var size *SizeError
	if _, err := s.Append("k", clean.Text(make([]byte, 2000))); !errors.As(err, &size) {
		t.Errorf("too large a record: %v", err)
	}
	if _, err := Open(dir, Options{MaxBytes: 4000, SegmentBytes: 1000}); err == nil {
		t.Error("two writers")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{})
	clean := scrubber(t)
	if _, err := s.Append("k", clean.Text([]byte("one"))); err != nil {
		t.Fatal(err)
	}
	s.write = func(f *os.File, b []byte) (int, error) {
		n, _ := f.Write(b[:len(b)/2])
		return n, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
	}
	var full *FullError
	if _, err := s.Append("k", clean.Text([]byte("two"))); !errors.As(err, &full) || full.Hint() == "" || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("full disk: %v", err)
	}
	if got, damage := all(t, dir); len(got) != 1 || damage != nil {
		t.Errorf("full disk: %v %v", got, damage)
	}
	s.write = (*os.File).Write
	if seq, err := s.Append("k", clean.Text([]byte("three"))); err != nil || seq != 1 {
		t.Errorf("room again: %d, %v", seq, err)
	}
	if got, damage := all(t, dir); len(got) != 2 || damage != nil {
		t.Errorf("room again: %v %v", got, damage)
	}
}

// TestOnlyClean type-checks programs that try to spool what was not scrubbed.
func TestOnlyClean(t *testing.T) {
	t.Parallel()
	fset := token.NewFileSet()
	conf := types.Config{Importer: importer.ForCompiler(fset, "source", nil)}
	check := func(body string) error {
		src := "package p\nimport (\n\"github.com/tapedeck-dev/tapedeck/internal/scrub\"\n\"github.com/tapedeck-dev/tapedeck/internal/spool\"\n)\n" +
			"func f(s *spool.Spool, c *scrub.Scrubber, raw []byte) {\n" + body + "\n}\nvar _ scrub.Clean\n"
		f, err := parser.ParseFile(fset, "p.go", src, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = conf.Check("github.com/tapedeck-dev/tapedeck/internal/p", fset, []*ast.File{f}, nil)
		return err
	}
	if err := check("s.Append(`k`, c.Text(raw))"); err != nil {
		t.Fatalf("the right way: %v", err)
	}
	for _, body := range []string{
		"s.Append(`k`, raw)",
		"s.Append(`k`, string(raw))",
		"s.Append(`k`, scrub.Clean{raw})",
		"s.Append(`k`, scrub.Clean{b: raw})",
		"s.Append(`k`, scrub.Clean(raw))",
		"s.Append(`k`, struct{ b []byte }{raw})",
		"s.Append(`k`, scrub.Clean(struct{ b []byte }{raw}))",
		"var x scrub.Clean; x.b = raw; s.Append(`k`, x)",
	} {
		if err := check(body); err == nil {
			t.Errorf("%s compiles", body)
		} else if strings.Contains(err.Error(), "could not import") {
			t.Fatal(err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(magic + "\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add(appendRecord([]byte(magic+"\x00\x00\x00\x00\x00\x00\x00\x00"), 0, "k", []byte("data")))
	f.Fuzz(func(t *testing.T, b []byte) {
		// What is read is what was written: it gives the same bytes again.
		out := []byte(magic + "\x00\x00\x00\x00\x00\x00\x00\x00")
		parse(bytes.NewReader(b), segment{size: int64(len(b))}, func(r Record, err error) bool {
			if err == nil {
				out = appendRecord(out, r.Seq, r.Kind, r.Data)
			}
			return true
		})
		if len(out) > headerSize && !bytes.HasPrefix(b, out) {
			t.Errorf("records were invented")
		}
	})
}
