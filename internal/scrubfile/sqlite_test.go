package scrubfile

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sqliteOf has SQLite's own program run a script and returns the database.
func sqliteOf(t testing.TB, script string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "a.sqlite")
	sqlite3(t, file, script)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sqlite3(t testing.TB, file, script string) string {
	t.Helper()
	c := exec.Command("sqlite3", "-bail", file)
	c.Stdin = strings.NewReader(script)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("sqlite3: %v\n%s (make test installs it)", err, out)
	}
	return string(out)
}

// query runs SQL on a database that is in memory here.
func query(t testing.TB, b []byte, script string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "b.sqlite")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(sqlite3(t, file, script))
}

const shop = `
CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT, card INTEGER, card_real REAL, note, born DATE, ok BOOLEAN, pass BLOB,
	shout TEXT GENERATED ALWAYS AS (upper(note)) VIRTUAL, kept TEXT AS (lower(note)) STORED);
CREATE TABLE "odd ""name"", 'x'; --" ("a ""b""" TEXT, "select" INT);
CREATE TABLE pairs (k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID;
CREATE TABLE bare (v);
CREATE TABLE log (what TEXT);
CREATE INDEX by_email ON people (email);
CREATE UNIQUE INDEX by_low ON people (lower(email)) WHERE email IS NOT NULL;
CREATE VIEW adults AS SELECT email FROM people WHERE ok;
CREATE TRIGGER seen AFTER INSERT ON people BEGIN INSERT INTO log VALUES ('one; more'); END;
INSERT INTO people (email, card, card_real, note, born, ok, pass) VALUES
	('ann@mail.example', 4111111111111111, 4111111111111111.0, 'I am ann@mail.example', '1990-01-02', 1, x'68756e74657232'),
	(NULL, NULL, 1.5, 2.25, 1234567, 7, x'00ff00'), ('', 12, -0.5, x'', '', 0, x''), ('plain', 9007199254740993, 1e300, 17, NULL, NULL, zeroblob(10));
INSERT INTO "odd ""name"", 'x'; --" VALUES ('GB33BUKB20201555555555', 1), ('x', 2);
INSERT INTO pairs VALUES ('password', 'x'), ('a', 'ann@mail.example');
INSERT INTO bare VALUES (1), (2), (3), (4);
DELETE FROM bare WHERE v IN (1, 3);
INSERT INTO people (email) VALUES ('last@mail.example');
DELETE FROM people WHERE email = 'last@mail.example';
PRAGMA user_version = 42;
PRAGMA application_id = 7;
`

// unchanged are queries whose answers must be the same afterwards.
const unchanged = `SELECT type, name, sql FROM sqlite_master ORDER BY name;
SELECT id, typeof(email), typeof(note), quote(born), quote(ok), typeof(pass) FROM people;
SELECT id, email IS NULL, email = '', quote(card), quote(card_real), quote(note), quote(pass), quote(shout), quote(kept) FROM people WHERE id > 1;
SELECT rowid, v FROM bare;
SELECT count(*) FROM log; SELECT count(*) FROM adults; SELECT count(*) FROM pairs;
SELECT "select" FROM "odd ""name"", 'x'; --";
SELECT * FROM sqlite_sequence; PRAGMA user_version; PRAGMA application_id; PRAGMA encoding;
`

func TestSQLite(t *testing.T) {
	for name, before := range map[string]string{
		"plain": "", "WAL": "PRAGMA journal_mode = WAL;", "UTF-16": "PRAGMA encoding = 'UTF-16be';", "small pages": "PRAGMA page_size = 512; PRAGMA auto_vacuum = FULL;",
	} {
		t.Run(name, func(t *testing.T) {
			in := sqliteOf(t, before+shop)
			out := rewrite(t, SQLite, bytes.Clone(in))
			noSecret(t, out)
			if v := query(t, out, "PRAGMA integrity_check; PRAGMA foreign_key_check;"); v != "ok" {
				t.Fatalf("integrity_check: %s", v)
			}
			if x, y := query(t, in, unchanged), query(t, out, unchanged); x != y {
				t.Errorf("before\n%s\nafter\n%s", x, y)
			}
			if v := query(t, out, "SELECT email, card, card_real, note, shout FROM people WHERE id = 1"); strings.Count(v, "tok_email_") != 2 || strings.Count(v, "tok_pan_") != 2 || !strings.Contains(v, "|I AM TOK_EMAIL_") {
				t.Errorf("found %s", v)
			}
			if v := query(t, out, "INSERT INTO people (email) VALUES ('new'); SELECT max(id) FROM people; SELECT count(*) FROM log"); v != "6\n6" {
				t.Errorf("AUTOINCREMENT and triggers: %s", v)
			}
		})
	}
}

