package scrub

import (
	"bytes"
	"net/netip"
	"strings"
)

// format appends a value of the same shape: digits stay digits, letters stay
// letters of their case, everything else stays. What it makes can be told
// from real values, so that it is not scrubbed again: a card begins with 7, as
// no scheme's do; an area of 9xx was never given out for a social security
// number; +999 and 000 are no phone's; ZZ is no country's; an address is of
// 240.0.0.0/4. Other classes have no shape worth keeping: they get tokens.
func (s *Scrubber) format(dst []byte, class Class, val []byte) ([]byte, bool) {
	var space [256]byte
	k := keystream{macs: s.macs, label: "format:" + string(class)}
	k.value = normalise(space[:0], class, val)
	n := len(dst)
	switch class {
	case PAN:
		if countDigits(val) < 2 {
			return dst, false
		}
		dst = k.shape(dst, val)
		setDigits(dst[n:], "7")
		fixLuhn(dst[n:])
	case SSN:
		if countDigits(val) < 9 {
			return dst, false
		}
		dst = k.shape(dst, val)
		setDigits(dst[n:], "9")
	case Phone:
		if countDigits(val) < 7 {
			return dst, false
		}
		dst = k.shape(dst, val)
		if bytes.IndexByte(val, '+') >= 0 {
			setDigits(dst[n:], "999")
		} else {
			setDigits(dst[n:], "000")
		}
	case IBAN:
		compact := normalise(nil, IBAN, val)
		if len(compact) < 15 || !isAlpha(compact[0]) || !isAlpha(compact[1]) {
			return dst, false
		}
		dst = k.shape(dst, val)
		fixIBAN(dst[n:])
	case Email:
		at := bytes.IndexByte(val, '@')
		dot := bytes.LastIndexByte(val, '.')
		if at < 1 || dot < at {
			return dst, false
		}
		dst = k.shape(dst, bytes.ToLower(val))
		for i := n + dot + 1; i < len(dst); i++ {
			dst[i] = 'z'
		}
	case IP:
		a, err := netip.ParseAddr(string(val))
		if err != nil || !a.Unmap().Is4() {
			return dst, false
		}
		four := [4]byte{240 | k.next()&15, k.next(), k.next(), k.next()}
		dst = netip.AddrFrom4(four).AppendTo(dst)
	default:
		return dst, false
	}
	return dst, true
}

// formatted says whether a value is what format leaves.
func formatted(class Class, val []byte) bool {
	digits := string(appendDigits(nil, val))
	switch class {
	case PAN:
		return strings.HasPrefix(digits, "7") && luhnSum([]byte(digits))%10 == 0
	case SSN:
		return strings.HasPrefix(digits, "9")
	case Phone:
		return strings.HasPrefix(digits, "999") || strings.HasPrefix(digits, "000")
	case IBAN:
		return len(val) > 4 && val[0]|0x20 == 'z' && val[1]|0x20 == 'z'
	case Email:
		dot := bytes.LastIndexByte(val, '.')
		return dot >= 0 && len(bytes.Trim(val[dot+1:], "z")) == 0
	case IP:
		a, err := netip.ParseAddr(string(val))
		return err == nil && a.Is4() && a.As4()[0] >= 240
	}
	return false
}

// keystream is bytes that depend on the salt, the class and the value alone.
type keystream struct {
	macs  *macPool
	label string
	value []byte
	block [32]byte
	used  int
	count byte
}

func (k *keystream) next() byte {
	if k.used%32 == 0 {
		k.block = k.macs.sum(k.label+string('a'+rune(k.count)), k.value)
		k.count++
		k.used = 0
	}
	k.used++
	return k.block[k.used-1]
}

// below is near enough to uniform: of 65536 values, 6 to 26 share them.
func (k *keystream) below(n int) byte {
	return byte((int(k.next())<<8 | int(k.next())) % n)
}

// shape replaces letters and digits, each by one of its kind.
func (k *keystream) shape(dst, val []byte) []byte {
	for _, c := range val {
		switch {
		case isDigit(c):
			c = '0' + k.below(10)
		case isLower(c):
			c = 'a' + k.below(26)
		case isUpper(c):
			c = 'A' + k.below(26)
		case c >= 0x80:
			c = 'a' + k.below(26)
		}
		dst = append(dst, c)
	}
	return dst
}

func countDigits(b []byte) (n int) {
	for _, c := range b {
		if isDigit(c) {
			n++
		}
	}
	return n
}

// setDigits overwrites the first digits.
func setDigits(b []byte, digits string) {
	for i := 0; i < len(b) && digits != ""; i++ {
		if isDigit(b[i]) {
			b[i], digits = digits[0], digits[1:]
		}
	}
}

// fixLuhn sets the last digit to the check digit.
func fixLuhn(b []byte) {
	d := appendDigits(nil, b)
	for c := byte('0'); c <= '9'; c++ {
		d[len(d)-1] = c
		if luhnSum(d)%10 == 0 {
			break
		}
	}
	for i := len(b) - 1; i >= 0; i-- {
		if isDigit(b[i]) {
			b[i] = d[len(d)-1]
			return
		}
	}
}

func luhnSum(d []byte) (sum int) {
	for i := range d {
		x := int(d[len(d)-1-i] - '0')
		if i%2 == 1 {
			if x *= 2; x > 9 {
				x -= 9
			}
		}
		sum += x
	}
	return sum
}

// fixIBAN makes the country ZZ, and the check digits right.
func fixIBAN(b []byte) {
	var at [4]int
	n := 0
	for i, c := range b {
		if isAlnum(c) {
			at[n] = i
			if n++; n == 4 {
				break
			}
		}
	}
	case0 := b[at[0]] & 0x20
	b[at[0]], b[at[1]], b[at[2]], b[at[3]] = 'Z'|case0, 'Z'|case0, '0', '0'
	mod := 0
	step := func(c byte) {
		switch {
		case isDigit(c):
			mod = ibanStep(mod, int(c-'0'))
		case isAlpha(c):
			mod = ibanStep(mod, int(c|0x20-'a')+10)
		}
	}
	for _, c := range b[at[3]+1:] {
		step(c)
	}
	for _, i := range at {
		step(b[i])
	}
	check := 98 - mod
	b[at[2]], b[at[3]] = '0'+byte(check/10), '0'+byte(check%10)
}
