package scrub

import (
	"bytes"
	"net/netip"
)

// number looks at the run of digits that begins at i, and what follows it in
// groups, as numbers are written. It returns where to go on.
func (s *scanner) number(b []byte, i int, st *state) int {
	end := i + 1
	for end < len(b) && b[end]-'0' <= 9 {
		end++
	}
	prev := at(b, i-1)
	if isAlpha(prev) || prev == '_' {
		if s.on[detIBAN] && end-i >= 2 && isAlpha(prev) && isAlpha(at(b, i-2)) && !isWord(at(b, i-3)) {
			if e := iban(b, i-2); e > 0 {
				st.add(i-2, e, detIBAN)
				return e
			}
		}
		if s.on[detAPIKey] && prev == 'a' && at(b, i-2) == 'y' && at(b, end) == '.' && end-i == 2 && b[i] == '2' && !isWord(at(b, i-3)) {
			if e := keyEnd(b, end+1, 16, keyURL); e > 0 { // a Google OAuth token
				st.add(i-2, e, detAPIKey)
			}
		}
		return wordEnd(b, end)
	}
	next := at(b, end)
	switch next {
	case '-', '.', '/':
		c := at(b, end+1)
		if !isDigit(c) && end-i < 8 {
			return end // too short by itself, and no groups follow
		}
		if next == '-' && end-i == 4 {
			if e := timestamp(b, i); e > 0 {
				return e
			}
		}
	case ' ', '(', ')':
	default:
		// One run, the most frequent case by far.
		if isWord(next) {
			return wordEnd(b, end)
		}
		if end-i < 9 {
			return end
		}
	}
	var g groups
	g.read(b, i)
	s.groups(b, &g, st)
	return max(end, g.resume)
}

// timestamp returns where to go on after 2006-01-02T at i, and what follows it
// if that is 15:04:05Z with any fraction, or 0. Nothing within is found by any
// detector, for the letters at its ends, and logs have one in each line.
func timestamp(b []byte, i int) int {
	if len(b)-i < 11 {
		return 0
	}
	d := b[i : i+11 : i+11]
	if d[7] != '-' || d[10] != 'T' || !isDigit(d[5]) || !isDigit(d[6]) || !isDigit(d[8]) || !isDigit(d[9]) {
		return 0
	}
	i += 10
	if len(b)-i < 10 {
		return i
	}
	d = b[i : i+10 : i+10]
	if d[3] != ':' || d[6] != ':' || !isDigit(d[1]) || !isDigit(d[2]) || !isDigit(d[4]) || !isDigit(d[5]) || !isDigit(d[7]) || !isDigit(d[8]) {
		return i
	}
	end := i + 9
	if d[9] == '.' {
		end = digitsEnd(b, end+1)
	}
	if at(b, end) != 'Z' {
		return i
	}
	return end
}

// wordEnd is the end of the letters and digits from i on. Nothing else begins
// within a word.
func wordEnd(b []byte, i int) int {
	for i < len(b) && wordTable[b[i]] {
		i++
	}
	return i
}

var wordTable = func() (t [256]bool) {
	for c := range 256 {
		t[c] = isAlnum(byte(c))
	}
	return t
}()

const maxGroups = 12

// groups is digits as people write them: runs with one separator between.
type groups struct {
	n          int
	start, end [maxGroups]int
	sep        [maxGroups]byte // what stands before the group
	resume     int             // where the scan goes on
}

func (g *groups) read(b []byte, i int) {
	g.sep[0] = at(b, i-1)
	for {
		end := i
		for end < len(b) && isDigit(b[end]) {
			end++
		}
		g.start[g.n], g.end[g.n] = i, end
		g.n++
		g.resume = end
		if g.n == maxGroups {
			// More groups than a number has: the later ones are looked at again.
			g.resume = g.end[maxGroups/2-1]
			return
		}
		sep := at(b, end)
		i = end + 1
		switch sep {
		case ' ':
			if c := at(b, i); c == '(' {
				sep = '('
				i++
			} else if c == '-' && at(b, i+1) == ' ' {
				i += 2
			}
		case ')':
			if c := at(b, i); c == ' ' || c == '-' {
				i++
			}
		case '-', '.', '/', '(':
		default:
			return
		}
		if !isDigit(at(b, i)) {
			return
		}
		g.sep[g.n] = sep
	}
}

