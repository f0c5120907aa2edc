package bundle

import (
	"bytes"
	"encoding/hex"
	"strconv"
)

// A bundle of 1,000 files spends nearly all of the time that it takes to open
// on the YAML of their list, 20 ms. [Manifest.Encode] puts it at the end, one
// file on a line; so the list is cut off and read by hand if it is exactly as
// written there, and by the YAML library otherwise. The text before it must be
// a document of its own: were the cut in the middle of some value, it would
// not be one.

// cutFiles returns the text before the list of files and the list. ok is
// false if the whole text has to go through the YAML library.
func cutFiles(text []byte) (head []byte, files []File, ok bool) {
	head, list, found := bytes.Cut(text, []byte("\nfiles:\n"))
	if !found || len(list) == 0 || list[len(list)-1] != '\n' {
		return nil, nil, false
	}
	files = make([]File, 0, bytes.Count(list, []byte{'\n'}))
	for line := range bytes.Lines(list) {
		var f File
		if !f.scan(line) {
			return nil, nil, false
		}
		files = append(files, f)
	}
	return text[:len(head)+1], files, true
}

// scan reads a line as MarshalYAML and the YAML library make it. It takes
// plain words only: what needs quotes isn't for us.
func (f *File) scan(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("  - {path: "))
	rest, closed := bytes.CutSuffix(rest, []byte("}\n"))
	if !ok || !closed {
		return false
	}
	path, rest, _ := bytes.Cut(rest, []byte(", size: "))
	size, rest, more := bytes.Cut(rest, []byte(", "))
	n, err := strconv.ParseInt(string(size), 10, 64)
	if err != nil || !isWord(path) || n < 0 {
		return false
	}
	f.Path, f.Size = string(path), n
	for _, field := range []struct {
		name string
		set  func(string)
	}{
		{"sha256: ", func(s string) { f.SHA256 = s }},
		{"media_type: ", func(s string) { f.MediaType = s }},
		{"class: ", func(s string) { f.Class = Class(s) }},
		{"encryption: ", func(s string) { f.Encryption = s }},
	} {
		value, ok := bytes.CutPrefix(rest, []byte(field.name))
		if !more || !ok {
			continue
		}
		value, rest, more = bytes.Cut(value, []byte(", "))
		if !isWord(value) {
			return false
		}
		field.set(string(value))
	}
	if value, ok := bytes.CutPrefix(rest, []byte("plain_size: ")); more && ok {
		value, rest, more = bytes.Cut(value, []byte(", "))
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil || n < 0 {
			return false
		}
		f.PlainSize = &n
	}
	_, err = hex.DecodeString(f.SHA256)
	return !more && len(rest) == 0 && err == nil
}

// isWord tells whether YAML reads b as the same text, whatever surrounds it.
func isWord(b []byte) bool {
	for i, c := range b {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && (i == 0 || !bytes.ContainsRune([]byte("_./+-"), rune(c))) {
			return false
		}
	}
	switch string(b) {
	case "", "null", "Null", "NULL":
		return false
	}
	return true
}
