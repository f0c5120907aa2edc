package scrubfile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	driver "modernc.org/sqlite"

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
	for _, d := range []*database{in, out} {
		if err := d.confine(ctx); err != nil {
			return nil, err
		}
	}
	if err := in.each(func(c serializer) error { return c.Deserialize(src) }); err != nil {
		return nil, err
	}
	// Damage could make a few pages look like a table without end.
	var verdict string
	if err := in.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil || verdict != "ok" {
		return nil, errors.New("need a whole database, found a damaged one")
	}
	var encoding string
	if err := in.QueryRowContext(ctx, "PRAGMA encoding").Scan(&encoding); err != nil {
		return nil, err
	}
	if _, err := out.ExecContext(ctx, "PRAGMA encoding = "+quote(encoding)); err != nil {
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

// confine keeps SQL that comes with a database from reaching files, and from
// making values without measure.
func (d *database) confine(ctx context.Context) error {
	const limitLength, limitAttached = 0, 7 // SQLITE_LIMIT_…
	for id, most := range map[int]int{limitLength: 256 << 20, limitAttached: 0} {
		if _, err := driver.Limit(d.Conn, id, most); err != nil {
			return err
		}
	}
	_, err := d.ExecContext(ctx, "PRAGMA trusted_schema = OFF")
	return err
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
	for n, it := range items {
		if it.kind != "table" {
			continue
		}
		if err := it.create(ctx, s, out); err != nil {
			return err
		}
		if err := copyTable(ctx, s, out, in, it.name); err != nil {
			return fmt.Errorf("table %d: %w", n, err)
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
	if err := copySequence(ctx, out, in); err != nil {
		return err
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

// copySequence keeps the numbers that AUTOINCREMENT goes on from.
func copySequence(ctx context.Context, out, in *sql.Conn) error {
	var n int
	if err := in.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'").Scan(&n); err != nil || n == 0 {
		return err
	}
	rows, err := in.QueryContext(ctx, "SELECT name, seq FROM sqlite_sequence")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var seq int64
		if err := rows.Scan(&name, &seq); err != nil {
			return errors.New("need numbers in sqlite_sequence, found others")
		}
		for _, q := range []string{"DELETE FROM sqlite_sequence WHERE name = ?1 AND ?2 IS NOT NULL",
			"INSERT INTO sqlite_sequence (name, seq) SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1)"} {
			if _, err := out.ExecContext(ctx, q, name, seq); err != nil {
				return err
			}
		}
	}
	return rows.Err()
}

func copyTable(ctx context.Context, s *scrub.Scrubber, out, in *sql.Conn, table string) error {
	columns, err := columnsOf(ctx, s, in, table)
	if err != nil {
		return err
	}
	list := strings.Join(columns.quoted(), ", ")
	// The plus sign takes away the column's declared type, by which the driver
	// would make a time or a boolean of what is a text or a number.
	rows, err := in.QueryContext(ctx, "SELECT +"+strings.Join(columns.quoted(), ", +")+" FROM "+quote(table))
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
		clean := []byte(s.Field(scrub.SQLColumn, column, string(v)))
		if clean == nil {
			clean = []byte{}
		}
		return clean
	case int64:
		return number(s, column, strconv.FormatInt(v, 10), v)
	case float64:
		if digits, ok := wholeNumber(v); ok {
			return number(s, column, digits, v)
		}
	}
	return v
}

// number scrubs v, which is digits as text.
func number(s *scrub.Scrubber, column, digits string, v any) any {
	clean := s.Field(scrub.SQLColumn, column, digits)
	if clean == digits {
		return v
	}
	if n, err := strconv.ParseInt(clean, 10, 64); err == nil {
		return n
	}
	return clean
}

// wholeNumber tells whether v is a number that could be an integer elsewhere,
// and how it is written there.
func wholeNumber(v float64) (string, bool) {
	if v != math.Trunc(v) || math.Abs(v) >= 1<<62 {
		return "", false
	}
	return strconv.FormatInt(int64(v), 10), true
}