func (g *groups) len(k int) int { return g.end[k] - g.start[k] }

// digits copies the digits of groups k to m.
func (g *groups) digits(b, dst []byte, k, m int) []byte {
	for ; k <= m; k++ {
		if len(dst)+g.len(k) > cap(dst) {
			return dst[:0]
		}
		dst = append(dst, b[g.start[k]:g.end[k]]...)
	}
	return dst
}

func (s *scanner) groups(b []byte, g *groups, st *state) {
	taken := 0 // groups before this one belong to something found
	for k := 0; k < g.n; k++ {
		if k < taken {
			continue
		}
		if m := s.numberAt(b, g, k, st); m >= k {
			taken = m + 1
			g.resume = max(g.resume, g.end[m])
		}
	}
}

// numberAt looks for a number that begins with group k, and returns its last
// group, or -1.
func (s *scanner) numberAt(b []byte, g *groups, k int, st *state) int {
	if s.on[detPAN] {
		if m := pan(b, g, k); m >= 0 {
			st.add(g.start[k], g.end[m], detPAN)
			return m
		}
	}
	if s.on[detSSN] && ssn(b, g, k) {
		st.add(g.start[k], g.end[k+2], detSSN)
		return k + 2
	}
	if s.on[detIP] {
		if ipv4(b, g, k) {
			st.add(g.start[k], g.end[k+3], detIP)
			return k + 3
		}
	}
	if s.on[detPhone] {
		if start, m := phone(b, g, k); m >= 0 {
			st.add(start, g.end[m], detPhone)
			return m
		}
	}
	return -1
}

// free says whether what is around a number lets it be one.
func free(b []byte, start, end int) bool {
	switch p := at(b, start-1); {
	case isWord(p):
		return false
	case p == '-' || p == '.':
		if isWord(at(b, start-2)) {
			return false
		}
	}
	switch n := at(b, end); {
	case isWord(n):
		return false
	case n == '-' || n == '.':
		if isWord(at(b, end+1)) {
			return false
		}
	}
	return true
}

// pan returns the last group of a card number that begins with group k: one
// run, or groups as they stand on cards.
func pan(b []byte, g *groups, k int) int {
	if c := b[g.start[k]]; c == '0' {
		return -1
	}
	var space [20]byte
	check := func(m int) bool {
		d := g.digits(b, space[:0], k, m)
		return isPAN(d) && free(b, g.start[k], g.end[m])
	}
	switch n := g.len(k); {
	case n >= 13 && n <= 19:
		if check(k) {
			return k
		}
	case n == 4:
		m := k
		for m+1 < g.n && m-k < 4 && (g.sep[m+1] == ' ' || g.sep[m+1] == '-' || g.sep[m+1] == '.') {
			m++
		}
		for ; m >= k+2; m-- {
			if shape := m - k; shape == 2 && (g.len(k+1) == 6 && (g.len(m) == 5 || g.len(m) == 4)) || shape >= 3 && g.fours(k, m) {
				if check(m) {
					return m
				}
			}
		}
	case n == 6 && k+1 < g.n && g.len(k+1) == 13 && g.sep[k+1] == ' ':
		if check(k + 1) {
			return k + 1
		}
	}
	return -1
}

// fours says whether groups k to m have four digits, the last one 1 to 4.
func (g *groups) fours(k, m int) bool {
	for j := k; j < m; j++ {
		if g.len(j) != 4 {
			return false
		}
	}
	return g.len(m) <= 4
}

// isPAN says whether d is a number of a card scheme with a valid check digit.
func isPAN(d []byte) bool { return scheme(d) && luhn(d) }

