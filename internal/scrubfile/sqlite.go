package scrubfile

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"

	_ "modernc.org/sqlite" // the driver

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

// sqlite copies a database table by table into a new one. In place it would
// not do: free pages keep what was there before. Both are in memory alone.
func sqlite(ctx context.Context, s *scrub.Scrubber, src []byte) ([]byte, error) {
	in, err := memoryDB(ctx)
	if err != nil {
		return nil, err
	}
	defer in.close()
	out, err := memoryDB(ctx)
	if err != nil {
		return nil, err
	}
	defer out.close()
	if len(src) > 20 {
		src[18], src[19] = 1, 1 // a database in memory has no write-ahead log
	}
	if err := in.each(func(c serializer) error { return c.Deserialize(src) }); err != nil {
		return nil, err
	}
	if err := copyDatabase(ctx, s, out.Conn, in.Conn); err != nil {
		return nil, err
	}
	var clean []byte
	err = out.each(func(c serializer) (err error) {
		clean, err = c.Serialize()
		return err
	})
	return clean, err
}

// database is one in memory, which lives as long as its only connection.
type database struct {
	*sql.Conn
	db *sql.DB
}

func memoryDB(ctx context.Context) (*database, error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		db.Close()
		return nil, err
	}
	return &database{conn, db}, nil
}

func (d *database) close() {
	_ = d.Conn.Close()
	_ = d.db.Close()
}

// serializer is what the driver's connections have beyond database/sql.
type serializer interface {
	Serialize() ([]byte, error)
	Deserialize([]byte) error
}

func (d *database) each(f func(serializer) error) error {
	return d.Raw(func(c any) error { return f(c.(serializer)) })
}

func copyDatabase(ctx context.Context, s *scrub.Scrubber, out, in *sql.Conn) error {
	items, err := schema(ctx, in)
	if err != nil {
		return err
	}
	for _, it := range items {
		if it.kind != "table" {
			continue
		}
		if err := it.create(ctx, s, out); err != nil {
			return err
		}
		if err := copyTable(ctx, s, out, in, it.name); err != nil {
			return fmt.Errorf("table %s: %w", it.name, err)
		}
	}
	// Triggers come last: they must not run for what is only copied.
	for _, it := range items {
		if it.kind != "table" {
			if err := it.create(ctx, s, out); err != nil {
				return err
			}
		}
	}
	for _, pragma := range []string{"user_version", "application_id"} {
		var n int64
		if err := in.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&n); err != nil {
			return err
		}
		if _, err := out.ExecContext(ctx, fmt.Sprintf("PRAGMA %s = %d", pragma, n)); err != nil {
			return err
		}
	}
	return nil
}

type schemaItem struct{ kind, name, sql string }

func schema(ctx context.Context, db *sql.Conn) ([]schemaItem, error) {
	rows, err := db.QueryContext(ctx, `SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY rowid`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var items []schemaItem
	for rows.Next() {
		var it schemaItem
		if err := rows.Scan(&it.kind, &it.name, &it.sql); err != nil {
			return nil, err
		}
		if strings.HasPrefix(strings.ToUpper(strings.Join(strings.Fields(it.sql), " ")), "CREATE VIRTUAL") {
			return nil, fmt.Errorf("need ordinary tables, found the virtual table %s: it keeps its data where it can't be scrubbed", it.name)
		}
		items = append(items, it)
	}
	return items, rows.Err()
}

// create makes the table, index, view or trigger anew. A default value or a
// comment in it may be private too; a schema can't be rewritten, so it is refused.
func (it schemaItem) create(ctx context.Context, s *scrub.Scrubber, db *sql.Conn) error {
	if clean := s.Text([]byte(it.sql)).Bytes(); string(clean) != it.sql {
		return fmt.Errorf("need a schema without private data, found some in the definition of %s %s", it.kind, it.name)
	}
	_, err := db.ExecContext(ctx, it.sql)
	return err
}

func copyTable(ctx context.Context, s *scrub.Scrubber, out, in *sql.Conn, table string) error {
	columns, err := columnsOf(ctx, in, table)
	if err != nil {
		return err
	}
	list := strings.Join(columns.quoted(), ", ")
	rows, err := in.QueryContext(ctx, "SELECT "+list+" FROM "+quote(table))
	if err != nil {
		return err
	}
	defer rows.Close()
	tx, err := out.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	insert, err := tx.PrepareContext(ctx, "INSERT INTO "+quote(table)+" ("+list+") VALUES (?"+strings.Repeat(", ?", len(columns)-1)+")")
	if err != nil {
		return err
	}
	defer insert.Close()
	values := make([]any, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, v := range values {
			values[i] = cell(s, table+"."+columns[i], v)
		}
		if _, err := insert.ExecContext(ctx, values...); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return tx.Commit()
}

// cell scrubs one value. Numbers are looked at as text: a card number is often one.
func cell(s *scrub.Scrubber, column string, v any) any {
	switch v := v.(type) {
	case string:
		return s.Field(scrub.SQLColumn, column, v)
	case []byte:
		return []byte(s.Field(scrub.SQLColumn, column, string(v)))
	case int64:
		old := strconv.FormatInt(v, 10)
		clean := s.Field(scrub.SQLColumn, column, old)
		if clean == old {
			return v
		}
		if n, err := strconv.ParseInt(clean, 10, 64); err == nil {
			return n
		}
		return clean
	}
	return v
}

type columnNames []string

func (c columnNames) quoted() []string {
	q := make([]string, len(c))
	for i, name := range c {
		q[i] = quote(name)
	}
	return q
}

// columnsOf leaves out generated columns, which nobody can insert into.
func columnsOf(ctx context.Context, db *sql.Conn, table string) (columnNames, error) {
	rows, err := db.QueryContext(ctx, "SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0", table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var names columnNames
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	if len(names) == 0 && rows.Err() == nil {
		return nil, fmt.Errorf("need a column, found none")
	}
	return names, rows.Err()
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
