package sites

import (
	"cmp"
	"debug/buildinfo"
	"debug/dwarf"
	"debug/elf"
	"debug/gosym"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A function is a range of code that begins and ends with whole instructions.
type function struct {
	name     string // "" if the file has no names
	lo, hi   uint64
	user     bool // the program's own, not a library's that is linked into it
	mayBlock bool // Go's runtime: a call of it meets other goroutines
}

// functions lists the functions of the file in order of address.
func functions(f *elf.File, r io.ReaderAt, isGo bool) ([]function, error) {
	funcs, err := symbols(f)
	if err != nil {
		return nil, err
	}
	if isGo {
		if len(funcs) == 0 {
			if funcs, err = goTable(f); err != nil {
				return nil, err
			}
		}
		markGo(funcs, r)
	} else {
		if len(funcs) == 0 {
			funcs = frames(f)
		}
		markC(funcs, f)
	}
	slices.SortFunc(funcs, func(a, b function) int { return cmp.Compare(a.lo, b.lo) })
	return slices.CompactFunc(funcs, func(a, b function) bool { return a.lo == b.lo }), nil
}

func symbols(f *elf.File) ([]function, error) {
	list, err := f.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return nil, fmt.Errorf("symbols: %w", err)
	}
	var funcs []function
	for _, s := range list {
		if elf.ST_TYPE(s.Info) != elf.STT_FUNC || s.Size == 0 || s.Value+s.Size < s.Value || int(s.Section) >= len(f.Sections) {
			continue
		}
		if sec := f.Sections[s.Section]; sec.Name == ".text" && s.Value >= sec.Addr && s.Value+s.Size <= sec.Addr+sec.Size {
			funcs = append(funcs, function{name: s.Name, lo: s.Value, hi: s.Value + s.Size})
		}
	}
	return funcs, nil
}

// goTable reads the table that every Go program has for its own tracebacks.
func goTable(f *elf.File) ([]function, error) {
	text := f.Section(".text")
	tab := f.Section(".gopclntab")
	if tab == nil {
		tab = f.Section(".data.rel.ro.gopclntab")
	}
	if text == nil || tab == nil {
		return nil, nil
	}
	data, err := tab.Data()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tab.Name, err)
	}
	t, err := gosym.NewTable(nil, gosym.NewLineTable(data, text.Addr))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tab.Name, err)
	}
	var funcs []function
	for _, fn := range t.Funcs {
		if fn.Entry >= text.Addr && fn.End > fn.Entry && fn.End <= text.Addr+text.Size {
			funcs = append(funcs, function{name: fn.Name, lo: fn.Entry, hi: fn.End})
		}
	}
	return funcs, nil
}

// goBlocking are the parts of Go's runtime where goroutines meet.
var goBlocking = []string{"chan", "closechan", "select", "map", "newproc", "sem", "notify", "gosched", "Gosched"}

func markGo(funcs []function, r io.ReaderAt) {
	module := ""
	if info, err := buildinfo.Read(r); err == nil {
		module = info.Main.Path
	}
	for i := range funcs {
		fn := &funcs[i]
		name := strings.ReplaceAll(fn.name, "%2e", ".")
		fn.user = strings.HasPrefix(name, "main.")
		if rest, ok := strings.CutPrefix(name, module); ok && module != "" && module != "std" {
			fn.user = fn.user || strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, "_test.")
		}
		if rest, ok := strings.CutPrefix(name, "runtime."); ok {
			fn.mayBlock = slices.ContainsFunc(goBlocking, func(p string) bool { return strings.HasPrefix(rest, p) })
		} else {
			fn.mayBlock = !fn.user && strings.Contains(name, ".") && !strings.HasPrefix(name, "internal/runtime/")
		}
	}
}

// notUser are functions that compilers and languages add to every program.
var notUser = []string{"_start", "_init", "_fini", "deregister_tm_clones", "register_tm_clones", "__do_global_", "frame_dummy", "__libc_",
	"_dl_", "_IO_", "__x86", "_ZN3std", "_ZN4core", "_ZN5alloc", "__rust", "rust_", "asan_", "__asan", "__tsan", "__ubsan", "__sanitizer"}

