package sbom

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxLists  = 20_000
	maxList   = 16 << 20
	maxStatus = 64 << 20
)

// dpkg is what dpkg's database says of some files. A nil one knows nothing.
type dpkg struct {
	distro, release string
	owners          map[string]string // file to "package:arch" or "package", as the lists are named
	about           map[string]stanza
}

type stanza struct {
	name, version, arch, source, maintainer string
}

func (d *dpkg) owner(file string) string {
	if d == nil {
		return ""
	}
	return d.owners[file]
}

func (d *dpkg) component(owner string) component {
	s := d.about[owner]
	c := component{name: s.name, version: s.version, purpose: "LIBRARY", source: "dpkg"}
	if s.name == "" {
		c.name, c.comment = owner, "version unknown: dpkg has the files of the package, but not its status"
		return c
	}
	c.purl = purl("deb", d.distro+"/"+s.name, s.version) + "?arch=" + escape(s.arch)
	if d.release != "" {
		c.purl += "&distro=" + escape(d.distro+"-"+d.release)
	}
	if s.source != "" {
		c.source = "dpkg; built from the source package " + s.source
	}
	if s.maintainer != "" {
		c.supplier = "Organization: " + s.maintainer
	}
	return c
}

// readDpkg looks up the owners of files below root. It reads the database
// itself: dpkg -S takes ten times as long, which every recording would pay.
func readDpkg(root string, files []string) (*dpkg, error) {
	const dir = "/var/lib/dpkg/"
	names, err := listNames(root, dir+"info")
	if err != nil {
		return nil, errors.New("there is no database of dpkg")
	}
	d := &dpkg{distro: "debian", owners: map[string]string{}, about: map[string]stanza{}}
	d.readRelease(root)
	want := map[string][]string{} // name in the lists to files
	for _, f := range files {
		for _, alias := range aliases(root, f) {
			if !slices.Contains(want[alias], f) {
				want[alias] = append(want[alias], f)
			}
		}
	}
	likelyFirst(names, files)
	left := len(files)
	buf := make([]byte, 0, 256<<10)
	for _, name := range names {
		if left <= len(d.owners) {
			break
		}
		if buf, err = readInto(buf, root, dir+"info/"+name); err != nil {
			continue
		}
		for b := buf; len(b) > 0; {
			line, rest, _ := bytes.Cut(b, []byte("\n"))
			for _, f := range want[string(line)] {
				d.owners[f] = strings.TrimSuffix(name, ".list")
			}
			b = rest
		}
	}
	if err := d.readStatus(root, dir+"status"); err != nil {
		return d, fmt.Errorf("the versions of packages: %w", err)
	}
	return d, nil
}

func listNames(root, dir string) ([]string, error) {
	f, err := openFile(root, dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := f.Readdirnames(maxLists * 8)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	names := slices.DeleteFunc(all, func(n string) bool { return !strings.HasSuffix(n, ".list") })
	slices.Sort(names)
	return names[:min(len(names), maxLists)], nil
}

// aliases are the names that dpkg may know a file by: since /lib became a link
// to /usr/lib, packages have either.
func aliases(root, file string) []string {
	list := []string{file}
	if real, err := filepath.EvalSymlinks(filepath.Join(root, file)); err == nil {
		if rel, ok := strings.CutPrefix(real, strings.TrimSuffix(root, "/")); ok && rel != file {
			list = append(list, rel)
		}
	}
	for _, f := range slices.Clone(list) {
		if rest, ok := strings.CutPrefix(f, "/usr"); ok {
			list = append(list, rest)
		} else {
			list = append(list, "/usr"+f)
		}
	}
	return list
}

// likelyFirst puts the lists first that a library's name points to
// (libssl.so.3 is in libssl3), and those last that have no programs.
func likelyFirst(names, files []string) {
	guess := map[string]bool{"coreutils": true}
	for _, f := range files {
		stem, version, ok := strings.Cut(filepath.Base(f), ".so")
		guess[stem] = true
		if ok {
			version = strings.TrimPrefix(version, ".")
			major, _, _ := strings.Cut(version, ".")
			for _, v := range []string{major, version} {
				guess[stem+v], guess[stem+"-"+v] = true, true
			}
		}
	}
	rank := func(name string) int {
		name, _, _ = strings.Cut(strings.TrimSuffix(name, ".list"), ":")
		switch {
		case guess[name]:
			return 0
		case strings.HasSuffix(name, "-dev"), strings.HasSuffix(name, "-doc"), strings.HasPrefix(name, "fonts-"):
			return 2
		}
		return 1
	}
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
}

func readInto(buf []byte, root, path string) ([]byte, error) {
	f, err := openFile(root, path)
	if err != nil {
		return buf[:0], err
	}
	defer f.Close()
	buf = buf[:0]
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, cap(buf))
		}
		n, err := f.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return buf[:0], err
		case len(buf) > maxList:
			return buf[:0], errors.New("too large")
		}
	}
}

// readStatus looks up the packages that own something.
func (d *dpkg) readStatus(root, path string) error {
	wanted := map[string]bool{}
	for _, o := range d.owners {
		name, _, _ := strings.Cut(o, ":")
		wanted[name] = true
	}
	f, err := openFile(root, path)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxStatus))
	if err != nil {
		return err
	}
	for len(text) > 0 {
		var one []byte
		one, text, _ = bytes.Cut(text, []byte("\n\n"))
		name, _, _ := bytes.Cut(bytes.TrimPrefix(one, []byte("Package: ")), []byte("\n"))
		if !wanted[string(name)] {
			continue
		}
		s := parseStanza(string(one))
		d.about[s.name], d.about[s.name+":"+s.arch] = s, s
	}
	return nil
}

func parseStanza(text string) stanza {
	var s stanza
	for line := range strings.Lines(text) {
		field, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch field {
		case "Package":
			s.name = value
		case "Version":
			s.version = value
		case "Architecture":
			s.arch = value
		case "Source":
			s.source = value
		case "Maintainer":
			name, _, _ := strings.Cut(value, " <")
			s.maintainer = name
		}
	}
	return s
}

func (d *dpkg) readRelease(root string) {
	for line := range strings.Lines(string(readSmall(root, "/usr/lib/os-release"))) {
		field, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch field {
		case "ID":
			if value != "" && idString(value) == value {
				d.distro = value
			}
		case "VERSION_ID":
			d.release = value
		}
	}
}
