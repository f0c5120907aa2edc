package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Limits of what is read.
const (
	maxFile  = 256 << 20 // bytes of a file
	maxYAML  = 64 << 20  // bytes of a YAML file, whose tree is many times as large
	maxTotal = 1 << 30   // bytes of all files
	maxFiles = 20_000
)

// source is a file of a tape, in the folder from which it may name others.
type source struct {
	root *os.Root
	name string // in root, slash-separated
	in   string // root, as the user named it
}

func (s source) String() string {
	if s.in == "" {
		return s.name
	}
	return path.Join(s.in, s.name)
}

// at is a place in the file.
func (s source) at(format string, args ...any) string {
	return s.String() + ": " + fmt.Sprintf(format, args...)
}

func (r *reader) path(p string, f format) error {
	fi, err := os.Stat(p)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		root, err := os.OpenRoot(filepath.Dir(p))
		if err != nil {
			return err
		}
		defer root.Close()
		return f.read(r, source{root, filepath.Base(p), ""})
	}
	root, err := os.OpenRoot(p)
	if err != nil {
		return err
	}
	defer root.Close()
	var names []string
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if slices.ContainsFunc(f.ends, func(end string) bool { return strings.HasSuffix(strings.ToLower(name), end) }) {
			names = append(names, name)
		}
		if len(names) > maxFiles {
			return &DamagedError{p, fmt.Sprintf("at most %d files", maxFiles), "more"}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return &DamagedError{p, "files that end in " + strings.Join(f.ends, " or "), "none"}
	}
	for _, name := range names { // in lexical order
		if err := f.read(r, source{root, name, filepath.Base(p)}); err != nil {
			return err
		}
	}
	return nil
}

// text reads a file.
func (r *reader) text(s source, most int64) ([]byte, error) {
	f, err := s.root.Open(s.name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	r.bytes += int64(len(b))
	if int64(len(b)) > most || r.bytes > maxTotal {
		return nil, &DamagedError{s.String(), fmt.Sprintf("a file of at most %d MiB, %d MiB in all", most>>20, maxTotal>>20), "more"}
	}
	return bytes.TrimPrefix(b, []byte("\ufeff")), nil // some tools begin with a byte order mark
}

// beside reads a file that another one names; it can't be outside of the folder.
func (r *reader) beside(s source, name string) ([]byte, error) {
	if name == "" || !filepath.IsLocal(filepath.FromSlash(name)) {
		return nil, errors.New("it names a file outside of the folder")
	}
	b, err := r.text(source{s.root, path.Clean(name), s.in}, maxFile)
	var damaged *DamagedError
	if err != nil && !errors.As(err, &damaged) {
		return nil, errors.New("the file that it names is not there")
	}
	return b, err
}

// object reads a JSON document.
func (r *reader) object(s source, v any) error {
	b, err := r.text(s, maxFile)
	if err != nil {
		return err
	}
	return decodeJSON(s, b, v)
}

func decodeJSON(s source, b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return &DamagedError{s.at("byte %d", d.InputOffset()), "JSON of this format", "other text: " + jsonProblem(err)}
	}
	return nil
}

// jsonProblem tells what is wrong without the data.
func jsonProblem(err error) string {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return "another type in " + kind.Field
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return "it ends too early"
	}
	return "a syntax error"
}

// documents reads the documents of a YAML file.
func (r *reader) documents(s source, each func(n int, doc *yaml.Node) error) error {
	b, err := r.text(s, maxYAML)
	if err != nil {
		return err
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	for n := 1; ; n++ {
		var doc yaml.Node
		err := readYAML(d, &doc)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &DamagedError{s.at("document %d", n), "YAML", "other text"}
		}
		if len(doc.Content) == 0 || doc.Content[0].ShortTag() == "!!null" {
			continue // an empty one
		}
		if err := each(n, doc.Content[0]); err != nil {
			return err
		}
	}
}

// readYAML reads a document. The library panics on some input.
func readYAML(d *yaml.Decoder, v *yaml.Node) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("not readable")
		}
	}()
	return d.Decode(v)
}

// decodeYAML fills v with a node.
func decodeYAML(s source, n *yaml.Node, v any) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("not readable")
		}
		if err != nil {
			err = &DamagedError{s.at("line %d", n.Line), "YAML of this format", "another type of value, or too many aliases"}
		}
	}()
	return n.Decode(v)
}
