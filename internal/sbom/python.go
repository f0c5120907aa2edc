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
func python(root string, files []string) []component {
	used := map[string]map[string]bool{} // folder to top-level names; whether their distribution is known
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
		if top != "" {
			used[dir][top] = false
		}
	}
	var list []component
	for dir, tops := range used {
		var entries []os.DirEntry
		if f, err := openFile(root, dir); err == nil {
			entries, _ = f.ReadDir(maxFiles)
			f.Close()
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
			mine := modules(root, filepath.Join(dir, e.Name()), name, tops)
			if len(mine) == 0 {
				continue
			}
			for _, m := range mine {
				tops[m] = true // has an owner
			}
			c := component{name: name, version: version, purl: purl("pypi", strings.ReplaceAll(strings.ToLower(name), "_", "-"), version), purpose: "LIBRARY", source: dir}
			if version == "" {
				c.comment = "version unknown: its metadata doesn't say"
			}
			list = append(list, c)
		}
		for top, owned := range tops {
			// Else it is a file of settings, or one that was looked for in vain.
			if !owned && top != "__pycache__" && isFolder(root, filepath.Join(dir, top)) {
				list = append(list, component{name: top, purpose: "LIBRARY", source: dir, comment: "version unknown: no distribution says that the module is its own"})
			}
		}
	}
	slices.SortFunc(list, func(a, b component) int { return strings.Compare(a.source+"/"+a.name, b.source+"/"+b.name) })
	return list
}

func isFolder(root, path string) bool {
	f, err := openFile(root, path)
	if err != nil {
		return false
	}
	defer f.Close()
	st, err := f.Stat()
	return err == nil && st.IsDir()
}

// modules are those of the top-level names that belong to a distribution.
func modules(root, info, name string, tops map[string]bool) []string {
	own := append(strings.Fields(string(readSmall(root, filepath.Join(info, "top_level.txt")))),
		name, strings.ToLower(name), strings.ReplaceAll(name, "-", "_"))
	return slices.DeleteFunc(own, func(n string) bool {
		_, ok := tops[n]
		return !ok
	})
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
