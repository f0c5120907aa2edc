package sweep

import (
	"bytes"
	"encoding/base64"
	"math/big"
	"strings"
)

// pattern is one form of private data. The expression says what may be one,
// verify what is: Luhn, checksums, what surrounds it.
type pattern struct {
	class  string
	expr   string
	verify func(match []byte) bool // nil takes every match
}

// Patterns are ASCII and have at most maxMatch bytes of a match that matter.
func patterns() []pattern {
	const word = `(?:^|[^0-9A-Za-z_])`
	return []pattern{
		{"email", `[0-9A-Za-z._%+\-]{1,64}@[0-9A-Za-z][0-9A-Za-z.\-]{0,80}\.[A-Za-z]{2,24}`, isAddress},
		{"pan", `(?:^|[^0-9A-Za-z.\-_])[2-6](?:[ \-]?[0-9]){12,18}(?:[^0-9A-Za-z\-_]|$)`, isCard},
		{"iban", word + `[A-Z]{2}[0-9]{2}(?: ?[0-9A-Z]){11,30}`, isIBAN},
		{"ssn", `(?:^|[^0-9\-.])[0-8][0-9]{2}-[0-9]{2}-[0-9]{4}(?:[^0-9\-]|$)`, isSSN},
		{"jwt", word + `eyJ[0-9A-Za-z_\-]{10,}\.eyJ[0-9A-Za-z_\-]{6,}\.[0-9A-Za-z_\-]{6,}`, nil},
		{"private_key", `-----BEGIN (?:[A-Z0-9]{1,12} )*PRIVATE KEY(?: BLOCK)?-----\s*(?:\\n)?[0-9A-Za-z+/=]{16}`, nil},
		{"api_key", word + `(?:AKIA|ASIA|AROA|AIDA)[0-9A-Z]{16}(?:[^0-9A-Za-z]|$)`, nil},
		{"api_key", word + `(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{50,}|glpat-[0-9A-Za-z_\-]{20,})`, nil},
		{"api_key", word + `(?:xox[abeoprs]-[0-9A-Za-z\-]{20,}|hooks\.slack\.com/services/T[0-9A-Z]{6,}/B[0-9A-Z]{6,}/[0-9A-Za-z]{16,})`, nil},
		{"api_key", word + `(?:AIza[0-9A-Za-z_\-]{35}|ya29\.[0-9A-Za-z_\-]{20,})`, nil},
		{"api_key", word + `(?:[sr]k_(?:live|test)_[0-9A-Za-z]{16,}|sk-(?:ant-|proj-)?[0-9A-Za-z_\-]{24,})`, mixed},
		{"api_key", word + `(?:npm_[0-9A-Za-z]{36}|hf_[0-9A-Za-z]{30,}|SG\.[0-9A-Za-z_\-]{16,}\.[0-9A-Za-z_\-]{16,}|dop_v1_[0-9a-f]{64})`, nil},
		{"bearer", `(?i)\bbearer[ =:]{1,2}[0-9a-z._~+/\-]{20,}`, secretWord},
		{"basic", `(?i)\bbasic [0-9a-z+/]{12,}={0,2}`, isBasic},
		{"conn_string", `[a-z][0-9a-z+.\-]{1,20}://[^\s/:@"'<>]{0,64}:[^\s/@"'<>]{1,128}@[0-9A-Za-z\[]`, hasPassword},
	}
}

// placed is the part of a match that a pattern with guards around it is about.
func placed(m []byte) []byte { return bytes.Trim(m, " \t\r\n\"'=:,;<>()[]{}/\\&?|#*") }

func digits(m []byte) []byte {
	var d []byte
	for _, c := range m {
		if '0' <= c && c <= '9' {
			d = append(d, c-'0')
		}
	}
	return d
}

// isCard is Luhn's formula, for numbers of the issuers' ranges. A number with
// all its digits the same passes and is nobody's.
func isCard(m []byte) bool {
	d := digits(m)
	if len(d) < 13 || len(d) > 19 || !issued(d) {
		return false
	}
	sum, same := 0, true
	for i, x := range d {
		n := int(x)
		if (len(d)-i)%2 == 0 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
		same = same && x == d[0]
	}
	return sum%10 == 0 && !same
}

