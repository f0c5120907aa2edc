package scrubfile

import (
	"errors"
	"fmt"
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
func parquetFile(s *scrub.Scrubber, dst io.Writer, src io.ReaderAt, size int64) (err error) {
	// The library panics on some damaged files.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("need a Parquet file, found a damaged one: %v", p)
		}
	}()
	in, err := parquet.OpenFile(src, size)
	if err != nil {
		return err
	}
	options := []parquet.WriterOption{in.Schema(), parquet.Compression(&parquet.Zstd)}
	for _, kv := range in.Metadata().KeyValueMetadata {
		options = append(options, parquet.KeyValueMetadata(kv.Key, s.Field(scrub.Attr, kv.Key, kv.Value)))
	}
	w := parquet.NewGenericWriter[any](dst, options...)
	columns := leaves(in.Schema())
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

// leaf is a column that holds values.
type leaf struct {
	path string
	time bool // a time or a date: its digits are nobody's number
}

func leaves(schema *parquet.Schema) []leaf {
	var list []leaf
	for _, path := range schema.Columns() {
		col, _ := schema.Lookup(path...)
		l := leaf{path: strings.Join(path, ".")}
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
			for i, v := range row {
				row[i] = parquetValue(s, columns[v.Column()], v)
			}
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

func parquetValue(s *scrub.Scrubber, c leaf, v parquet.Value) parquet.Value {
	if v.IsNull() || c.time {
		return v
	}
	var clean parquet.Value
	switch v.Kind() {
	case parquet.ByteArray:
		old := string(v.ByteArray())
		text := s.Field(scrub.Attr, c.path, old)
		if text == old {
			return v
		}
		clean = parquet.ByteArrayValue([]byte(text))
	case parquet.Int64:
		old := strconv.FormatInt(v.Int64(), 10)
		text := s.Field(scrub.Attr, c.path, old)
		if text == old {
			return v
		}
		// The column holds numbers: what is none any more becomes 0.
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			n = 0
		}
		clean = parquet.Int64Value(n)
	default:
		return v
	}
	return clean.Level(v.RepetitionLevel(), v.DefinitionLevel(), v.Column())
}