// scheme says whether an issuer has numbers that begin and are as long as d.
func scheme(d []byte) bool {
	n := len(d)
	if n < 13 || n > 19 {
		return false
	}
	four := int(d[0]-'0')*1000 + int(d[1]-'0')*100 + int(d[2]-'0')*10 + int(d[3]-'0')
	two := four / 100
	switch {
	case two >= 40 && two <= 49: // Visa
		return n == 13 || n == 16 || n == 18 || n == 19
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720: // Mastercard
		return n == 16
	case two == 34 || two == 37: // American Express
		return n == 15
	case four >= 3000 && four <= 3059, two == 36, two == 38, two == 39: // Diners Club
		return n == 14 || n >= 16
	case four >= 3528 && four <= 3589: // JCB
		return n >= 16
	case four == 1800 || four == 2131: // JCB, old
		return n == 15
	case two == 60 || two == 62 || two == 64 || two == 65 || two == 81 || two == 82: // Discover, UnionPay, RuPay
		return n >= 16
	case two == 50 || two >= 56 && two <= 69: // Maestro, Elo, Verve and others
		return n >= 16 || n == 13 && (two == 50 || two == 67)
	case four >= 2200 && four <= 2204: // Mir
		return n >= 16
	case four == 9792 || four == 8600 || four == 9860: // Troy, Uzcard, Humo
		return n == 16
	}
	return false
}

// luhn says whether the last digit is the check digit of the others.
func luhn(d []byte) bool {
	sum := 0
	double := false
	same := true
	for i := len(d) - 1; i >= 0; i-- {
		x := int(d[i] - '0')
		same = same && d[i] == d[0]
		if double {
			if x *= 2; x > 9 {
				x -= 9
			}
		}
		sum += x
		double = !double
	}
	return sum%10 == 0 && !same
}

// ssn wants 3-2-4 digits and an area that was given out.
func ssn(b []byte, g *groups, k int) bool {
	if k+2 >= g.n || g.len(k) != 3 || g.len(k+1) != 2 || g.len(k+2) != 4 {
		return false
	}
	sep := g.sep[k+1]
	if sep != '-' && sep != ' ' && sep != '.' || g.sep[k+2] != sep || !free(b, g.start[k], g.end[k+2]) {
		return false
	}
	if at(b, g.start[k]-1) == '+' {
		return false
	}
	return isSSN(b[g.start[k]:g.end[k]], b[g.start[k+1]:g.end[k+1]], b[g.start[k+2]:g.end[k+2]])
}

func isSSN(area, group, serial []byte) bool {
	return area[0] != '9' && string(area) != "000" && string(area) != "666" && string(group) != "00" && string(serial) != "0000"
}

func ipv4(b []byte, g *groups, k int) bool {
	if k+3 >= g.n || k > 0 && g.sep[k] == '.' {
		return false
	}
	for j := k; j < k+4; j++ {
		if n := g.len(j); n > 3 || n > 1 && b[g.start[j]] == '0' || j > k && g.sep[j] != '.' {
			return false
		}
		if g.len(j) == 3 && (b[g.start[j]] > '2' || string(b[g.start[j]:g.end[j]]) > "255") {
			return false
		}
	}
	start, end := g.start[k], g.end[k+3]
	if !free(b, start, end) {
		return false
	}
	// Version numbers look the same, but for what stands before them.
	before := bytes.TrimRight(b[max(0, start-12):start], " :=\"/")
	if endsFold(before, "version") || endsFold(before, "ver") || endsFold(before, "release") {
		return false
	}
	a, err := netip.ParseAddr(string(b[start:end]))
	return err == nil && personalIP(a)
}

// personalIP leaves out addresses that say nothing about anybody: those of
// the machine itself, and those that are no addresses.
func personalIP(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() {
		return false
	}
	a = a.Unmap()
	if a.Is4() {
		first := a.As4()[0]
		return first != 0 && first < 240 // 240/4 is what format-preserving scrubbing leaves
	}
	return true
}
