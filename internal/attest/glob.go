package attest

import (
	"errors"
	"io/fs"
	"path"
	"strings"
)

// matchPath tells whether a pattern fits a path. ** stands for any number of
// folders, also none; within a name, the pattern is one of [path.Match]. A
// pattern that can't be read fits nothing.
func matchPath(pattern, name string) bool {
	elems := strings.Split(name, "/")
	// fits[i] tells whether the pattern so far fits the first i elements:
	// linear in both, whatever the number of **.
	fits := make([]bool, len(elems)+1)
	fits[0] = true
	for _, p := range strings.Split(strings.TrimSuffix(pattern, "/"), "/") {
		next := make([]bool, len(fits))
		for i := range fits {
			if p == "**" {
				next[i] = fits[i] || i > 0 && next[i-1]
			} else if i > 0 && fits[i-1] {
				ok, err := path.Match(p, elems[i-1])
				next[i] = ok && err == nil
			}
		}
		fits = next
	}
	return fits[len(elems)]
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
