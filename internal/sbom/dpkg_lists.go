package sbom

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func listNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := f.Readdirnames(maxLists * 8)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	names := slices.DeleteFunc(all, func(n string) bool { return !strings.HasSuffix(n, ".list") })
	slices.Sort(names)
	return names[:min(len(names), maxLists)], nil
}

// aliases are the names that dpkg may know a file by: since /lib became a link
// to /usr/lib, packages have either.
func aliases(root tree, file string) []string {
	list := []string{file}
	if real := root.real(file); real != file {
		list = append(list, real)
	}
	for _, f := range slices.Clone(list) {
		if rest, ok := strings.CutPrefix(f, "/usr"); ok {
			list = append(list, rest)
		} else {
			list = append(list, "/usr"+f)
		}
	}
	return list
}

// likelyFirst puts the lists first that a library's name points to
// (libssl.so.3 is in libssl3), and those last that have no programs.
func likelyFirst(names, files []string) {
	guess := map[string]bool{"coreutils": true}
	for _, f := range files {
		stem, version, ok := strings.Cut(filepath.Base(f), ".so")
		guess[stem] = true
		if ok {
			version = strings.TrimPrefix(version, ".")
			major, _, _ := strings.Cut(version, ".")
			for _, v := range []string{major, version} {
				guess[stem+v], guess[stem+"-"+v] = true, true
			}
		}
	}
	rank := func(name string) int {
		name, _, _ = strings.Cut(strings.TrimSuffix(name, ".list"), ":")
		switch {
		case guess[name]:
			return 0
		case strings.HasSuffix(name, "-dev"), strings.HasSuffix(name, "-doc"), strings.HasPrefix(name, "fonts-"):
			return 2
		}
		return 1
	}
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
}

func readInto(buf []byte, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return buf[:0], err
	}
	defer f.Close()
	buf = buf[:0]
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, cap(buf))
		}
		n, err := f.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return buf[:0], err
		case len(buf) > maxList:
			return buf[:0], errors.New("too large")
		}
	}
}
