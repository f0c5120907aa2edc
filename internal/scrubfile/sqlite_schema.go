package scrubfile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

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
			return nil, errors.New("need ordinary tables, found a virtual one: it keeps its data where it can't be scrubbed")
		}
		items = append(items, it)
	}
	return items, rows.Err()
}

// create makes the table, index, view or trigger anew. A default value or a
// comment in it may be private too; a schema can't be rewritten, so it is refused.
func (it schemaItem) create(ctx context.Context, s *scrub.Scrubber, db *sql.Conn) error {
	if plainText(s, it.sql) != it.sql {
		return fmt.Errorf("need a schema without private data, found some in the definition of a %s", it.kind)
	}
	if _, err := db.ExecContext(ctx, it.sql); err != nil {
		return fmt.Errorf("a %s can't be made again", it.kind) // SQLite's text may quote the data
	}
	// What SQLite keeps of a schema is one statement. In a forged one others follow.
	var now string
	err := db.QueryRowContext(ctx, "SELECT sql FROM sqlite_master WHERE type = ? AND name = ?", it.kind, it.name).Scan(&now)
	if err != nil || now != it.sql {
		return fmt.Errorf("need the definition of one %s, found something else", it.kind)
	}
	return nil
}

type columnNames []string

func (c columnNames) quoted() []string {
	q := make([]string, len(c))
	for i, name := range c {
		q[i] = quote(name)
	}
	return q
}

// columnsOf leaves out generated columns, which nobody can insert into. Where
// rows have a number that no column shows, it is the first column, so that they
// keep it.
func columnsOf(ctx context.Context, s *scrub.Scrubber, db *sql.Conn, table string) (columnNames, error) {
	rows, err := db.QueryContext(ctx, "SELECT name, hidden, pk, dflt_value FROM pragma_table_xinfo(?)", table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var names columnNames
	taken, keyed := map[string]bool{}, false
	for rows.Next() {
		var name string
		var hidden, pk int
		var initial sql.NullString
		if err := rows.Scan(&name, &hidden, &pk, &initial); err != nil {
			return nil, err
		}
		if text := strings.Trim(initial.String, "'"); text != initial.String && s.Field(scrub.SQLColumn, table+"."+name, text) != text {
			return nil, errors.New("need a schema without private data, found some in the default of a column")
		}
		taken[strings.ToLower(name)] = true
		keyed = keyed || pk > 0
		if hidden == 0 {
			names = append(names, name)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for _, alias := range []string{"rowid", "_rowid_", "oid"} {
		if !keyed && !taken[alias] { // a table without row numbers has a key
			return append(columnNames{alias}, names...), nil
		}
	}
	if len(names) == 0 {
		return nil, errors.New("need a column, found none")
	}
	return names, nil
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
