package sbom

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// python lists the distributions in whose modules the program had a look.
func python(root string, files []string) []component {
	used := map[string]map[string]bool{} // folder to top-level names
	for _, f := range files {
		dir, rest, ok := cutFolder(f, "/site-packages/")
		if !ok {
			if dir, rest, ok = cutFolder(f, "/dist-packages/"); !ok {
				continue
			}
		}
		top, _, _ := strings.Cut(rest, "/")
		top, _, _ = strings.Cut(top, ".") // six.py, _yaml.cpython-311.so
		if used[dir] == nil {
			used[dir] = map[string]bool{}
		}
		used[dir][top] = true
	}
	var list []component
	for dir, tops := range used {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil {
			continue
		}
		for _, e := range entries {
			name, ok := strings.CutSuffix(e.Name(), ".dist-info")
			if !ok {
				if name, ok = strings.CutSuffix(e.Name(), ".egg-info"); !ok {
					continue
				}
			}
			name, version, _ := strings.Cut(name, "-")
			version, _, _ = strings.Cut(version, "-py")
			if !uses(filepath.Join(root, dir, e.Name()), name, tops) {
				continue
			}
			c := component{name: name, version: version, purl: purl("pypi", strings.ReplaceAll(strings.ToLower(name), "_", "-"), version), purpose: "LIBRARY", source: dir}
			if version == "" {
				c.comment = "version unknown: its metadata doesn't say"
			}
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b component) int { return strings.Compare(a.source+"/"+a.name, b.source+"/"+b.name) })
	return list
}

// uses tells whether one of the names belongs to a distribution.
func uses(info, name string, tops map[string]bool) bool {
	if tops[name] || tops[strings.ToLower(name)] || tops[strings.ReplaceAll(name, "-", "_")] {
		return true
	}
	for _, t := range strings.Fields(string(readSmall(filepath.Join(info, "top_level.txt")))) {
		if tops[t] {
			return true
		}
	}
	return false
}

// cutFolder cuts a path behind the last occurrence of a folder.
func cutFolder(path, folder string) (dir, rest string, ok bool) {
	i := strings.LastIndex(path, folder)
	if i < 0 {
		return "", "", false
	}
	i += len(folder)
	return path[:i-1], path[i:], path[i:] != ""
}
