package sbom

import (
	"archive/zip"
	"io"
	"path"
	"path/filepath"
	"strings"
)

// jar describes a Java archive by the metadata in it: Maven's, or else the
// manifest's.
func jar(root tree, file string) component {
	c := component{name: strings.TrimSuffix(filepath.Base(file), ".jar"), file: file, purpose: "LIBRARY", source: file}
	c.comment = "version unknown: the archive can't be read"
	f, err := root.open(file)
	if err != nil {
		return c
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return c
	}
	z, err := zip.NewReader(f, st.Size())
	if err != nil {
		return c
	}
	c.comment = ""
	var poms []map[string]string
	var manifest map[string]string
	for _, f := range z.File {
		switch {
		case strings.HasPrefix(f.Name, "META-INF/maven/") && path.Base(f.Name) == "pom.properties":
			poms = append(poms, properties(f, "="))
		case f.Name == "META-INF/MANIFEST.MF":
			manifest = properties(f, ":")
		}
	}
	if len(poms) == 1 { // several are the parts of a shaded archive
		p := poms[0]
		c.name, c.version = p["groupId"]+"/"+p["artifactId"], p["version"]
		c.purl = purl("maven", c.name, c.version)
		return c
	}
	if v := manifest["Implementation-Version"]; v != "" {
		c.version = v
	} else {
		c.version = manifest["Bundle-Version"]
	}
	if c.version == "" {
		c.comment = "version unknown: neither Maven's metadata nor the manifest of the archive says"
	}
	if len(poms) > 1 {
		c.comment = "holds several libraries, which are not listed"
	}
	return c
}

func properties(f *zip.File, sep string) map[string]string {
	r, err := f.Open()
	if err != nil {
		return nil
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxMeta))
	if err != nil {
		return nil
	}
	m := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, sep); ok {
			m[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	return m
}