func markC(funcs []function, f *elf.File) {
	ranges := unitRanges(f)
	for i := range funcs {
		fn := &funcs[i]
		fn.user = !slices.ContainsFunc(notUser, func(p string) bool { return strings.HasPrefix(fn.name, p) })
		if fn.user && len(ranges) > 0 {
			n, found := slices.BinarySearchFunc(ranges, fn.lo, func(r [2]uint64, a uint64) int { return cmp.Compare(r[0], a) })
			fn.user = found || n > 0 && fn.lo < ranges[n-1][1]
		}
	}
}

// unitRanges are the addresses of what was compiled with debug information:
// the program's own sources, and not the libraries that are linked in.
func unitRanges(f *elf.File) [][2]uint64 {
	d, err := f.DWARF()
	if err != nil {
		return nil
	}
	var all [][2]uint64
	for r := d.Reader(); ; r.SkipChildren() {
		e, err := r.Next()
		if err != nil || e == nil {
			break
		}
		if e.Tag != dwarf.TagCompileUnit {
			continue
		}
		if ranges, err := d.Ranges(e); err == nil {
			all = append(all, ranges...)
		}
	}
	slices.SortFunc(all, func(a, b [2]uint64) int { return cmp.Compare(a[0], b[0]) })
	return all
}

// frames lists the functions of a stripped file by its unwind tables.
func frames(f *elf.File) []function {
	sec, text := f.Section(".eh_frame"), f.Section(".text")
	if sec == nil || text == nil {
		return nil
	}
	data, err := sec.Data()
	if err != nil {
		return nil
	}
	le := binary.LittleEndian
	var funcs []function
	for p := 0; p+8 <= len(data); {
		n := int(le.Uint32(data[p:]))
		if n == 0 || n > len(data)-p-4 {
			break // the end; longer than 4 GB is not met
		}
		entry := data[p+4 : p+4+n]
		if id := le.Uint32(entry); id != 0 && n >= 12 && pcRel(data, p+4-int(id)) {
			at := sec.Addr + uint64(p) + 8
			lo := at + uint64(int64(int32(le.Uint32(entry[4:]))))
			hi := lo + uint64(le.Uint32(entry[8:]))
			if lo >= text.Addr && hi > lo && hi <= text.Addr+text.Size {
				funcs = append(funcs, function{lo: lo, hi: hi})
			}
		}
		p += 4 + n
	}
	return funcs
}

// pcRel tells whether the entries that refer to the common entry at p give
// addresses as signed 32-bit distances, as all compilers for x86-64 do.
func pcRel(data []byte, p int) bool {
	if p < 0 || p+9 > len(data) {
		return false
	}
	augmentation, rest, ok := strings.Cut(string(data[p+9:min(len(data), p+64)]), "\x00")
	if !ok || !strings.HasPrefix(augmentation, "z") {
		return false
	}
	b := []byte(rest)
	skip := func() { // a LEB128 number
		for len(b) > 0 && b[0]&0x80 != 0 {
			b = b[1:]
		}
		b = b[min(1, len(b)):]
	}
	skip() // alignment of code
	skip() // of data
	skip() // the register of the return address
	skip() // length of what follows
	for _, c := range augmentation[1:] {
		switch {
		case len(b) == 0:
			return false
		case c == 'R':
			return b[0] == 0x1B
		case c == 'P':
			if b[0]&0x0F != 0x0B { // an address in 4 bytes
				return false
			}
			b = b[min(5, len(b)):]
		case c == 'L':
			b = b[1:]
		case c != 'S':
			return false
		}
	}
	return false
}

// tracer tells of what is linked in that traces processes, as LeakSanitizer
// does with its own: a process has one tracer at most.
func tracer(f *elf.File) string {
	libs, _ := f.ImportedLibraries()
	for _, l := range libs {
		if strings.HasPrefix(l, "libasan.") || strings.HasPrefix(l, "liblsan.") {
			return l
		}
	}
	imported, _ := f.ImportedSymbols()
	for _, s := range imported {
		if s.Name == "ptrace" {
			return s.Name
		}
	}
	syms, _ := f.Symbols()
	for _, s := range syms {
		if s.Name == "__lsan_do_leak_check" && s.Section != elf.SHN_UNDEF {
			return "LeakSanitizer"
		}
	}
	return ""
}
