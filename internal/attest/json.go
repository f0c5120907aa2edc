package attest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// decode reads one JSON value of at most limit bytes into v. Two readers must
// not understand a signed text differently, so it refuses what encoding/json
// alone would take: a field twice, or in another spelling.
func decode(what string, b []byte, limit int, v any) error {
	if len(b) > limit {
		return malformed(what, "", fmt.Sprintf("at most %d bytes", limit), fmt.Sprint(len(b)))
	}
	if !utf8.Valid(b) {
		return malformed(what, "", "UTF-8", "other bytes")
	}
	c := checker{d: json.NewDecoder(bytes.NewReader(b))}
	c.d.UseNumber()
	err := c.value(0, false)
	if _, more := c.d.Token(); err == nil && !errors.Is(more, io.EOF) {
		err = errors.New("something behind the value")
	}
	if err != nil {
		return malformed(what, "", "JSON in which every field occurs once, under its own name", err.Error())
	}
	if err := json.Unmarshal(b, v); err != nil {
		var t *json.UnmarshalTypeError
		if errors.As(err, &t) {
			return malformed(what, t.Field, "a "+t.Type.Kind().String(), "a "+t.Value)
		}
		return malformed(what, "", "the fields that it has to have", err.Error())
	}
	return nil
}

// maxDepth keeps JSON from filling the stack.
const maxDepth = 64

type checker struct {
	d *json.Decoder
}

// value walks over one value. In an open map the names are the user's own.
func (c *checker) value(depth int, open bool) error {
	if depth > maxDepth {
		return fmt.Errorf("more than %d levels", maxDepth)
	}
	t, err := c.d.Token()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	delim, ok := t.(json.Delim)
	if err != nil || !ok {
		return err
	}
	seen := map[string]bool{}
	for c.d.More() {
		inside := open
		if delim == '{' {
			t, err := c.d.Token()
			if err != nil {
				return err
			}
			key, _ := t.(string)
			fold := strings.Map(foldRune, key)
			if seen[fold] {
				return fmt.Errorf("%.40q twice", key)
			}
			seen[fold] = true
			if name := fieldName(key); name != key && name != "" && !open {
				return fmt.Errorf("%.40q, which some readers take for %q", key, name)
			}
			switch key {
			case "externalParameters", "internalParameters", "annotations", "digest", "version":
				inside = true
			}
		}
		if err := c.value(depth+1, inside); err != nil {
			return err
		}
	}
	_, err = c.d.Token()
	return err
}

// fieldName is the field that encoding/json takes a name for, or "".
func fieldName(key string) string {
	names := [...]string{
		"payloadType", "payload", "signatures", "keyid", "sig",
		"_type", "subject", "predicateType", "predicate", "name", "uri", "digest", "mediaType", "annotations",
		"buildDefinition", "buildType", "externalParameters", "internalParameters", "resolvedDependencies",
		"runDetails", "builder", "id", "version", "metadata", "invocationId", "startedOn", "finishedOn",
	}
	for _, n := range names {
		if n == key {
			return n
		}
	}
	for _, n := range names {
		if strings.EqualFold(n, key) {
			return n
		}
	}
	return ""
}

// foldRune maps letters that encoding/json doesn't tell apart to one of them:
// not only k to K, but the Kelvin sign, too.
func foldRune(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}