// issued tells whether a card's number starts as those of the large networks
// do and is as long.
func issued(d []byte) bool {
	two, four := int(d[0])*10+int(d[1]), int(d[0])*1000+int(d[1])*100+int(d[2])*10+int(d[3])
	n := len(d)
	switch {
	case d[0] == 4:
		return n == 13 || n == 16 || n == 19
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720:
		return n == 16
	case two == 34, two == 37:
		return n == 15
	case two == 36, two == 38, two == 30:
		return n == 14 || n == 16
	case two == 35, two == 60, two == 62, two == 64, two == 65:
		return n >= 16
	}
	return false
}

func isIBAN(m []byte) bool {
	text := strings.ReplaceAll(string(placed(m)), " ", "")
	// The expression may have taken the next word along.
	for n := min(len(text), 34); n >= 15; n-- {
		if mod97(text[4:n]+text[:4]) == 1 {
			return true
		}
	}
	return false
}

func mod97(s string) int64 {
	var b strings.Builder
	for _, c := range s {
		switch {
		case '0' <= c && c <= '9':
			b.WriteRune(c)
		case 'A' <= c && c <= 'Z':
			b.WriteString(big.NewInt(int64(c-'A') + 10).String())
		default:
			return -1
		}
	}
	n, ok := new(big.Int).SetString(b.String(), 10)
	if !ok {
		return -1
	}
	return n.Mod(n, big.NewInt(97)).Int64()
}

func isSSN(m []byte) bool {
	d := digits(m)
	area := int(d[0])*100 + int(d[1])*10 + int(d[2])
	return area != 0 && area != 666 && int(d[3])+int(d[4]) != 0 && int(d[5])+int(d[6])+int(d[7])+int(d[8]) != 0
}

// isAddress leaves out what has the form of an e-mail address and is none:
// systemd units, file names, and the domains that RFC 2606 keeps for nobody
// stay in, as nothing tells them from an address.
func isAddress(m []byte) bool {
	at := bytes.LastIndexByte(m, '@')
	domain := string(m[at+1:])
	top := strings.ToLower(domain[strings.LastIndexByte(domain, '.')+1:])
	switch top {
	case "service", "socket", "target", "timer", "mount", "so", "png", "jpg", "svg", "js", "css":
		return false
	}
	// user:tok_…@host is a connection without its password.
	return !strings.Contains(domain, "..") && m[0] != '.' && !isToken(m)
}

// isBasic decodes the credentials: without user and password it is a word.
func isBasic(m []byte) bool {
	_, text, _ := bytes.Cut(m, []byte(" "))
	text = bytes.TrimRight(text, "=")
	plain := make([]byte, base64.RawStdEncoding.DecodedLen(len(text)))
	n, err := base64.RawStdEncoding.Decode(plain, text)
	user, password, ok := bytes.Cut(plain[:n], []byte(":"))
	return err == nil && ok && printable(user) && printable(password) && len(password) > 0 && !isToken(password)
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

func secretWord(m []byte) bool {
	i := bytes.IndexAny(m, " =:")
	return mixed(m[i:]) && !isToken(bytes.TrimLeft(m[i:], " =:"))
}

// mixed tells a secret from words joined by hyphens: it has digits and letters.
func mixed(m []byte) bool {
	return bytes.ContainsAny(m, "0123456789") && bytes.ContainsAny(m, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
}

func hasPassword(m []byte) bool {
	_, rest, _ := bytes.Cut(m, []byte("://"))
	_, password, _ := bytes.Cut(rest, []byte(":"))
	password = password[:max(0, bytes.LastIndexByte(password, '@'))]
	switch {
	case len(password) == 0, isToken(password):
		return false
	case bytes.Trim(password, "*xX.") == nil, len(bytes.Trim(password, "*xX.")) == 0:
		return false // masked
	case bytes.ContainsAny(password, "%$<{") && bytes.ContainsAny(password, "s>}"):
		return false // a place in a format
	}
	return true
}

// isToken tells whether a scrubber has been here: see docs/privacy.md.
func isToken(b []byte) bool { return bytes.HasPrefix(b, []byte("tok_")) }
