package sbom

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// A program is recorded many times, and neither it nor the system's packages
// change in between. So what takes long is kept: digests of files, by what the
// kernel says of them, and the owners of files, until dpkg changes something.
// The file is a cache and nothing else: one that can't be read is made anew.

const (
	cacheFile    = "parts.json"
	cacheVersion = 1
	maxCache     = 8 << 20 // bytes
	maxKept      = 8_192   // entries of each kind
)

type cache struct {
	Version int               `json:"version"`
	Digests map[string]string `json:"digests"` // identity of a file to SHA-256
	Dpkg    string            `json:"dpkg"`    // identity of the database
	Owners  map[string]string `json:"owners"`  // path to package; "" is none
	About   map[string]stanza `json:"about"`   // package to what dpkg says of it

	file    string
	changed bool
}

// openCache reads what is kept in dir; "" keeps nothing.
func openCache(dir string) *cache {
	c := &cache{}
	if dir != "" {
		c.file = filepath.Join(dir, cacheFile)
		if f, err := os.Open(c.file); err == nil {
			text, err := io.ReadAll(io.LimitReader(f, maxCache))
			if err != nil || json.Unmarshal(text, c) != nil || c.Version != cacheVersion {
				*c = cache{file: c.file}
			}
			_ = f.Close()
		}
	}
	c.Version = cacheVersion
	if c.Digests == nil {
		c.Digests = map[string]string{}
	}
	if c.Owners == nil || c.About == nil {
		c.Dpkg, c.Owners, c.About = "", map[string]string{}, map[string]stanza{}
	}
	return c
}

// save puts the cache in its place, if there is something new in it. Of two
// recordings that end at once, one will have to look again.
func (c *cache) save() {
	if c.file == "" || !c.changed {
		return
	}
	text, err := json.Marshal(c)
	if err != nil || len(text) > maxCache || os.MkdirAll(filepath.Dir(c.file), 0o700) != nil {
		return
	}
	tmp, err := os.CreateTemp(filepath.Dir(c.file), cacheFile+".*")
	if err != nil {
		return
	}
	_, err = tmp.Write(text)
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil || os.Rename(tmp.Name(), c.file) != nil {
		_ = os.Remove(tmp.Name())
	}
}

// digest returns what is known of an open file's content, and the name under
// which to keep it: "" if the file is too young to tell two versions apart.
func (c *cache) digest(st os.FileInfo) (sum, id string) {
	id = identity(st)
	if id == "" || time.Since(st.ModTime()) < 2*time.Second {
		return "", ""
	}
	return c.Digests[id], id
}

func (c *cache) keepDigest(id, sum string) {
	if id == "" {
		return
	}
	if len(c.Digests) >= maxKept {
		clear(c.Digests)
	}
	c.Digests[id], c.changed = sum, true
}

// forDpkg makes sure that owners are those of this state of the database.
func (c *cache) forDpkg(state string) {
	if c.Dpkg != state || len(c.Owners) >= maxKept {
		c.Dpkg, c.changed = state, true
		clear(c.Owners)
		clear(c.About)
	}
}

// identity changes when a file does: even a program that sets the time of
// modification back can't set that of the inode's change.
func identity(st os.FileInfo) string {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", sys.Dev, sys.Ino, sys.Size, st.ModTime().UnixNano(), sys.Ctim.Nano())
}
