// Package sbom lists what a recorded program is made of, as an SPDX 2.3
// document in JSON. [Describe] is the entry point. It reads what is on the
// machine and runs nothing: Go's build info, dpkg's database, the metadata of
// Python, Node and Java packages among the files that the program used. What
// can't be known is said: NOASSERTION, and a comment.
package sbom

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

const unknown = "NOASSERTION"

// document is an SPDX 2.3 document, as far as it is used here.
type document struct {
	Version       string         `json:"spdxVersion"`
	License       string         `json:"dataLicense"`
	ID            string         `json:"SPDXID"`
	Name          string         `json:"name"`
	Namespace     string         `json:"documentNamespace"`
	Creation      creation       `json:"creationInfo"`
	Comment       string         `json:"comment,omitempty"`
	Packages      []*pkg         `json:"packages"`
	Relationships []relationship `json:"relationships"`
}

type creation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type pkg struct {
	ID         string     `json:"SPDXID"`
	Name       string     `json:"name"`
	Version    string     `json:"versionInfo"`
	Purpose    string     `json:"primaryPackagePurpose,omitempty"`
	Supplier   string     `json:"supplier"`
	Download   string     `json:"downloadLocation"`
	Analyzed   bool       `json:"filesAnalyzed"`
	Concluded  string     `json:"licenseConcluded"`
	Declared   string     `json:"licenseDeclared"`
	Copyright  string     `json:"copyrightText"`
	FileName   string     `json:"packageFileName,omitempty"`
	Checksums  []checksum `json:"checksums,omitempty"`
	References []ref      `json:"externalRefs,omitempty"`
	Comment    string     `json:"comment,omitempty"`
	SourceInfo string     `json:"sourceInfo,omitempty"`
}

type checksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type ref struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type relationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

const documentID = "SPDXRef-DOCUMENT"

// component is one entry of the list, before it has an id.
type component struct {
	name     string
	version  string // "" if unknown
	purl     string
	supplier string // "Organization: …"
	sha256   string
	file     string // its path, if it is a single file
	purpose  string // APPLICATION, LIBRARY
	comment  string // what isn't known, and why
	source   string // how it was found
}

func (d *document) add(c component) string {
	p := &pkg{
		ID: fmt.Sprintf("SPDXRef-%d-%s", len(d.Packages)+1, idString(c.name)), Name: c.name, Version: c.version, Purpose: c.purpose,
		Supplier: c.supplier, Download: unknown, Concluded: unknown, Declared: unknown, Copyright: unknown,
		FileName: c.file, Comment: c.comment, SourceInfo: c.source,
	}
	if p.Version == "" {
		p.Version = unknown
	}
	if p.Supplier == "" {
		p.Supplier = unknown
	}
	if c.sha256 != "" {
		p.Checksums = []checksum{{"SHA256", c.sha256}}
	}
	if c.purl != "" {
		p.References = []ref{{"PACKAGE-MANAGER", "purl", c.purl}}
	}
	d.Packages = append(d.Packages, p)
	return p.ID
}

func (d *document) relate(from, kind, to string) {
	d.Relationships = append(d.Relationships, relationship{from, kind, to})
}

// encode fills in the namespace, which has to be the document's own: it is made
// of what the document says, so that the same run gives the same document.
func (d *document) encode(created time.Time, tool string) ([]byte, error) {
	d.Version, d.License, d.ID = "SPDX-2.3", "CC0-1.0", documentID
	d.Creation = creation{created.UTC().Format("2006-01-02T15:04:05Z"), []string{"Tool: " + tool}}
	b, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	d.Namespace = "https://github.com/tapedeck-dev/tapedeck/spdx/" + hex.EncodeToString(sum[:16])
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	err = e.Encode(d)
	return out.Bytes(), err
}

// idString keeps the letters that an SPDX id may have.
func idString(s string) string {
	const most = 64
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		}
		return '-'
	}, s)
	return s[:min(len(s), most)]
}

// purl makes a package URL. Slashes in name separate its parts.
func purl(kind, name, version string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = escape(p)
	}
	s := "pkg:" + kind + "/" + strings.Join(parts, "/")
	if version != "" {
		s += "@" + escape(version)
	}
	return s
}

// escape percent-encodes all but what a package URL takes literally.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(".-_~:", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
