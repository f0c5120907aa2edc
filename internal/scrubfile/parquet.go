package scrubfile

import (
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

const rowsAtOnce = 512

// parquetFile copies a file row group by row group; each text, and each number
// that isn't a time, goes through the scrubber under its column's path.
// Statistics, dictionaries and bloom filters are made anew by the writer.
func parquetFile(s *scrub.Scrubber, dst io.Writer, src io.ReaderAt, size int64) error {
	if err := parquetFooter(src, size); err != nil {
		return err
	}
	in, err := parquet.OpenFile(src, size)
	if err != nil {
		return err
	}
	options := []parquet.WriterOption{in.Schema(), parquet.Compression(&parquet.Zstd)}
	for _, kv := range in.Metadata().KeyValueMetadata {
		options = append(options, parquet.KeyValueMetadata(plainText(s, kv.Key), s.Field(scrub.Attr, kv.Key, kv.Value)))
	}
	w := parquet.NewGenericWriter[any](dst, options...)
	columns := leaves(in.Schema())
	for _, c := range columns {
		if plainText(s, c.path) != c.path {
			return errors.New("need a schema without private data, found some in a column's name")
		}
	}
	for _, group := range in.RowGroups() {
		if err := copyRows(s, w, group, columns); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return w.Close()
}

// parquetFooter looks at the footer's size, for which the library would make
// room, however much it is.
func parquetFooter(src io.ReaderAt, size int64) error {
	const least = 12 // the letters twice, and the size between them
	var end [8]byte
	if size >= least {
		if _, err := src.ReadAt(end[:], size-int64(len(end))); err != nil {
			return err
		}
	}
	if size < least || string(end[4:]) != "PAR1" || int64(binary.LittleEndian.Uint32(end[:])) > size-least {
		return errors.New("need a Parquet file with a whole footer, found another")
	}
	return nil
}

// leaf is a column that holds values.
type leaf struct {
	path string
	time bool // a time or a date: its digits are nobody's number

	key, value bool // of a map
}

func leaves(schema *parquet.Schema) []leaf {
	var list []leaf
	for _, path := range schema.Columns() {
		col, _ := schema.Lookup(path...)
		l := leaf{path: strings.Join(path, ".")}
		l.key, l.value = strings.HasSuffix(l.path, ".key_value.key"), strings.HasSuffix(l.path, ".key_value.value")
		if t := col.Node.Type().LogicalType(); t != nil {
			switch t.Value.(type) {
			case *format.TimestampType, *format.DateType, *format.TimeType:
				l.time = true
			}
		}
		list = append(list, l)
	}
	return list
}

func copyRows(s *scrub.Scrubber, w *parquet.GenericWriter[any], group parquet.RowGroup, columns []leaf) error {
	rows := group.Rows()
	defer rows.Close()
	buf := make([]parquet.Row, rowsAtOnce)
	for {
		n, err := rows.ReadRows(buf)
		for _, row := range buf[:n] {
			scrubRow(s, columns, row)
		}
		if n > 0 {
			if _, werr := w.WriteRows(buf[:n]); werr != nil {
				return werr
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// scrubRow goes by the column's path. The values of a map go by their keys, which
// stand in the column before, as many and in the same order.
func scrubRow(s *scrub.Scrubber, columns []leaf, row parquet.Row) {
	var keys []string
	in, n := -1, 0 // the column of keys, and how many values of the next one were seen
	for i, v := range row {
		c := columns[v.Column()]
		switch {
		case c.key:
			if in != v.Column() {
				in, n, keys = v.Column(), 0, keys[:0]
			}
			keys = append(keys, v.String())
			row[i] = parquetValue(s, c, c.path, v)
			continue
		case c.value && in == v.Column()-1 && n < len(keys):
			row[i] = parquetValue(s, c, keys[n], v)
			n++
			continue
		}
		row[i] = parquetValue(s, c, c.path, v)
	}
}

func parquetValue(s *scrub.Scrubber, c leaf, name string, v parquet.Value) parquet.Value {
	if v.IsNull() || c.time {
		return v
	}
	var old string
	switch v.Kind() {
	case parquet.ByteArray, parquet.FixedLenByteArray:
		old = string(v.ByteArray())
	case parquet.Int32:
		old = strconv.FormatInt(int64(v.Int32()), 10)
	case parquet.Int64:
		old = strconv.FormatInt(v.Int64(), 10)
	case parquet.Double:
		var ok bool
		if old, ok = wholeNumber(v.Double()); !ok {
			return v
		}
	default:
		return v // a boolean, a float of seven digits, a time of 96 bits
	}
	text := s.Field(scrub.Attr, name, old)
	if text == old {
		return v
	}
	// The column holds numbers, or texts of one length: what is none any more
	// becomes zero.
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		n = 0
	}
	var clean parquet.Value
	switch v.Kind() {
	case parquet.ByteArray:
		clean = parquet.ByteArrayValue([]byte(text))
	case parquet.FixedLenByteArray:
		if len(text) != len(old) {
			text = string(make([]byte, len(old)))
		}
		clean = parquet.FixedLenByteArrayValue([]byte(text))
	case parquet.Int32:
		if n != int64(int32(n)) {
			n = 0
		}
		clean = parquet.Int32Value(int32(n))
	case parquet.Int64:
		clean = parquet.Int64Value(n)
	case parquet.Double:
		clean = parquet.DoubleValue(float64(n))
	}
	return clean.Level(v.RepetitionLevel(), v.DefinitionLevel(), v.Column())
}
