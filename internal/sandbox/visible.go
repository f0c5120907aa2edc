package sandbox

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Visible returns a test of which of the host's files a hermetic sandbox shows,
// of paths without links: whoever takes a program's files elsewhere must not
// take more than the program could see, only because it named them.
func Visible(c Config) func(path string) bool {
	java, _ := filepath.Glob("/etc/java*")
	var etc, rest []string
	for _, path := range slices.Concat(etcPaths(), java) {
		etc = append(etc, path, real(path))
	}
	for _, path := range append([]string{"/opt", c.Dir}, c.Show...) {
		if path = real(path); path != "/" {
			rest = append(rest, path)
		}
	}
	return func(path string) bool {
		if inSystem(path) || under(path, rest) {
			return true
		}
		return under(path, etc) && everybodys(path)
	}
}

func real(path string) string {
	if r, err := filepath.EvalSymlinks(path); err == nil {
		return r
	}
	return filepath.Clean(path)
}

func under(path string, tops []string) bool {
	return slices.ContainsFunc(tops, func(top string) bool { return path == top || strings.HasPrefix(path, top+"/") })
}

// everybodys tells whether everybody may read a file and list the folders that
// lead to it.
func everybodys(path string) bool {
	for need := fs.FileMode(0o004); path != "/"; path, need = filepath.Dir(path), 0o005 {
		if fi, err := os.Lstat(path); err != nil || fi.Mode().Perm()&need != need {
			return false
		}
	}
	return true
}
