// Package sites finds the places in a program's machine code where its threads
// may meet: instructions that read or write memory which is not the stack, and
// calls of functions that are not the program's own. To hold a thread there
// shows other threads what it has done so far. [Scan] is the entry point.
package sites

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
)

// Site is one instruction to hold a thread before.
type Site struct {
	Addr  uint64 // as the file gives it, without the bias of where it is loaded
	Group uint32 // sites with the same number use the same variable, field or function
}

// Table is what a file has.
type Table struct {
	Go    bool     // built by Go's own linker
	Base  uint64   // address that the file's first page asks for
	Funcs [][]Site // of each of the program's functions, in order of address
	// Tracer is the reason why the program can't run under a tracer, "" if it can.
	Tracer string
}

// ErrNotELF is for files that are not 64-bit x86 programs or libraries.
var ErrNotELF = errors.New("not an x86-64 ELF program")

const (
	maxSites = 1 << 15   // of one file; of more, every second, third… function is taken
	maxCode  = 256 << 20 // bytes of one file's text
)

// Scan reads the program or library at r.
func Scan(r io.ReaderAt) (*Table, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotELF, err)
	}
	defer f.Close()
	if f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return nil, ErrNotELF
	}
	t := &Table{Go: f.Section(".go.buildinfo") != nil}
	found := false
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Off < pageSize {
			t.Base = p.Vaddr &^ (pageSize - 1)
			found = true
			break
		}
	}
	if !found {
		return nil, fmt.Errorf("no segment of it holds the file's first page: %w", ErrNotELF)
	}
	t.Tracer = tracer(f)
	funcs, err := functions(f, r, t.Go)
	if err != nil {
		return nil, err
	}
	c, err := newCode(f, funcs, t.Go)
	if err != nil {
		return nil, err
	}
	total := 0
	for _, fn := range funcs {
		if !fn.user {
			continue
		}
		if s := c.sites(fn); len(s) > 0 {
			t.Funcs = append(t.Funcs, s)
			total += len(s)
		}
	}
	if n := (total + maxSites - 1) / maxSites; n > 1 {
		kept := t.Funcs[:0]
		for i := 0; i < len(t.Funcs); i += n {
			kept = append(kept, t.Funcs[i])
		}
		t.Funcs = kept
	}
	return t, nil
}

const pageSize = 4096

// Append adds the table to b as the guest's stepper reads it: see
// internal/vm/guest/sites.c.
func (t *Table) Append(b []byte, path string) []byte {
	kind := "c"
	if t.Go {
		kind = "go"
	}
	b = fmt.Appendf(b, "file %s %s %x\n", path, kind, t.Base)
	for _, fn := range t.Funcs {
		b = append(b, "fn\n"...)
		for _, s := range fn {
			b = fmt.Appendf(b, "%x %x\n", s.Addr, s.Group)
		}
	}
	return b
}
