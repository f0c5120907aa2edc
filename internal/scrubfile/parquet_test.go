package scrubfile

import (
	"bytes"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

type inner struct {
	Email string  `parquet:"email,optional"`
	Score float64 `parquet:"score"`
}

type row struct {
	Kind  string            `parquet:"kind,dict"`
	Note  *string           `parquet:"note,optional"`
	List  []string          `parquet:"list,list"`
	Inner []inner           `parquet:"inner"`
	Attrs map[string]string `parquet:"attrs"`
	Card  int64             `parquet:"card"`
	Small int32             `parquet:"small"`
	Real  float64           `parquet:"real"`
	Fixed [16]byte          `parquet:"fixed"`
	Flag  bool              `parquet:"flag"`
	At    time.Time         `parquet:"at,timestamp(millisecond)"`
	Bytes []byte            `parquet:"bytes,snappy"`
}

func parquetOf(t testing.TB, groups ...[]row) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b, parquet.KeyValueMetadata("owner", "ann@mail.example"), parquet.KeyValueMetadata("schema", "v1"))
	for _, g := range groups {
		if _, err := w.Write(g); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func rowsOf(t testing.TB, b []byte) []row {
	t.Helper()
	r := parquet.NewGenericReader[row](bytes.NewReader(b))
	defer r.Close()
	rows := make([]row, r.NumRows())
	if n, err := r.Read(rows); n != len(rows) || err != nil && err != io.EOF {
		t.Fatalf("%d of %d rows, %v", n, len(rows), err)
	}
	return rows
}

func TestParquet(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123).UTC()
	mail, empty := "I am ann@mail.example", ""
	private := row{Kind: "login", Note: &mail, List: []string{"plain", "ann@mail.example"}, Inner: []inner{{"ann@mail.example", 1.5}, {"", 2}},
		Attrs: map[string]string{"password": "hunter2-hunter2"}, Card: 4111111111111111, Real: 4111111111111111, Flag: true, At: at, Bytes: []byte("GB33BUKB20201555555555")}
	copy(private.Fixed[:], "4111111111111111")
	plain := row{Kind: "tick", Note: &empty, List: nil, Attrs: map[string]string{"a": "1"}, Card: 12, Small: -3, Real: 0.25, Fixed: [16]byte{1, 2}, At: at, Bytes: []byte{0, 255}}
	null := row{Kind: "tick", Attrs: map[string]string{}, At: at}
	in := parquetOf(t, []row{private, plain, null}, []row{plain})
	out := rewrite(t, Parquet, in)
	noSecret(t, out)
	before, err := parquet.OpenFile(bytes.NewReader(in), int64(len(in)))
	if err != nil {
		t.Fatal(err)
	}
	after, err := parquet.OpenFile(bytes.NewReader(out), int64(len(out)))
	if err != nil {
		t.Fatal(err)
	}
	if x, y := before.Schema().String(), after.Schema().String(); strings.Fields(x)[0] != "message" || !reflect.DeepEqual(strings.Fields(x)[2:], strings.Fields(y)[2:]) {
		t.Errorf("schema before\n%s\nafter\n%s", x, y)
	}
	if x, y := len(before.RowGroups()), len(after.RowGroups()); x != y {
		t.Errorf("%d row groups, then %d", x, y)
	}
	if v, _ := after.Lookup("owner"); !strings.HasPrefix(v, "tok_email_") {
		t.Errorf("metadata owner = %q", v)
	}
	if v, _ := after.Lookup("schema"); v != "v1" {
		t.Errorf("metadata schema = %q", v)
	}
	x, y := rowsOf(t, in), rowsOf(t, out)
	if !reflect.DeepEqual(x[1:], y[1:]) {
		t.Errorf("rows without private data: before\n%+v\nafter\n%+v", x[1:], y[1:])
	}
	got := y[0]
	for name, v := range map[string]string{"note": *got.Note, "list": got.List[1], "inner": got.Inner[0].Email, "attrs": got.Attrs["password"], "bytes": string(got.Bytes)} {
		if !strings.Contains(v, "tok_") {
			t.Errorf("%s is %q", name, v)
		}
	}
	if got.Card != 0 || got.Real != 0 || got.Fixed != [16]byte{} {
		t.Errorf("numbers are %d, %g, %q", got.Card, got.Real, got.Fixed)
	}
	if got.Kind != "login" || got.List[0] != "plain" || got.Inner[0].Score != 1.5 || got.Inner[1] != (inner{"", 2}) || !got.Flag || !got.At.Equal(at) {
		t.Errorf("what is not private is another: %+v", got)
	}
}

// Values of a map go by their own keys, in whatever order they are, with NULLs
// and empty maps between them.
func TestParquetMaps(t *testing.T) {
	var rows []row
	for i := range 50 {
		m := map[string]string{}
		for j := range i % 4 {
			m[[]string{"a", "password", "b", "c"}[j]] = []string{"one", "hunter2-hunter2", "two", "three"}[j]
		}
		rows = append(rows, row{Attrs: m})
	}
	for i, r := range rowsOf(t, rewrite(t, Parquet, parquetOf(t, rows))) {
		if len(r.Attrs) != i%4 {
			t.Errorf("row %d: %v", i, r.Attrs)
		}
		for k, v := range r.Attrs {
			if private := strings.HasPrefix(v, "tok_password_"); private != (k == "password") {
				t.Errorf("row %d: %s is %q", i, k, v)
			}
		}
	}
}

func TestParquetColumnName(t *testing.T) {
	var b bytes.Buffer
	w := parquet.NewGenericWriter[any](&b, parquet.NewSchema("x", parquet.Group{"ann@mail.example": parquet.String()}))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	refused(t, Parquet, b.Bytes())
}

func TestDamagedParquet(t *testing.T) {
	s := "I am ann@mail.example"
	whole := parquetOf(t, []row{{Kind: "a", Note: &s, List: []string{s}, Attrs: map[string]string{"a": s}}, {Kind: "b"}})
	for n := 0; n < len(whole); n += 97 {
		refused(t, Parquet, whole[:n])
	}
	large := bytes.Clone(whole) // with a footer of 4 GiB
	copy(large[len(large)-8:], "\xff\xff\xff\xff")
	refused(t, Parquet, large)
	for i := 0; i < len(whole); i += 7 {
		bad := bytes.Clone(whole)
		bad[i] ^= 1 << (i % 8)
		var out bytes.Buffer
		if err := Rewrite(t.Context(), scrubber(t), Parquet, &out, bytes.NewReader(bad)); err != nil {
			noSecret(t, []byte(err.Error()))
		}
	}
}
