package main

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"
)

// plant DIR writes files of every format with all canaries in each: what the
// recorders of this world leave when nobody scrubs.
func plant(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	all := canaries()
	for _, sub := range []string{"net", "rr/trace-0001", "log"} {
		ts.Check(os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	write := func(name string, b []byte) { ts.Check(os.WriteFile(filepath.Join(dir, name), b, 0o600)) }
	var text, logs, events bytes.Buffer
	var entries []any
	var records bytes.Buffer
	n := 0
	for _, kind := range sortedKeys(all) {
		for _, v := range all[kind] {
			n++
			fmt.Fprintf(&text, "%d: the %s is %s today\n", n, kind, v)
			fmt.Fprintf(&events, "the %s is %s\x1e", kind, v)
			line, _ := json.Marshal(map[string]any{"n": n, "msg": "saw " + v + " again", "field": v,
				"body": base64.StdEncoding.EncodeToString([]byte("it was " + v)), "url": "http://shop.example/?q=" + url.QueryEscape(v)})
			logs.Write(append(line, '\n'))
			entries = append(entries, harEntry(kind, v))
			records.Write(warcRecord(kind, v))
		}
	}
	write("stdin.txt", text.Bytes())
	write("events.txt", events.Bytes()) // a key has several lines
	write("log/app.log", text.Bytes())
	write("log/app.ndjson", logs.Bytes())
	har, _ := json.Marshal(map[string]any{"log": map[string]any{"version": "1.2", "entries": entries}})
	write("net/session.har", har)
	write("net/session.warc", records.Bytes())
	write("net/packed.warc.gz", pack1(records.Bytes()))
	write("rr/trace-0001/data", append(text.Bytes(), 0, 1, 2))
	write("profile.parquet", parquetOf(ts, all))
	plantSQLite(ts, filepath.Join(dir, "sql.sqlite"), all)
	plantJFR(ts, dir, all)
}

func harEntry(kind, v string) any {
	pair := func(name string) []any { return []any{map[string]any{"name": name, "value": v}} }
	return map[string]any{
		"request": map[string]any{"method": "POST", "url": "http://shop.example/a?who=" + url.QueryEscape(v), "headers": pair("X-" + kind),
			"queryString": pair("who"), "cookies": pair("kept"), "postData": map[string]any{"mimeType": "application/x-www-form-urlencoded",
				"text": "who=" + url.QueryEscape(v), "params": pair("who")}},
		"response": map[string]any{"status": 200, "headers": pair("X-Echo"), "cookies": []any{},
			"content": map[string]any{"mimeType": "application/json", "encoding": "base64",
				"text": base64.StdEncoding.EncodeToString([]byte(`{"echo":` + quoteJSON(v) + `}`))}},
	}
}

func warcRecord(kind, v string) []byte {
	body := `{"kind":"` + kind + `","echo":` + quoteJSON(v) + `}`
	one := strings.ReplaceAll(v, "\n", " ")
	plain := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Seen: %s\r\nContent-Length: %d\r\n\r\n%s", one, len(body), body)
	packed := pack1([]byte(body))
	zipped := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(packed), packed)
	chunked := fmt.Sprintf("POST /buy?who=%s HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
		url.QueryEscape(v), len(v), v)
	var b bytes.Buffer
	for i, block := range []string{plain, zipped, chunked} {
		kind := []string{"response", "response", "request"}[i]
		fmt.Fprintf(&b, "WARC/1.1\r\nWARC-Type: %s\r\nWARC-Target-URI: http://shop.example/?q=%s\r\nWARC-Date: 2026-01-02T03:04:05Z\r\n"+
			"WARC-Record-ID: <urn:uuid:00000000-0000-4000-8000-000000000000>\r\nContent-Type: application/http; msgtype=%s\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n",
			kind, url.QueryEscape(v), kind, len(block), block)
	}
	return b.Bytes()
}

func quoteJSON(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func pack1(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

func parquetOf(ts *testscript.TestScript, all map[string][]string) []byte {
	type event struct {
		Type  string   `parquet:"type,dict"`
		Value string   `parquet:"value"`
		Seen  []string `parquet:"seen,list"`
		Card  int64    `parquet:"card"`
	}
	var rows []event
	for _, kind := range sortedKeys(all) {
		for i, v := range all[kind] {
			e := event{Type: kind, Value: v, Seen: []string{v, "plain"}}
			fmt.Sscan(all["pan"][i], &e.Card)
			rows = append(rows, e)
		}
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[event](&b, parquet.KeyValueMetadata("note", all["email"][0]))
	_, err := w.Write(rows)
	ts.Check(err)
	ts.Check(w.Close())
	return b.Bytes()
}

// plantSQLite also deletes rows, which stay in the free pages of the file.
func plantSQLite(ts *testscript.TestScript, name string, all map[string][]string) {
	db, err := sql.Open("sqlite", name)
	ts.Check(err)
	defer db.Close()
	exec := func(q string, args ...any) {
		_, err := db.Exec(q, args...)
		ts.Check(err)
	}
	exec("CREATE TABLE statements (id INTEGER PRIMARY KEY, kind TEXT, text TEXT, params BLOB, card INTEGER)")
	exec("CREATE INDEX by_text ON statements (text)")
	for _, kind := range sortedKeys(all) {
		for i, v := range all[kind] {
			var card int64
			fmt.Sscan(all["pan"][i], &card)
			exec("INSERT INTO statements (kind, text, params, card) VALUES (?, ?, ?, ?)", kind, "SELECT * FROM t WHERE x = '"+v+"'", []byte(`["`+v+`"]`), card)
		}
	}
	exec("DELETE FROM statements WHERE id % 3 = 0")
}

// plantJFR records a JVM that was given the canaries in all ways that there are.
func plantJFR(ts *testscript.TestScript, dir string, all map[string][]string) {
	src, err := filepath.Abs("testdata/Canary.java")
	ts.Check(err)
	classes := filepath.Join(dir, "classes")
	out, err := exec.Command("javac", "-d", classes, src).CombinedOutput()
	if err != nil {
		ts.Fatalf("javac: %v\n%s", err, out)
	}
	c := exec.Command("java", "-XX:StartFlightRecording=settings=profile,jdk.JavaExceptionThrow#enabled=true,filename="+filepath.Join(dir, "incident.jfr"),
		"-Dshop.mail="+all["email"][1], "-Ddb.url="+all["conn_string"][1], "-cp", classes, "Canary", filepath.Join(dir, "events.txt"), all["github"][2])
	for _, kind := range sortedKeys(all) {
		for i, v := range all[kind] {
			c.Env = append(c.Env, fmt.Sprintf("SHOP_%s_%d=%s", kind, i, v))
		}
	}
	c.Env = append(c.Env, "PATH="+os.Getenv("PATH"))
	if out, err := c.CombinedOutput(); err != nil {
		ts.Fatalf("java: %v\n%s", err, out)
	}
	ts.Check(os.RemoveAll(classes))
}

// sqlcount FILE TABLE N checks how many rows a table has.
func sqlcount(ts *testscript.TestScript, _ bool, args []string) {
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	var n int
	ts.Check(db.QueryRow("SELECT count(*) FROM " + args[1]).Scan(&n))
	if fmt.Sprint(n) != args[2] {
		ts.Fatalf("%s: %d rows in %s, want %s", args[0], n, args[1], args[2])
	}
}
