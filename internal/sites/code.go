package sites

import (
	"cmp"
	"debug/elf"
	"fmt"
	"slices"

	"golang.org/x/arch/x86/x86asm"
)

// code is a file's text and what its instructions are judged by.
type code struct {
	text  []byte
	addr  uint64 // of text
	funcs []function
	data  [][2]uint64 // sections that the program writes to
	isGo  bool
}

func newCode(f *elf.File, funcs []function, isGo bool) (*code, error) {
	c := &code{funcs: funcs, isGo: isGo}
	for _, s := range f.Sections {
		if s.Flags&elf.SHF_WRITE != 0 && s.Flags&elf.SHF_ALLOC != 0 && s.Flags&elf.SHF_TLS == 0 {
			c.data = append(c.data, [2]uint64{s.Addr, s.Addr + s.Size})
		}
	}
	text := f.Section(".text")
	if text == nil {
		return c, nil
	}
	if text.Size > maxCode {
		return nil, fmt.Errorf(".text has %d bytes; the limit is %d", text.Size, maxCode)
	}
	var err error
	c.text, err = text.Data()
	c.addr = text.Addr
	return c, err
}

var endbr64 = []byte{0xF3, 0x0F, 0x1E, 0xFA}

// sites reads one function from its start. It ends where an instruction is not
// understood: a breakpoint must not stand in the middle of one.
func (c *code) sites(fn function) []Site {
	if fn.lo < c.addr || fn.hi-c.addr > uint64(len(c.text)) {
		return nil // a damaged file
	}
	b := c.text[fn.lo-c.addr : fn.hi-c.addr]
	var list []Site
	framed := c.isGo // RBP is the frame's address
	var before x86asm.Inst
	for off := 0; off < len(b); {
		if len(b)-off >= 4 && slices.Equal(b[off:off+4], endbr64) {
			off += 4
			continue
		}
		in, err := x86asm.Decode(b[off:], 64)
		if err != nil || off+in.Len > len(b) {
			break
		}
		at := fn.lo + uint64(off)
		off += in.Len
		next := fn.lo + uint64(off)
		if in.Op == x86asm.MOV && in.Args[0] == x86asm.RBP && in.Args[1] == x86asm.RSP && before.Op == x86asm.PUSH {
			framed = true
		}
		if group, ok := c.meets(in, next, framed); ok {
			list = append(list, Site{Addr: at, Group: group})
		}
		before = in
	}
	return list
}

// The groups of what is not at an address of its own. A field is known by its
// offset alone: pointers to it are in any register.
const (
	groupField    = 1 << 31
	groupIndirect = 1 << 30
)

// meets tells whether an instruction may show or see what other threads do.
func (c *code) meets(in x86asm.Inst, next uint64, framed bool) (group uint32, ok bool) {
	switch in.Op {
	case x86asm.CALL, x86asm.JMP:
		rel, direct := in.Args[0].(x86asm.Rel)
		if !direct {
			return groupIndirect, in.Op == x86asm.CALL
		}
		to := next + uint64(int64(rel))
		fn, known := c.function(to)
		// A jump out of the function is a call in its last line.
		if in.Op == x86asm.JMP && (c.isGo || known) {
			return 0, false
		}
		if known && (fn.user || c.isGo && !fn.mayBlock) {
			return 0, false
		}
		return uint32(to), true
	case x86asm.LEA, x86asm.NOP, x86asm.PREFETCHNTA, x86asm.PREFETCHT0, x86asm.PREFETCHT1, x86asm.PREFETCHT2, x86asm.PREFETCHW:
		return 0, false
	case x86asm.SYSCALL:
		return groupIndirect, true
	}
	for _, a := range in.Args {
		m, ok := a.(x86asm.Mem)
		if !ok {
			continue
		}
		switch {
		case m.Segment == x86asm.FS || m.Segment == x86asm.GS: // of this thread alone
		case m.Base == x86asm.RSP, m.Base == x86asm.RBP && framed:
		case c.isGo && (m.Base == x86asm.R14 || in.Op == x86asm.TEST): // the goroutine; a check for nil
		case m.Base == x86asm.RIP:
			to := next + uint64(m.Disp)
			if slices.ContainsFunc(c.data, func(r [2]uint64) bool { return to >= r[0] && to < r[1] }) {
				return uint32(to) &^ (groupField | groupIndirect), true
			}
		case m.Base == 0 && m.Index == 0:
			return uint32(m.Disp) &^ (groupField | groupIndirect), true
		default:
			return groupField | uint32(m.Disp)&^groupIndirect, true
		}
	}
	return 0, false
}

// function is the one that holds an address.
func (c *code) function(a uint64) (function, bool) {
	n, found := slices.BinarySearchFunc(c.funcs, a, func(f function, a uint64) int { return cmp.Compare(f.lo, a) })
	if found {
		return c.funcs[n], true
	}
	if n > 0 && a < c.funcs[n-1].hi {
		return c.funcs[n-1], true
	}
	return function{}, false
}
