package sbom

import (
	"debug/buildinfo"
	"io"
	"path"
	"runtime/debug"
	"strings"
)

func readGo(r io.ReaderAt) (*debug.BuildInfo, error) { return buildinfo.Read(r) }

// describeGo takes name and version from the build info.
func describeGo(c *component, b *debug.BuildInfo) {
	c.comment, c.source = "", "built with "+b.GoVersion
	if b.Main.Path == "" {
		c.comment = "version unknown: the build info names no module"
		return
	}
	if c.name == "" {
		c.name = path.Base(b.Main.Path)
	}
	c.version = known(b.Main.Version)
	c.purl = purl("golang", b.Main.Path, c.version)
	for _, s := range b.Settings {
		if s.Key == "vcs.revision" {
			c.source += ", from revision " + s.Value
		}
		if s.Key == "vcs.modified" && s.Value == "true" {
			c.source += ", with changes"
		}
	}
	if c.version == "" {
		c.comment = "version unknown: built from a working tree"
	}
}

// known is a module's version, or "" for what stands there without one.
func known(version string) string {
	if version == "(devel)" {
		return ""
	}
	return version
}

// modules lists what is linked into a Go program.
func (l *lister) modules(id string, b *debug.BuildInfo) {
	release := strings.TrimPrefix(b.GoVersion, "go")
	l.list(id, "STATIC_LINK", component{name: "stdlib", version: release, purl: purl("golang", "stdlib", release), purpose: "LIBRARY", source: "the Go standard library"})
	for _, m := range b.Deps {
		c := component{name: m.Path, purpose: "LIBRARY", source: "build info"}
		if m.Replace != nil {
			c.source = "build info; replaces " + m.Path + " " + m.Version
			m = m.Replace
		}
		c.name, c.version = m.Path, known(m.Version)
		switch {
		case strings.HasPrefix(m.Path, ".") || path.IsAbs(m.Path):
			c.comment = "version unknown: a folder of the machine that built it"
		case c.version == "":
			c.comment = "version unknown: built from a working tree"
			fallthrough
		default:
			c.purl = purl("golang", m.Path, c.version)
		}
		l.list(id, "STATIC_LINK", c)
	}
}
