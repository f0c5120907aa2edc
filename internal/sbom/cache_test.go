package sbom

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// image is a root file system with one program and one package.
func image(t testing.TB) (root string, put func(name, text string)) {
	root = t.TempDir()
	put = func(name, text string) {
		path := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte(text), 0o600))
	}
	put("bin/program", "one")
	put("usr/lib/libz.so.1", "z")
	put("var/lib/dpkg/info/libz1:amd64.list", "/usr/lib/libz.so.1\n")
	put("var/lib/dpkg/status", "Package: libz1\nArchitecture: amd64\nVersion: 1.3\n")
	return root, put
}

// TestCache: with what was kept the list is the same, and what has changed
// since is seen.
func TestCache(t *testing.T) {
	t.Parallel()
	root, put := image(t)
	long := time.Now().Add(-time.Hour)
	age := func() { must(t, os.Chtimes(filepath.Join(root, "bin/program"), long, long)) }
	age()
	kept := t.TempDir()
	list := func(cache string) string {
		t.Helper()
		d := Describe(Program{Path: "/bin/program", Root: root, Files: []string{"/usr/lib/libz.so.1"}, Cache: cache}, nil, when)
		text, err := d.Encode()
		must(t, err)
		return string(text)
	}
	same := func() {
		t.Helper()
		if cold, warm := list(""), list(kept); cold != warm {
			t.Errorf("without: %s\nwith: %s", cold, warm)
		}
	}
	same()
	same()
	c := openCache(kept)
	if len(c.Digests) != 1 || c.Owners["/usr/lib/libz.so.1"] != "libz1:amd64" || c.About["libz1:amd64"].Version != "1.3" {
		t.Errorf("kept %+v", c)
	}
	put("bin/program", "two") // of the same size and, in a moment, the same age
	age()
	same()
	put("var/lib/dpkg/status", "Package: libz1\nArchitecture: amd64\nVersion: 1.4-9\n")
	same()
	put("var/lib/dpkg/info/libz1:amd64.list", "/usr/lib/other\n")
	put("var/lib/dpkg/info/libz2.list", "/usr/lib/libz.so.1\n") // dpkg puts lists in their place by renaming them
	same()
	for _, noise := range []string{"", "{", `{"version":1,"digests":null}`, `{"version":99,"owners":{"/usr/lib/libz.so.1":"x"}}`, `[]`} {
		must(t, os.WriteFile(filepath.Join(kept, cacheFile), []byte(noise), 0o600))
		same()
	}
	st, err := os.Stat(filepath.Join(kept, cacheFile))
	must(t, err)
	if st.Mode().Perm()&0o077 != 0 {
		t.Errorf("mode %v", st.Mode())
	}
	left, err := filepath.Glob(filepath.Join(kept, "*"))
	must(t, err)
	if len(left) != 1 {
		t.Errorf("left behind: %q", left)
	}
	// A folder that can't be written to does no harm.
	list(filepath.Join(root, "bin/program/x"))
}

// TestCacheYoung: a file that may change within the clock's grain isn't kept.
func TestCacheYoung(t *testing.T) {
	t.Parallel()
	root, _ := image(t)
	kept := t.TempDir()
	Describe(Program{Path: "/bin/program", Root: root, Cache: kept}, nil, when)
	if c := openCache(kept); len(c.Digests) != 0 {
		t.Errorf("kept %v", c.Digests)
	}
}

func TestCacheBounded(t *testing.T) {
	t.Parallel()
	c := openCache("")
	for i := range 3 * maxKept {
		c.keepDigest(fmt.Sprint(i), strings.Repeat("0", 64))
	}
	c.forDpkg("a")
	for i := range 2 * maxKept {
		c.Owners[fmt.Sprint(i)] = ""
	}
	c.forDpkg("a")
	if len(c.Digests) > maxKept || len(c.Owners) != 0 {
		t.Errorf("%d digests, %d owners", len(c.Digests), len(c.Owners))
	}
}

func TestReadInto(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "list")
	text := strings.Repeat("/usr/lib/libz.so.1\n", 1000)
	must(t, os.WriteFile(file, []byte(text), 0o600))
	for _, buf := range [][]byte{nil, make([]byte, 0, 1), make([]byte, 10, 1<<20)} {
		if got, err := readInto(buf, file); err != nil || string(got) != text {
			t.Errorf("into %d bytes: %d bytes, %v", cap(buf), len(got), err)
		}
	}
	must(t, os.Truncate(file, maxList+1))
	if got, err := readInto(nil, file); err == nil || len(got) != 0 {
		t.Errorf("%d bytes", len(got))
	}
}
