package sbom

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// cpython is the interpreter that a library belongs to which no package owns:
// libpython3.11.so.1.0, lib/python3.11/lib-dynload/_json….so. "" is none.
func cpython(file string) string {
	version, ok := strings.CutPrefix(filepath.Base(file), "libpython")
	if dir, _, found := cutFolder(file, "/lib-dynload/"); found {
		version, ok = strings.CutPrefix(filepath.Base(filepath.Dir(dir)), "python")
	}
	version, _, _ = strings.Cut(version, ".so")
	if !ok || version == "" || strings.Trim(version, "0123456789.") != "" {
		return ""
	}
	return version
}

// inDistribution tells whether a file is one of those that python goes by.
func inDistribution(file string) bool {
	return strings.Contains(file, "/site-packages/") || strings.Contains(file, "/dist-packages/")
}

// python lists the distributions in whose modules the program had a look, and
// the modules of which no distribution is known.
func python(root tree, files []string) []component {
	used := map[string]map[string]bool{} // folder to top-level names
	for _, f := range files {
		dir, rest, ok := cutFolder(f, "/site-packages/")
		if !ok {
			if dir, rest, ok = cutFolder(f, "/dist-packages/"); !ok {
				continue
			}
		}
		top, _, _ := strings.Cut(rest, "/")
		if strings.HasSuffix(top, ".dist-info") || strings.HasSuffix(top, ".egg-info") {
			continue // whoever lists the distributions looks at all of them
		}
		top, _, _ = strings.Cut(top, ".") // six.py, _yaml.cpython-311.so
		if used[dir] == nil {
			used[dir] = map[string]bool{}
		}
		if top != "" && top != "__pycache__" {
			used[dir][top] = true
		}
	}
	var list []component
	for dir, tops := range used {
		list = append(list, distributions(root, dir, tops)...)
	}
	slices.SortFunc(list, func(a, b component) int { return strings.Compare(a.source+"/"+a.name, b.source+"/"+b.name) })
	return list
}

// distributions lists those of a folder that have one of the top-level names.
// Most have a module of their own name: only for names that are left the
// metadata is read, which for a folder of many packages takes its time.
func distributions(root tree, dir string, tops map[string]bool) []component {
	var list []component
	var others []os.DirEntry
	entries := root.readDir(dir)
	for _, e := range entries {
		name, version, ok := distribution(e.Name())
		if !ok {
			continue
		}
		if take(tops, name, strings.ToLower(name), strings.ReplaceAll(name, "-", "_")) {
			list = append(list, pypi(dir, name, version))
		} else {
			others = append(others, e)
		}
	}
	for _, e := range others {
		if len(tops) == 0 {
			break
		}
		if take(tops, strings.Fields(string(root.small(filepath.Join(dir, e.Name(), "top_level.txt"))))...) {
			name, version, _ := distribution(e.Name())
			list = append(list, pypi(dir, name, version))
		}
	}
	for _, e := range entries {
		if e.IsDir() && tops[e.Name()] { // else it was looked for in vain, or holds settings
			list = append(list, component{name: e.Name(), purpose: "LIBRARY", source: dir,
				comment: "version unknown: no distribution says that the module is its own"})
		}
	}
	return list
}

// distribution reads the name of a folder of metadata: PyYAML-6.0.1.dist-info.
func distribution(folder string) (name, version string, ok bool) {
	stem, ok := strings.CutSuffix(folder, ".dist-info")
	if !ok {
		if stem, ok = strings.CutSuffix(folder, ".egg-info"); !ok {
			return "", "", false
		}
	}
	name, version, _ = strings.Cut(stem, "-")
	version, _, _ = strings.Cut(version, "-py")
	return name, version, name != ""
}

// take removes the names from tops and tells whether one was there.
func take(tops map[string]bool, names ...string) (found bool) {
	for _, n := range names {
		found = found || tops[n]
		delete(tops, n)
	}
	return found
}

func pypi(dir, name, version string) component {
	c := component{name: name, version: version, purl: purl("pypi", strings.ReplaceAll(strings.ToLower(name), "_", "-"), version), purpose: "LIBRARY", source: dir}
	if version == "" {
		c.comment = "version unknown: its metadata doesn't say"
	}
	return c
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
