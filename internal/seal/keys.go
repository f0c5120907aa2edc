package seal

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// Kind is what a secret of the key file is for.
type Kind string

const (
	// KindKey wraps data keys.
	KindKey Kind = "key"
	// KindSalt makes the tokens of scrubbed values.
	KindSalt Kind = "salt"
)

// Keys is a local key file. It is made, for its owner alone, when the first
// key is. Its methods may be used by several processes at once.
type Keys struct {
	Path string
}

// Entry is what may be told of a key or a salt.
type Entry struct {
	Kind      Kind       `json:"kind"`
	Name      string     `json:"name"`
	ID        string     `json:"id"`
	Ref       string     `json:"ref"` // local:NAME
	Created   time.Time  `json:"created"`
	Versions  []Version  `json:"versions"`            // oldest first; none are left of one that is destroyed
	Destroyed *time.Time `json:"destroyed,omitempty"` // then this is all that is left of it
}

// Version is one version of a key. The newest wraps; all unwrap.
type Version struct {
	Version int       `json:"version"`
	Created time.Time `json:"created"`
}

// List says what the key file holds, in the order in which it was made. No
// file is an empty list.
func (k Keys) List() ([]Entry, error) {
	f, err := k.load()
	if err != nil {
		return nil, err
	}
	list := make([]Entry, 0, len(f.entries))
	for _, e := range f.entries {
		list = append(list, e.public())
	}
	return list, nil
}

// New makes a key or a salt. The name may be one whose key was destroyed: the
// id is another.
func (k Keys) New(kind Kind, name string) (Entry, error) {
	if err := checkName(name); err != nil {
		return Entry{}, &KeyError{Ref: localScheme + shown(name), Need: "a name for it", Found: err.Error()}
	}
	var made Entry
	err := k.update(func(f *keyFile) error {
		if f.live(kind, name) != nil {
			return &KeyError{Ref: localScheme + name, Need: "a " + string(kind) + " of a new name", Found: "one of that name", Fix: "tapedeck key rotate makes a new version of it"}
		}
		made = f.add(kind, name).public()
		return nil
	})
	return made, err
}

// Rotate makes a new version of a key, which wraps from now on. What the old
// ones wrapped can still be unwrapped.
func (k Keys) Rotate(kind Kind, name string) (Entry, error) {
	var now Entry
	err := k.update(func(f *keyFile) error {
		e := f.live(kind, name)
		if e == nil {
			return f.none(kind, localRef{name: name}, k.Path)
		}
		e.versions = append(e.versions, version{len(e.versions) + 1, clock(), newSecret()})
		now = e.public()
		return nil
	})
	return now, err
}

// Destroy removes all versions of a key for good, and leaves its name, id and
// date. Whatever only it could unwrap stays unreadable. The bytes are
// overwritten where they stood in the file; copies of the file that somebody
// made are out of reach.
func (k Keys) Destroy(kind Kind, name string) (Entry, error) {
	var gone Entry
	err := k.update(func(f *keyFile) error {
		e := f.live(kind, name)
		if e == nil {
			return f.none(kind, localRef{name: name}, k.Path)
		}
		now := clock()
		e.versions, e.destroyed = nil, &now
		gone = e.public()
		f.shred = true
		return nil
	})
	return gone, err
}

// find returns a key and its full reference. The one named default is made on
// its first use.
func (k Keys) find(kind Kind, r localRef) (localRef, secret, error) {
	f, err := k.load()
	if err != nil {
		return r, secret{}, err
	}
	if full, key, err := f.find(kind, r, k.Path); err == nil || r.id != "" || localScheme+r.name != DefaultKey || f.any(kind, r.name) {
		return full, key, err
	}
	var full localRef
	var key secret
	err = k.update(func(f *keyFile) error {
		if f.live(kind, r.name) == nil { // else another process was faster
			f.add(kind, r.name)
		}
		full, key, err = f.find(kind, r, k.Path)
		return err
	})
	return full, key, err
}

// entry is a key or a salt in memory.
type entry struct {
	kind      Kind
	name, id  string
	created   time.Time
	versions  []version
	destroyed *time.Time
}

type version struct {
	n       int
	created time.Time
	key     secret
}

func (e *entry) public() Entry {
	p := Entry{Kind: e.kind, Name: e.name, ID: e.id, Ref: localScheme + e.name, Created: e.created, Versions: []Version{}, Destroyed: e.destroyed}
	for _, v := range e.versions {
		p.Versions = append(p.Versions, Version{v.n, v.created})
	}
	return p
}

func (f *keyFile) add(kind Kind, name string) *entry {
	var id [8]byte
	rand.Read(id[:])
	now := clock()
	e := &entry{kind: kind, name: name, id: hex.EncodeToString(id[:]), created: now, versions: []version{{1, now, newSecret()}}}
	f.entries = append(f.entries, e)
	return e
}

// live is the key of that name that isn't destroyed, or nil.
func (f *keyFile) live(kind Kind, name string) *entry {
	for _, e := range f.entries {
		if e.kind == kind && e.name == name && e.destroyed == nil {
			return e
		}
	}
	return nil
}

// any tells whether there is or was a key of that name.
func (f *keyFile) any(kind Kind, name string) bool {
	return slices.ContainsFunc(f.entries, func(e *entry) bool { return e.kind == kind && e.name == name })
}

func (f *keyFile) find(kind Kind, r localRef, path string) (localRef, secret, error) {
	for _, e := range f.entries {
		if e.kind != kind || e.destroyed != nil || e.name != r.name && r.id == "" || r.id != "" && e.id != r.id {
			continue
		}
		n := r.version
		if n == 0 {
			n = len(e.versions)
		}
		if n > len(e.versions) {
			return r, secret{}, &KeyError{Ref: r.String(), Need: "that version of it", Found: fmt.Sprintf("versions 1 to %d in %s", len(e.versions), path),
				Fix: "the key file may be an old copy"}
		}
		return localRef{e.name, e.id, n}, e.versions[n-1].key, nil
	}
	return r, secret{}, f.none(kind, r, path)
}

// none says why there is no such key.
func (f *keyFile) none(kind Kind, r localRef, path string) error {
	for _, e := range slices.Backward(f.entries) {
		if e.kind == kind && e.destroyed != nil && (e.id == r.id || r.id == "" && e.name == r.name) {
			return &DestroyedError{Ref: r.String(), When: *e.destroyed}
		}
	}
	found := "none in " + path
	if r.id != "" && f.live(kind, r.name) != nil {
		found = "one of that name and another id in " + path
	}
	fix := fmt.Sprintf("tapedeck key new %s makes one", r.name)
	if kind == KindSalt {
		fix = fmt.Sprintf("tapedeck key new --salt %s makes one", r.name)
	}
	if r.id != "" {
		fix = "TAPEDECK_KEYS names the key file to look in"
	}
	return &KeyError{Ref: r.String(), Need: "that " + string(kind), Found: found, Fix: fix}
}

func clock() time.Time { return time.Now().UTC().Truncate(time.Second) }
