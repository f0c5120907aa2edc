package scrub

import "bytes"

// phone returns where a phone number that begins with group k begins, and its
// last group, or -1: E.164 and the national forms that have a shape. Digits in
// one run without a + are no phone number unless a word before says so.
func phone(b []byte, g *groups, k int) (start, last int) {
	start = g.start[k]
	prev := at(b, start-1)
	if prev == '(' {
		start--
		prev = at(b, start-1)
		if prev == ' ' && k > 0 {
			return 0, -1 // the middle of +44 (0)20
		}
	}
	if prev == '+' {
		return e164(b, g, k, start-1)
	}
	if k > 0 && (g.sep[k] != ' ' || g.len(k-1) > 2) || isWord(prev) || (prev == '-' || prev == '.' || prev == '/') && isWord(at(b, start-2)) {
		return 0, -1
	}
	for m := min(g.n-1, k+5); m >= k; m-- {
		if !freePhone(b, g.end[m]) || m+1 < g.n && g.sep[m+1] != ' ' {
			continue
		}
		if national(b, g, k, m) {
			return start, m
		}
	}
	return 0, -1
}

// freePhone says whether a number may end here.
func freePhone(b []byte, end int) bool {
	n := at(b, end)
	if isWord(n) && n != 'x' || n == ':' && isDigit(at(b, end+1)) {
		return false
	}
	return !((n == '-' || n == '.' || n == '/') && isWord(at(b, end+1)))
}

// e164 is + and 8 to 15 digits, in up to 7 groups.
func e164(b []byte, g *groups, k, start int) (int, int) {
	if p := at(b, start-1); isWord(p) || p == '+' {
		return 0, -1
	}
	var space [64]byte
	head := g.digits(b, space[:0], k, min(k+2, g.n-1))
	if b[g.start[k]] == '0' || bytes.HasPrefix(head, []byte("999")) {
		return 0, -1 // no country, and what format-preserving scrubbing leaves
	}
	total, best := 0, -1
	for m := k; m < g.n; m++ {
		if m > k && (m-k > 6 || g.len(m) > 8) {
			break
		}
		total += g.len(m)
		if total > 15 || m-k > 1 && g.len(m) == 1 && g.len(m-1) == 1 {
			break
		}
		if total >= 8 && freePhone(b, g.end[m]) {
			best = m
		}
	}
	return start, best
}

func national(b []byte, g *groups, k, m int) bool {
	n, total := m-k+1, 0
	for j := k; j <= m; j++ {
		total += g.len(j)
	}
	first := b[g.start[k]:g.end[k]]
	if n == 1 {
		return total >= 9 && total <= 13 && (called(b, g.start[k]) || total == 10 && called(b, g.start[k])) && !bytes.HasPrefix(first, []byte("000"))
	}
	sep := g.sep[k+1]
	for j := k + 2; j <= m; j++ {
		// One separator throughout, but for (030) 12 34 and 0171/12 34-5.
		if g.sep[j] != sep && sep != ')' && sep != '/' && j != k+2 && !(g.sep[j] == '-' && sep == ' ') {
			return false
		}
	}
	// North America: [1] NXX NXX XXXX.
	a := k
	if g.len(a) == 1 && first[0] == '1' && n == 4 {
		a++
	}
	if m-a == 2 && g.len(a) == 3 && g.len(a+1) == 3 && g.len(a+2) == 4 {
		x, y := b[g.start[a]], b[g.start[a+1]]
		return x >= '2' && y >= '2' && g.sep[m] != '/'
	}
	if m-a == 1 && g.len(a) == 3 && g.len(m) == 7 && g.sep[m] == ')' && b[g.start[a]] >= '2' {
		return true
	}
	if first[0] != '0' {
		return spanish(b, g, k, m, total)
	}
	// 0 and an area, or 00 and a country.
	var space [48]byte
	if len(first) < 2 || bytes.HasPrefix(g.digits(b, space[:0], k, m), []byte("000")) {
		return false // the latter is what format-preserving scrubbing leaves
	}
	if total < 9 || total > 15 || n > 7 {
		return false
	}
	if len(first) == 2 {
		// France: 01 23 45 67 89, and not a date.
		pairs := n == 5
		for j := k; j <= m; j++ {
			pairs = pairs && g.len(j) == 2
		}
		if pairs {
			return first[1] != '0' && (sep == ' ' || sep == '.' || sep == '-')
		}
		return first[1] != '0' && (n == 3 && g.len(m) == 4 && g.len(k+1) == 4 || n == 2 && g.len(m) >= 7 && sep != '.')
	}
	if sep == '.' && n > 3 || len(first) > 6 || n > 2 && len(first) == 4 && g.len(k+1) == 4 && g.len(k+2) == 4 {
		return false // fours are accounts and cards
	}
	for j := k + 1; j <= m; j++ {
		if g.len(j) < 2 || g.len(j) > 9 {
			return false
		}
	}
	return true
}

// spanish is the nine digits of countries without areas: 612 345 678.
func spanish(b []byte, g *groups, k, m, total int) bool {
	if total != 9 || m-k != 2 || g.sep[m] != ' ' || !called(b, g.start[k]) {
		return false
	}
	return g.len(k) == 3 && g.len(k+1) == 3
}

// called says whether a word for phone stands shortly before i.
func called(b []byte, i int) bool {
	w := bytes.TrimRight(b[max(0, i-16):i], " :=\"'(+.#")
	for _, word := range []string{"tel", "phone", "mobile", "cell", "fax", "call", "sms", "whatsapp", "telefon", "msisdn", "mobil", "number", "handy"} {
		if endsFold(w, word) {
			return word != "number" || endsFold(w, "phone number") || endsFold(w, "phone_number")
		}
	}
	return false
}
