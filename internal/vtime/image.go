package vtime

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

func peek(pid int, at uint64, b []byte) (int, error) {
	local := []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}
	// Page by page: what is behind the last one ends the reading.
	var remote []unix.RemoteIovec
	for off := 0; off < len(b); {
		n := min(len(b)-off, 4096-int(at+uint64(off))%4096)
		remote = append(remote, unix.RemoteIovec{Base: uintptr(at) + uintptr(off), Len: n})
		off += n
	}
	return unix.ProcessVMReadv(pid, local, remote, 0)
}

func poke(pid int, at uint64, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := unix.ProcessVMWritev(pid, []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}, []unix.RemoteIovec{{Base: uintptr(at), Len: len(b)}}, 0)
	if err == nil && n != len(b) {
		err = unix.EFAULT
	}
	return err
}

// auxiliary reads the auxiliary vector of a program that begins: it is above the
// arguments and the environment on the stack.
func auxiliary(pid int, sp uint64) (map[uint64]uint64, error) {
	const most = 4 << 20 // bytes of pointers
	var words []uint64
	buf := make([]byte, 4096)
	word := func(i int) (uint64, error) {
		for i >= len(words) {
			if len(words)*8 > most {
				return 0, fmt.Errorf("need an auxiliary vector, found none")
			}
			n, err := peek(pid, sp+uint64(len(words)*8), buf[:4096-int(sp+uint64(len(words)*8))%4096])
			if err != nil || n < 8 {
				return 0, fmt.Errorf("read the program's stack: %w", err)
			}
			for j := 0; j+8 <= n; j += 8 {
				words = append(words, binary.LittleEndian.Uint64(buf[j:]))
			}
		}
		return words[i], nil
	}
	argc, err := word(0)
	if err != nil {
		return nil, err
	}
	i := int(argc) + 2
	for {
		v, err := word(i)
		if err != nil {
			return nil, err
		}
		i++
		if v == 0 {
			break
		}
	}
	aux := map[uint64]uint64{}
	for ; ; i += 2 {
		k, err := word(i)
		if err != nil {
			return nil, err
		}
		v, err := word(i + 1)
		if err != nil {
			return nil, err
		}
		if k == 0 {
			return aux, nil
		}
		aux[k] = v
	}
}

// vdsoSymbols are the functions of the vDSO that are long enough to be patched,
// with their places in it.
func vdsoSymbols(image []byte) (map[string]uint64, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, fmt.Errorf("read the vDSO: %w", err)
	}
	all, err := f.DynamicSymbols()
	if err != nil {
		return nil, fmt.Errorf("read the vDSO: %w", err)
	}
	symbols := map[string]uint64{}
	for _, s := range all {
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC && s.Size >= 12 {
			symbols[s.Name] = s.Value
		}
	}
	return symbols, nil
}
