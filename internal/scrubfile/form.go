package scrubfile

import (
	"bytes"
	"path"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/jfr"
)

// Form is a file format that can be scrubbed.
type Form string

// The formats. A name that ends in +gzip is the same, compressed as a whole or
// member by member.
const (
	Opaque  Form = "" // no format of ours
	Text    Form = "text"
	JSON    Form = "json"
	Lines   Form = "ndjson"
	HAR     Form = "har"
	WARC    Form = "warc"
	SQLite  Form = "sqlite"
	Parquet Form = "parquet"
	JFR     Form = "jfr"
)

const compressed = "+gzip"

// Packed tells whether the form is one within gzip.
func (f Form) Packed() bool { return strings.HasSuffix(string(f), compressed) }

// Plain is the form within gzip, or the form itself.
func (f Form) Plain() Form { return Form(strings.TrimSuffix(string(f), compressed)) }

// Streams tells whether files of the form are scrubbed as they are read, and
// whatever is in them. Others have to be valid, which shows at their end.
func (f Form) Streams() bool { return f == Text || f == Lines }

// Peek is how many bytes of a file FormOf wants to see.
const Peek = 512

// FormOf goes by what the file begins with, where a format says so, and by its
// name and media type elsewhere. A name alone never makes a binary file a text.
func FormOf(name, media string, head []byte) Form {
	switch {
	case bytes.HasPrefix(head, []byte("SQLite format 3\x00")):
		return SQLite
	case bytes.HasPrefix(head, []byte("PAR1")):
		return Parquet
	case bytes.HasPrefix(head, []byte(jfr.Magic)):
		return JFR
	case bytes.HasPrefix(head, []byte("WARC/1.")):
		return WARC
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		if f := byName(strings.TrimSuffix(name, ".gz"), strings.TrimSuffix(media, compressed)); f != Opaque {
			return f + compressed
		}
		return Opaque
	case bytes.IndexByte(head, 0) >= 0:
		return Opaque
	}
	return byName(name, media)
}

func byName(name, media string) Form {
	switch strings.ToLower(path.Ext(name)) {
	case ".har":
		return HAR
	case ".warc":
		return WARC
	case ".json":
		return JSON
	case ".ndjson", ".jsonl":
		return Lines
	case ".txt", ".log", ".yaml", ".yml", ".csv", ".tsv", ".md", ".xml", ".html", ".conf", ".ini", ".properties", ".env":
		return Text
	}
	switch media, _, _ := strings.Cut(media, ";"); {
	case media == "application/x-ndjson":
		return Lines
	case media == "application/warc":
		return WARC
	case media == "application/json", strings.HasSuffix(media, "+json"):
		return JSON
	case strings.HasPrefix(media, "text/"), media == "application/yaml":
		return Text
	}
	return Opaque
}
