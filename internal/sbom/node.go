package sbom

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
)

// node lists the npm packages of which the program had a file.
func node(root string, files []string) []component {
	var dirs []string
	for _, f := range files {
		dir, rest, ok := cutFolder(f, "/node_modules/")
		if !ok || strings.HasPrefix(rest, ".") {
			continue
		}
		parts := strings.Split(rest, "/")
		n := 1
		if strings.HasPrefix(rest, "@") {
			n = 2
		}
		if len(parts) > n { // else it is no file of a package
			dirs = append(dirs, filepath.Join(dir, strings.Join(parts[:n], "/")))
		}
	}
	slices.Sort(dirs)
	var list []component
	for _, d := range slices.Compact(dirs) {
		_, name, _ := cutFolder(d, "/node_modules/")
		c := component{name: name, purpose: "LIBRARY", source: d}
		var about struct {
			Version string `json:"version"`
		}
		if err := json.Unmarshal(readSmall(root, filepath.Join(d, "package.json")), &about); err != nil || about.Version == "" {
			c.comment = "version unknown: its package.json doesn't say"
		}
		c.version = about.Version
		c.purl = purl("npm", name, c.version)
		list = append(list, c)
	}
	return list
}
