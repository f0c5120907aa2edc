package scrub

func isDigit(c byte) bool { return c-'0' <= 9 }
func isLower(c byte) bool { return c-'a' <= 25 }
func isUpper(c byte) bool { return c-'A' <= 25 }
func isAlpha(c byte) bool { return c|0x20-'a' <= 25 && c < 0x80 }
func isAlnum(c byte) bool { return isDigit(c) || isAlpha(c) }
func isHex(c byte) bool   { return isDigit(c) || (c|0x20)-'a' <= 5 }
func isWord(c byte) bool  { return isAlnum(c) || c == '_' }
func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func isBase64(c byte) bool { return isAlnum(c) || c == '+' || c == '/' || c == '-' || c == '_' }

// digitsEnd is the end of the digits from i on.
func digitsEnd(b []byte, i int) int {
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	return i
}

// at is b[i], or 0 outside of b.
func at(b []byte, i int) byte {
	if uint(i) < uint(len(b)) {
		return b[i]
	}
	return 0
}

// hasFold says whether b begins with the lower-case word.
func hasFold(b []byte, word string) bool {
	if len(b) < len(word) {
		return false
	}
	for i := range len(word) {
		c := b[i]
		if isUpper(c) {
			c |= 0x20
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// endsFold says whether b ends with the lower-case word.
func endsFold(b []byte, word string) bool {
	return len(b) >= len(word) && hasFold(b[len(b)-len(word):], word)
}