// Nothing is left of rows that were deleted or written over.
func TestSQLiteFreePages(t *testing.T) {
	in := sqliteOf(t, "PRAGMA secure_delete = OFF; CREATE TABLE a (x); INSERT INTO a VALUES ('ann@mail.example'), ('plain'); DELETE FROM a WHERE x LIKE '%@%';")
	if !bytes.Contains(in, []byte("ann@mail.example")) {
		t.Fatal("the test needs a deleted row that is still there")
	}
	noSecret(t, rewrite(t, SQLite, in))
}

func TestSQLiteEmpty(t *testing.T) {
	if v := query(t, rewrite(t, SQLite, sqliteOf(t, "PRAGMA user_version = 1;")), "PRAGMA integrity_check; PRAGMA user_version"); v != "ok\n1" {
		t.Errorf("found %s", v)
	}
}

// A number that a strict table can't keep as a token is no reason to keep it.
func TestSQLiteRefused(t *testing.T) {
	for name, script := range map[string]string{
		"a default":           "CREATE TABLE a (x TEXT DEFAULT 'ann@mail.example');",
		"a password default":  "CREATE TABLE a (password TEXT DEFAULT 'hunter2-hunter2');",
		"a comment":           "CREATE TABLE a (x /* ask ann@mail.example */);",
		"a table's name":      `CREATE TABLE "ann@mail.example" (x);`,
		"a column's name":     `CREATE TABLE a ("ann@mail.example");`,
		"a view":              "CREATE VIEW a AS SELECT 'ann@mail.example' AS x;",
		"a trigger":           "CREATE TABLE a (x); CREATE TRIGGER b AFTER INSERT ON a BEGIN SELECT 'ann@mail.example'; END;",
		"a virtual table":     "CREATE VIRTUAL TABLE a USING fts5(x); INSERT INTO a VALUES ('ann@mail.example');",
		"a strict table":      "CREATE TABLE a (card INTEGER) STRICT; INSERT INTO a VALUES (4111111111111111);",
		"a key that is a PAN": "CREATE TABLE a (id INTEGER PRIMARY KEY, x); INSERT INTO a VALUES (4111111111111111, 'x');",
		"a check":             "CREATE TABLE a (email CHECK (email LIKE '%@%')); INSERT INTO a VALUES ('ann@mail.example');",
	} {
		t.Run(name, func(t *testing.T) { refused(t, SQLite, sqliteOf(t, script)) })
	}
}

// What SQLite runs of a forged definition is its first statement; what follows
// must not run here either, least of all with files.
func TestSQLiteForgedSchema(t *testing.T) {
	for name, more := range map[string]string{
		"attach": "ATTACH '%s' AS e; CREATE TABLE e.x (y);",
		"vacuum": "VACUUM INTO '%s';",
		"insert": "INSERT INTO a VALUES (1);",
		"pragma": "PRAGMA user_version = 3;",
	} {
		t.Run(name, func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "written")
			more = strings.ReplaceAll(more, "%s", target)
			more = strings.ReplaceAll(more, "'", "''")
			b := sqliteOf(t, "CREATE TABLE a (x); PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'CREATE TABLE a (x); "+more+"';")
			refused(t, SQLite, b)
			if _, err := os.Lstat(target); err == nil {
				t.Error("a file was written")
			}
		})
	}
}

// A page that is in a table many times would be a table without end.
func TestSQLiteDamage(t *testing.T) {
	whole := sqliteOf(t, "PRAGMA page_size = 512; CREATE TABLE a (email TEXT, n); WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 500) INSERT INTO a SELECT 'ann@mail.example', n FROM c; CREATE INDEX b ON a (n);")
	for n := 100; n < len(whole); n += len(whole) / 17 {
		refused(t, SQLite, bytes.Clone(whole[:n/512*512+100]))
	}
	for i := 16; i < len(whole); i += 397 {
		bad := bytes.Clone(whole)
		bad[i] ^= 1 << (i % 8)
		var out bytes.Buffer
		if err := Rewrite(t.Context(), scrubber(t), SQLite, &out, bytes.NewReader(bad)); err == nil {
			noSecret(t, out.Bytes())
		} else {
			noSecret(t, []byte(err.Error()))
		}
	}
}
