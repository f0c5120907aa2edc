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

// likelyFirst puts the lists first whose package's name begins as a file's does:
// libssl.so.3 is in libssl3, libicudata.so.72 in libicu72, gdb in gdb. What no
// name tells, libc6 and coreutils mostly have.
func likelyFirst(names, files []string) {
	stems := []string{"libc6", "zlib1g", "coreutils"}
	for _, f := range files {
		stem, version, _ := strings.Cut(strings.ReplaceAll(filepath.Base(f), "_", "-"), ".so")
		stem += strings.TrimPrefix(version, ".")
		if !slices.Contains(stems, stem) {
			stems = append(stems, stem)
		}
	}
	alike := make(map[string]int, len(names))
	for _, n := range names {
		name, _, _ := strings.Cut(strings.TrimSuffix(n, ".list"), ":")
		for _, s := range stems {
			same := 0
			for same < len(s) && same < len(name) && s[same] == name[same] {
				same++
			}
			if same == len(s) || same == len(name) {
				same += len(name) // libz1 before libzstd-dev
			}
			alike[n] = max(alike[n], same)
		}
		if strings.HasSuffix(name, "-dev") || strings.HasSuffix(name, "-doc") {
			alike[n] = 0
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return alike[b] - alike[a] })
}

// readInto reads a file into buf, which it makes larger as needed: most lists
// are short, and there are many.
func readInto(buf []byte, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return buf[:0], err
	}
	defer f.Close()
	buf = buf[:0]
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, max(cap(buf), 4096))
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
