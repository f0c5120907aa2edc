package scrub

import (
	"bytes"
	"net/netip"
)

// normalise appends what two ways to write one value have in common.
func normalise(dst []byte, class Class, val []byte) []byte {
	switch class {
	case Email:
		for _, c := range bytes.TrimSpace(val) {
			if isUpper(c) {
				c |= 0x20
			}
			dst = append(dst, c)
		}
		return dst
	case PAN, SSN:
		return appendDigits(dst, val)
	case Phone:
		n := len(dst)
		dst = appendDigits(dst, val)
		digits := dst[n:]
		switch {
		case bytes.HasPrefix(digits, []byte("00")) && val[0] != '+':
			dst = append(dst[:n], digits[2:]...)
		case len(digits) == 10 && digits[0] >= '2' && bytes.IndexByte(val, '+') < 0:
			dst = append(dst, 0) // North America: its country is 1
			copy(dst[n+1:], dst[n:])
			dst[n] = '1'
		}
		return dst
	case IBAN:
		for _, c := range val {
			if isLower(c) {
				c &^= 0x20
			}
			if isAlnum(c) {
				dst = append(dst, c)
			}
		}
		return dst
	case IP:
		if a, err := netip.ParseAddr(string(bytes.TrimSpace(val))); err == nil {
			return a.Unmap().AppendTo(dst)
		}
	}
	return append(dst, val...)
}

func appendDigits(dst, val []byte) []byte {
	n := len(dst)
	for _, c := range val {
		if isDigit(c) {
			dst = append(dst, c)
		}
	}
	if len(dst) == n {
		return append(dst, val...)
	}
	return dst
}
