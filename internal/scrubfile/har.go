package scrubfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

// har scrubs an HTTP archive: the lists of names and values by name, bodies by
// their media type, base64 or not, all other leaves as JSON.
func har(s *scrub.Scrubber, text []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	v, err := readValue(dec, 0)
	if err != nil {
		return nil, fmt.Errorf("read the archive: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("need one document, found more behind it")
	}
	var before, after bytes.Buffer
	writeValue(&before, v)
	if err := harNode(s, "", v); err != nil {
		return nil, err
	}
	writeValue(&after, v)
	clean := s.JSON(after.Bytes()).Bytes()
	if bytes.Equal(clean, before.Bytes()) && utf8.Valid(text) {
		return text, nil // nothing to take out: its spelling and its spaces stay
	}
	return clean, nil
}

// kinds of the lists in an archive.
func harKind(key string) (scrub.Kind, bool) {
	switch key {
	case "headers":
		return scrub.Header, true
	case "queryString":
		return scrub.Query, true
	case "cookies":
		return scrub.Cookie, true
	case "params":
		return scrub.Form, true
	}
	return 0, false
}

func harNode(s *scrub.Scrubber, key string, v any) error {
	switch v := v.(type) {
	case []any:
		kind, ok := harKind(key)
		for _, e := range v {
			if o, isObject := e.(*object); ok && isObject {
				name, _ := o.get("name").(string)
				if value, isText := o.get("value").(string); isText {
					if kind == scrub.Header {
						o.set("value", s.HTTPField(name, value))
					} else {
						o.set("value", s.Field(kind, name, value))
					}
				}
				continue
			}
			if err := harNode(s, "", e); err != nil {
				return err
			}
		}
	case *object:
		media, _ := v.get("mimeType").(string)
		if text, ok := v.get("text").(string); ok && media != "" {
			clean, err := harBody(s, media, text, v.get("encoding") == "base64")
			if err != nil {
				return err
			}
			v.set("text", clean)
		}
		if link, ok := v.get("url").(string); ok {
			v.set("url", s.HTTPTarget(link))
		}
		for _, m := range v.members {
			if err := harNode(s, m.key, m.value); err != nil {
				return err
			}
		}
	}
	return nil
}

func harBody(s *scrub.Scrubber, media, text string, encoded bool) (string, error) {
	plain := []byte(text)
	if encoded {
		var err error
		if plain, err = decode64(text); err != nil {
			return plainText(s, text), nil
		}
	}
	clean, err := body(s, media, plain)
	if err != nil || bytes.Equal(clean, plain) {
		return text, err
	}
	if encoded {
		return encode64(clean), nil
	}
	return string(clean), nil
}

// object is a JSON object that keeps the order of its members.
type object struct{ members []member }

type member struct {
	key   string
	value any
}

func (o *object) get(key string) any {
	for _, m := range o.members {
		if m.key == key {
			return m.value
		}
	}
	return nil
}

func (o *object) set(key string, value any) {
	for i := range o.members {
		if o.members[i].key == key {
			o.members[i].value = value
		}
	}
}

const maxNesting = 256

func readValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("need at most %d levels, found more", maxNesting)
	}
	t, err := dec.Token()
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		o := &object{}
		for dec.More() {
			k, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := readValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			o.members = append(o.members, member{k.(string), v})
		}
		_, err = dec.Token()
		return o, err
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := readValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = dec.Token()
		return list, err
	}
	return t, nil
}

func writeValue(w *bytes.Buffer, v any) {
	switch v := v.(type) {
	case *object:
		w.WriteByte('{')
		for i, m := range v.members {
			if i > 0 {
				w.WriteByte(',')
			}
			writeValue(w, m.key)
			w.WriteByte(':')
			writeValue(w, m.value)
		}
		w.WriteByte('}')
	case []any:
		w.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				w.WriteByte(',')
			}
			writeValue(w, e)
		}
		w.WriteByte(']')
	default:
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(v)       // a string, a number, a boolean or null: it can't fail
		w.Truncate(w.Len() - 1) // the line's end
	}
}
