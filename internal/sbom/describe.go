package sbom

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Program is what a recorder knows of the program that it recorded.
type Program struct {
	Name  string   // if not that of Path
	Path  string   // the executable, absolute; "" if nobody knows
	Root  string   // folder that Path and Files are in, if not /
	Files []string // files that it used, absolute; nil if nobody watched
	Cache string   // folder to keep digests and owners of files in, for the next time; "" is nowhere
}

// Bounds of what a list may cost: a recording must not wait for it.
const (
	maxFiles   = 4_096     // files whose owner is looked up
	maxListed  = 2_000     // components in all
	maxHashed  = 64 << 20  // bytes of libraries that no package owns
	maxProgram = 1 << 30   // bytes of an executable
	maxMeta    = 256 << 10 // bytes of a metadata file
)

// Describe lists the parts of a program, and of the recorder itself, whose
// build info self is (nil if it has none). What can't be read is said in the
// document.
func Describe(p Program, self *debug.BuildInfo, created time.Time) Document {
	l := newLister(self, created)
	l.p, l.tree, l.cache = p, inTree(p.Root), openCache(p.Cache)
	defer l.cache.save()
	id := l.program()
	l.libraries(id)
	tool := l.self(self)
	l.doc.relate(documentID, "DESCRIBES", id)
	l.doc.relate(documentID, "DESCRIBES", tool)
	return l.done()
}

// Self lists the parts of the recorder alone.
func Self(self *debug.BuildInfo, created time.Time) Document {
	l := newLister(self, created)
	l.doc.Name = "tapedeck"
	l.doc.relate(documentID, "DESCRIBES", l.self(self))
	return l.done()
}

// lister makes one document.
type lister struct {
	p      Program
	tree   tree // that p is in
	cache  *cache
	doc    *document
	out    Document
	notes  []string // what isn't known
	script string   // the interpreter that the program's first line names
	built  *debug.BuildInfo
	full   bool
}

func newLister(self *debug.BuildInfo, created time.Time) *lister {
	version := "unknown"
	if self != nil && self.Main.Version != "" {
		version = self.Main.Version
	}
	return &lister{doc: &document{Name: "recording", Creation: creation{
		created.UTC().Format("2006-01-02T15:04:05Z"), []string{"Tool: tapedeck-" + version}}}}
}

func (l *lister) done() Document {
	if len(l.notes) > 0 {
		l.doc.Comment = "not known: " + strings.Join(l.notes, "; ")
	}
	l.out.doc = l.doc
	return l.out
}

func (l *lister) note(format string, args ...any) {
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}

// list adds a component on which the element from depends.
func (l *lister) list(from, relation string, c component) {
	if len(l.doc.Packages) >= maxListed {
		if !l.full {
			l.note("components beyond the first %d", maxListed)
		}
		l.full = true
		return
	}
	l.doc.relate(from, relation, l.doc.add(c))
}

func (l *lister) program() string {
	c := component{name: l.p.Name, file: l.p.Path, purpose: "APPLICATION"}
	if c.name == "" && l.p.Path != "" {
		c.name = filepath.Base(l.p.Path)
	}
	if c.name != "" {
		l.doc.Name = c.name
	}
	if l.p.Path == "" {
		if c.name == "" {
			c.name = "program"
		}
		c.comment = "nobody noted which file was executed, so neither its digest nor its parts are known"
		return l.doc.add(c)
	}
	f, err := l.tree.open(l.p.Path)
	if err != nil {
		c.comment = "the executable couldn't be read, so neither its digest nor its parts are known"
		return l.doc.add(c)
	}
	defer f.Close()
	if c.sha256, err = l.hash(f, maxProgram); err != nil {
		l.note("the digest of %s: %v", c.name, err)
	}
	l.out.ProgramSHA256 = c.sha256
	l.script = interpreter(f)
	if l.built, err = readGo(f); err == nil {
		describeGo(&c, l.built)
	} else {
		c.comment = "version unknown: only what Go built says it"
	}
	id := l.doc.add(c)
	if l.built != nil {
		l.modules(id, l.built)
	} else if l.script == "" {
		l.note("libraries that are linked into %s statically", c.name)
	}
	return id
}

// self lists tapedeck and its modules.
func (l *lister) self(self *debug.BuildInfo) string {
	c := component{name: "tapedeck", purpose: "APPLICATION", comment: "the recorder"}
	if self == nil {
		return l.doc.add(c)
	}
	describeGo(&c, self)
	c.name = "tapedeck"
	id := l.doc.add(c)
	l.modules(id, self)
	return id
}

