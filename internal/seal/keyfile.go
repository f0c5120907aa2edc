package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// keyFile is the content of a key file.
type keyFile struct {
	entries []*entry
	shred   bool // the file that this replaces must not survive in any link
}

// fileVersion is the version of the format that this program writes, and the
// newest that it reads.
const fileVersion = 1

// The format, as JSON. It is read strictly: who would write a field that this
// version doesn't know back to the file must not lose it.
type fileJSON struct {
	Version int         `json:"tapedeck_keys"`
	Entries []entryJSON `json:"entries"`
}

type entryJSON struct {
	Kind      Kind          `json:"kind"`
	Name      string        `json:"name"`
	ID        string        `json:"id"`
	Created   time.Time     `json:"created"`
	Destroyed *time.Time    `json:"destroyed,omitempty"`
	Versions  []versionJSON `json:"versions,omitempty"`
}

type versionJSON struct {
	Version int       `json:"version"`
	Created time.Time `json:"created"`
	Secret  string    `json:"secret"` // base64, 32 bytes
}

func (f *keyFile) encode() ([]byte, error) {
	j := fileJSON{Version: fileVersion, Entries: []entryJSON{}}
	for _, e := range f.entries {
		x := entryJSON{Kind: e.kind, Name: e.name, ID: e.id, Created: e.created, Destroyed: e.destroyed}
		for _, v := range e.versions {
			x.Versions = append(x.Versions, versionJSON{v.n, v.created, v.key.text()})
		}
		j.Entries = append(j.Entries, x)
	}
	text, err := json.MarshalIndent(j, "", "  ")
	return append(text, '\n'), err
}

// parseKeyFile never cites what it reads in an error.
func parseKeyFile(text []byte) (*keyFile, error) {
	var head struct {
		Version int `json:"tapedeck_keys"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, notJSON(err)
	}
	if head.Version > fileVersion {
		return nil, fmt.Errorf("version %d, of a newer tapedeck", head.Version)
	}
	if head.Version < 1 {
		return nil, errors.New("no version")
	}
	var j fileJSON
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&j); err != nil {
		return nil, notJSON(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("more behind its end")
	}
	f := &keyFile{}
	ids := map[string]bool{}
	for i, x := range j.Entries {
		e, err := x.entry()
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		if ids[e.id] || e.destroyed == nil && f.live(e.kind, e.name) != nil {
			return nil, fmt.Errorf("entry %d: the id or the name of another", i+1)
		}
		ids[e.id] = true
		f.entries = append(f.entries, e)
	}
	return f, nil
}

func (x entryJSON) entry() (*entry, error) {
	e := &entry{kind: x.Kind, name: x.Name, id: x.ID, created: x.Created, destroyed: x.Destroyed}
	switch {
	case x.Kind != KindKey && x.Kind != KindSalt:
		return nil, errors.New("neither a key nor a salt")
	case checkName(x.Name) != nil:
		return nil, errors.New("a name that can't be one")
	case !isID(x.ID):
		return nil, errors.New("an id that can't be one")
	case (x.Destroyed != nil) != (len(x.Versions) == 0):
		return nil, errors.New("either versions or the date of its destruction are missing, or both are there")
	}
	for i, v := range x.Versions {
		if v.Version != i+1 {
			return nil, fmt.Errorf("version %d out of order", i+1)
		}
		b, err := base64.StdEncoding.Strict().DecodeString(v.Secret)
		if err != nil {
			return nil, fmt.Errorf("version %d: no base64", v.Version)
		}
		key, err := secretOf(b)
		if err != nil || key.zero() {
			return nil, fmt.Errorf("version %d: no key of %d bytes", v.Version, keySize)
		}
		e.versions = append(e.versions, version{v.Version, v.Created, key})
	}
	return e, nil
}

// notJSON says where the text is wrong; the library's own words may have
// pieces of it in them.
func notJSON(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("no JSON at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf("a value of another type at byte %d", kind.Offset)
	}
	return errors.New("JSON that isn't a key file's")
}
