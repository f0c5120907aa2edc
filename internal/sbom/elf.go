package sbom

import (
	"debug/elf"
	"path/filepath"
	"slices"
	"strings"
)

const maxNeeded = 512

// needed lists the libraries that an ELF file and its libraries name in their
// headers, as the dynamic loader would find them without LD_LIBRARY_PATH.
func needed(root, file string) []string {
	s := &search{root: root, found: map[string]string{}}
	s.visit(file)
	var list []string
	for _, path := range s.found {
		if path != "" {
			list = append(list, path)
		}
	}
	slices.Sort(list)
	return list
}

type search struct {
	root  string
	dirs  []string          // of the system
	found map[string]string // name to path; "" is nowhere
}

func (s *search) visit(file string) {
	host, err := openFile(s.root, file)
	if err != nil {
		return
	}
	defer host.Close()
	f, err := elf.NewFile(host)
	if err != nil {
		return
	}
	if s.dirs == nil {
		s.dirs = systemDirs(s.root, f)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < 4096 {
			b := make([]byte, p.Filesz)
			if _, err := p.ReadAt(b, 0); err == nil {
				loader := strings.TrimRight(string(b), "\x00")
				s.found[filepath.Base(loader)] = loader
			}
		}
	}
	names, err := f.ImportedLibraries()
	if err != nil {
		return
	}
	dirs := append(runPath(f, filepath.Dir(file)), s.dirs...)
	for _, name := range names {
		if _, ok := s.found[name]; ok || len(s.found) >= maxNeeded {
			continue
		}
		s.found[name] = ""
		for _, d := range dirs {
			path := filepath.Join(d, name)
			if isRegular(s.root, path) {
				s.found[name] = path
				s.visit(path)
				break
			}
		}
	}
}

func isRegular(root, path string) bool {
	f, err := openFile(root, path)
	if err != nil {
		return false
	}
	defer f.Close()
	st, err := f.Stat()
	return err == nil && st.Mode().IsRegular()
}

func runPath(f *elf.File, origin string) []string {
	var dirs []string
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		list, err := f.DynString(tag)
		if err != nil {
			continue
		}
		for _, d := range strings.Split(strings.Join(list, ":"), ":") {
			d = strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin).Replace(d)
			if filepath.IsAbs(d) {
				dirs = append(dirs, d)
			}
		}
	}
	return dirs
}

// systemDirs are the loader's own folders, in the order of /etc/ld.so.conf.d.
func systemDirs(root string, f *elf.File) []string {
	var dirs []string
	var confs []string
	if f, err := openFile(root, "/etc/ld.so.conf.d"); err == nil {
		names, _ := f.Readdirnames(maxNeeded)
		f.Close()
		slices.Sort(names)
		for _, n := range names {
			confs = append(confs, "/etc/ld.so.conf.d/"+n)
		}
	}
	for _, c := range append(confs, "/etc/ld.so.conf") {
		for line := range strings.Lines(string(readSmall(root, c))) {
			line, _, _ = strings.Cut(line, "#")
			if line = strings.TrimSpace(line); filepath.IsAbs(line) {
				dirs = append(dirs, line)
			}
		}
	}
	if f.Class == elf.ELFCLASS64 {
		dirs = append(dirs, "/lib64", "/usr/lib64")
	}
	return append(dirs, "/lib", "/usr/lib")
}