// libraries lists what the program had loaded, by the packages that own it.
func (l *lister) libraries(id string) {
	files := l.p.Files
	if files == nil && l.p.Path != "" {
		files = needed(l.tree, l.p.Path)
		if l.script != "" {
			files = append(files, needed(l.tree, l.script)...)
		}
		l.note("libraries that were loaded at run time: the recorder didn't watch; those here are what the executable's headers name")
	}
	var loaded []string
	for _, f := range files {
		if isLibrary(f) || strings.HasSuffix(f, ".jar") {
			loaded = append(loaded, f)
		}
	}
	slices.Sort(loaded)
	loaded = slices.Compact(loaded)
	if len(loaded) > maxFiles {
		l.note("%d libraries beyond the first %d", len(loaded)-maxFiles, maxFiles)
		loaded = loaded[:maxFiles]
	}
	own := []string{}
	for _, f := range []string{l.p.Path, l.script} {
		if f != "" {
			own = append(own, f)
		}
	}
	db, err := readDpkg(l.tree, append(slices.Clone(own), loaded...), l.cache)
	if err != nil {
		l.note("which packages own the libraries: %v", err)
	}
	seen := map[string]bool{}
	for _, f := range append(own, loaded...) {
		relation := "DYNAMIC_LINK"
		if f == l.script || strings.HasSuffix(f, ".jar") {
			relation = "DEPENDS_ON"
		}
		owner := db.owner(f)
		switch {
		case owner != "" && f == l.p.Path:
			seen[owner] = true
			c := db.component(owner)
			c.purpose = "APPLICATION"
			l.doc.relate(l.doc.add(c), "CONTAINS", id)
		case owner != "" && !seen[owner]:
			seen[owner] = true
			l.list(id, relation, db.component(owner))
		case owner == "" && strings.HasSuffix(f, ".jar"):
			l.list(id, relation, jar(l.tree, f))
		case owner != "" || f == l.p.Path || inDistribution(f):
		case cpython(f) != "":
			if v := cpython(f); !seen["cpython "+v] {
				seen["cpython "+v] = true
				l.list(id, relation, component{name: "cpython", version: v, purl: purl("generic", "cpython", v), purpose: "LIBRARY",
					source: f, comment: "patch level unknown: no package of the system owns it"})
			}
		default:
			l.list(id, relation, l.orphan(f))
		}
	}
	for _, c := range python(l.tree, files) {
		l.list(id, "DEPENDS_ON", c)
	}
	for _, c := range node(l.tree, files) {
		l.list(id, "DEPENDS_ON", c)
	}
}

// orphan is a library that no package owns: its digest is all there is.
func (l *lister) orphan(path string) component {
	c := component{name: filepath.Base(path), file: path, purpose: "LIBRARY", comment: "version and origin unknown: no package of the system owns the file"}
	if f, err := l.tree.open(path); err == nil {
		c.sha256, _ = l.hash(f, maxHashed)
		f.Close()
	}
	return c
}

// isLibrary tells whether a file is a shared object by its name: libc.so.6.
func isLibrary(path string) bool {
	base := filepath.Base(path)
	i := strings.Index(base, ".so")
	return i > 0 && (len(base) == i+3 || base[i+3] == '.') && !strings.HasSuffix(base, ".conf") && base != "ld.so.cache" && base != "ld.so.preload"
}

// hash returns the SHA-256 of a file, in hex.
func (l *lister) hash(f *os.File, most int64) (string, error) {
	st, err := f.Stat()
	switch {
	case err != nil:
		return "", err
	case !st.Mode().IsRegular():
		return "", errors.New("it is no regular file")
	case st.Size() > most:
		return "", fmt.Errorf("it has more than %d bytes", most)
	}
	sum, id := l.cache.digest(st)
	if sum != "" {
		return sum, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, st.Size())); err != nil {
		return "", err
	}
	sum = hex.EncodeToString(h.Sum(nil))
	l.cache.keepDigest(id, sum)
	return sum, nil
}

// interpreter is the absolute path that the file's #! line names, or "".
func interpreter(f io.ReaderAt) string {
	buf := make([]byte, 256)
	n, _ := f.ReadAt(buf, 0)
	line, _, _ := bytes.Cut(buf[:n], []byte("\n"))
	words := strings.Fields(strings.TrimPrefix(string(line), "#!"))
	if !bytes.HasPrefix(line, []byte("#!")) || len(words) == 0 || !filepath.IsAbs(words[0]) {
		return ""
	}
	return words[0]
}
