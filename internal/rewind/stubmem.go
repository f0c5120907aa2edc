package rewind

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// peek reads a few bytes without keeping the page.
func (s *stub) peek(ctx context.Context, addr, size uint64) ([]byte, error) {
	if size > peekSize {
		return s.memory(ctx, addr, int(size))
	}
	answer, err := s.ask(ctx, fmt.Sprintf("m%x,%x", addr, size))
	if err != nil {
		return nil, err
	}
	data, err := hex.DecodeString(answer)
	if err != nil || uint64(len(data)) != size {
		return nil, fmt.Errorf("%#x: %w", addr, errUnmapped)
	}
	return data, nil
}

const (
	pageSize = 4096
	peekSize = 512
)

// errUnmapped is an address that no page of the guest stands behind.
var errUnmapped = errors.New("no page there")

// page returns the page at a virtual address as the CPU sees it now.
func (s *stub) page(ctx context.Context, addr uint64) ([]byte, error) {
	addr &^= pageSize - 1
	if p, ok := s.pages[addr]; ok {
		return p, nil
	}
	var page []byte
	for len(page) < pageSize {
		const part = 2048 // the most that QEMU gives at once
		answer, err := s.ask(ctx, fmt.Sprintf("m%x,%x", addr+uint64(len(page)), part))
		if err != nil {
			return nil, err
		}
		data, err := hex.DecodeString(answer)
		if err != nil || len(data) != part {
			return nil, fmt.Errorf("%#x: %w", addr, errUnmapped)
		}
		page = append(page, data...)
	}
	s.pages[addr] = page
	return page, nil
}

// memory reads from a virtual address as the CPU sees it now.
func (s *stub) memory(ctx context.Context, addr uint64, size int) ([]byte, error) {
	var out []byte
	for size > 0 {
		page, err := s.page(ctx, addr)
		if err != nil {
			return nil, err
		}
		off := int(addr & (pageSize - 1))
		n := min(size, pageSize-off)
		out = append(out, page[off:off+n]...)
		addr, size = addr+uint64(n), size-n
	}
	return out, nil
}

func (s *stub) u64(ctx context.Context, addr uint64) (uint64, error) {
	b, err := s.memory(ctx, addr, 8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

func (s *stub) u32(ctx context.Context, addr uint64) (uint32, error) {
	b, err := s.memory(ctx, addr, 4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

// text reads a string that ends with a zero byte, or at most limit bytes.
func (s *stub) text(ctx context.Context, addr uint64, limit int) (string, error) {
	var out []byte
	for len(out) < limit {
		n := min(limit-len(out), pageSize-int((addr+uint64(len(out)))&(pageSize-1)))
		b, err := s.memory(ctx, addr+uint64(len(out)), n)
		if err != nil {
			return "", err
		}
		for i, c := range b {
			if c == 0 {
				return string(append(out, b[:i]...)), nil
			}
		}
		out = append(out, b...)
	}
	return string(out), nil
}
