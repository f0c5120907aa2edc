package sbom

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
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
	distro, version string
	owners          map[string]string // file to "package:arch" or "package", as the lists are named
	about           map[string]stanza
}

// stanza is what the database says of a package.
type stanza struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	Arch       string `json:"arch"`
	Source     string `json:"source,omitempty"`
	Maintainer string `json:"maintainer,omitempty"`
}

func (d *dpkg) owner(file string) string {
	if d == nil {
		return ""
	}
	return d.owners[file]
}

func (d *dpkg) component(owner string) component {
	s := d.about[owner]
	c := component{name: s.Name, version: s.Version, purpose: "LIBRARY", source: "dpkg"}
	if s.Name == "" {
		c.name, c.comment = owner, "version unknown: dpkg has the files of the package, but not its status"
		return c
	}
	c.purl = purl("deb", d.distro+"/"+s.Name, s.Version) + "?arch=" + escape(s.Arch)
	if d.version != "" {
		c.purl += "&distro=" + escape(d.distro+"-"+d.version)
	}
	if s.Source != "" {
		c.source = "dpkg; built from the source package " + s.Source
	}
	if s.Maintainer != "" {
		c.supplier = agent(s.Maintainer)
	}
	return c
}

// agent is a maintainer as SPDX has it, which wants to know persons from others.
func agent(maintainer string) string {
	for _, word := range []string{"Team", "Maintainers", "Developers", "Group", "Packagers", "Project", "Debian", "Ubuntu"} {
		if strings.Contains(maintainer, word) {
			return "Organization: " + maintainer
		}
	}
	return "Person: " + maintainer
}

// readDpkg looks up the owners of files of a tree. It reads the database
// itself: dpkg -S takes ten times as long, which every recording would pay.
func readDpkg(root tree, files []string, kept *cache) (*dpkg, error) {
	dir := root.host("/var/lib/dpkg")
	state, err := stateOf(filepath.Join(dir, "info"), filepath.Join(dir, "status"))
	if err != nil {
		return nil, errors.New("there is no database of dpkg")
	}
	kept.forDpkg(state)
	d := &dpkg{distro: "debian", owners: map[string]string{}, about: kept.About}
	d.release(root.small("/etc/os-release"))
	var asked []string
	for _, f := range files {
		owner, ok := kept.Owners[f]
		switch {
		case !ok && mayBeOwned(f):
			asked = append(asked, f)
		case owner != "":
			d.owners[f] = owner
		}
	}
	if len(asked) == 0 {
		return d, nil
	}
	if err := d.search(root, dir, asked); err != nil {
		return nil, err
	}
	if err := d.readStatus(filepath.Join(dir, "status")); err != nil {
		return d, fmt.Errorf("the versions of packages: %w", err)
	}
	for _, f := range asked {
		kept.Owners[f], kept.changed = d.owners[f], true
	}
	return d, nil
}

// stateOf changes whenever a package is installed or removed.
func stateOf(paths ...string) (string, error) {
	var list []string
	for _, p := range paths {
		st, err := os.Stat(p)
		if err != nil {
			return "", err
		}
		list = append(list, identity(st))
	}
	return strings.Join(list, " "), nil
}

// mayBeOwned tells whether a file is where packages put files. To find that
// nobody owns one, every list has to be read.
func mayBeOwned(file string) bool {
	for _, d := range []string{"/usr/local/", "/home/", "/root/", "/tmp/", "/var/tmp/", "/mnt/"} {
		if strings.HasPrefix(file, d) {
			return false
		}
	}
	return true
}

// search goes through the lists of files that packages have.
func (d *dpkg) search(root tree, dir string, files []string) error {
	names, err := listNames(filepath.Join(dir, "info"))
	if err != nil {
		return err
	}
	want := map[string][]string{} // name in the lists to files
	for _, f := range files {
		for _, alias := range aliases(root, f) {
			if !slices.Contains(want[alias], f) {
				want[alias] = append(want[alias], f)
			}
		}
	}
	likelyFirst(names, files)
	left := map[string]bool{}
	for _, f := range files {
		left[f] = true
	}
	buf := make([]byte, 0, 256<<10)
	for _, name := range names {
		if len(left) == 0 {
			break
		}
		if buf, err = readInto(buf, filepath.Join(dir, "info", name)); err != nil {
			continue
		}
		for _, f := range d.take(strings.TrimSuffix(name, ".list"), buf, want) {
			delete(left, f)
		}
	}
	return nil
}

// take notes which of the wanted files a package's list has.
func (d *dpkg) take(owner string, list []byte, want map[string][]string) (found []string) {
	for len(list) > 0 {
		var line []byte
		line, list, _ = bytes.Cut(list, []byte("\n"))
		for _, f := range want[string(line)] {
			d.owners[f] = owner
			found = append(found, f)
		}
	}
	return found
}

// readStatus looks up the packages that own something.
func (d *dpkg) readStatus(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxStatus))
	if err != nil {
		return err
	}
	d.status(text)
	return nil
}

func (d *dpkg) status(text []byte) {
	wanted := map[string]bool{}
	for _, o := range d.owners {
		name, _, _ := strings.Cut(o, ":")
		wanted[name] = true
	}
	for len(text) > 0 {
		var one []byte
		one, text, _ = bytes.Cut(text, []byte("\n\n"))
		name, _, _ := bytes.Cut(bytes.TrimPrefix(one, []byte("Package: ")), []byte("\n"))
		if !wanted[string(name)] {
			continue
		}
		s := parseStanza(string(one))
		d.about[s.Name], d.about[s.Name+":"+s.Arch] = s, s
	}
}

func parseStanza(text string) stanza {
	var s stanza
	for line := range strings.Lines(text) {
		field, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch field {
		case "Package":
			s.Name = value
		case "Version":
			s.Version = value
		case "Architecture":
			s.Arch = value
		case "Source":
			s.Source = value
		case "Maintainer":
			name, _, _ := strings.Cut(value, " <")
			s.Maintainer = name
		}
	}
	return s
}

func (d *dpkg) release(text []byte) {
	for line := range strings.Lines(string(text)) {
		field, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch field {
		case "ID":
			if value != "" && idString(value) == value {
				d.distro = value
			}
		case "VERSION_ID":
			d.version = value
		}
	}
}
