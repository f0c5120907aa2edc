package scrub

import "bytes"

type keyChars uint8

const (
	keyAlnum keyChars = iota
	keyURL            // and - _ (and . inside)
	keyHex
	keyBase64 // and + / =
	keyBase64Dot
)

func (k keyChars) has(c byte) bool {
	switch k {
	case keyHex:
		return isHex(c)
	case keyURL:
		return isAlnum(c) || c == '-' || c == '_' || c == '.'
	case keyBase64Dot:
		return isAlnum(c) || c == '+' || c == '/' || c == '=' || c == '-' || c == '_' || c == '.' || c == '~'
	case keyBase64:
		return isAlnum(c) || c == '+' || c == '/' || c == '=' || c == '-' || c == '_'
	}
	return isAlnum(c)
}

// keyEnd returns the end of a run of at least least characters, or 0.
func keyEnd(b []byte, i, least int, chars keyChars) int {
	end := i
	for end < len(b) && chars.has(b[end]) {
		end++
	}
	for end > i && b[end-1] == '.' {
		end--
	}
	if end-i < least {
		return 0
	}
	return end
}

// keyPrefix begins a key. Its last byte is one of _ - . which is where the
// scanner looks.
type keyPrefix struct {
	text  string
	least int // characters that follow, at least
	chars keyChars
}

// prefixes by the byte before their last one.
func prefixes(prev byte) []keyPrefix {
	switch prev {
	case 'p':
		return prefixP[:]
	case 'o', 'u', 's', 'r':
		return prefixGH[:]
	case 't':
		return prefixT[:]
	case 'k':
		return prefixK[:]
	case 'e':
		return prefixE[:]
	case 'm':
		return prefixM[:]
	case 'f':
		return prefixF[:]
	case 'c':
		return prefixC[:]
	case 'G', 'X', 'Y', 'K', 'U':
		return prefixUpper[:]
	case 'b', 'a':
		return prefixX[:]
	case '1':
		return prefix1[:]
	case 'i', 'n', 'l', 'v':
		return prefixI[:]
	}
	return nil
}

var (
	prefixP = [...]keyPrefix{{"ghp_", 20, keyAlnum}, {"xoxp-", 8, keyURL}, {"sq0atp-", 16, keyURL}, {"sq0csp-", 16, keyURL}, {"sbp_", 24, keyAlnum}}
	// GitHub: personal, OAuth, user, server and refresh tokens.
	prefixGH = [...]keyPrefix{{"gho_", 20, keyAlnum}, {"ghu_", 20, keyAlnum}, {"ghs_", 20, keyAlnum}, {"ghr_", 20, keyAlnum},
		{"xoxo-", 8, keyURL}, {"xoxs-", 8, keyURL}, {"xoxr-", 8, keyURL}, {"hvs.", 20, keyURL}, {"EAAAEu-", 20, keyURL}, {"dp.us.", 20, keyAlnum}}
	prefixT = [...]keyPrefix{{"github_pat_", 20, keyURL}, {"glpat-", 12, keyURL}, {"gldt-", 16, keyURL}, {"glrt-", 16, keyURL}, {"glcbt-", 16, keyURL},
		{"shpat_", 24, keyHex}, {"shpss_", 24, keyHex}, {"dp.pt.", 20, keyAlnum}, {"glptt-", 16, keyURL}, {"hvb.", 20, keyURL},
		{"sk_test_", 16, keyAlnum}, {"rk_test_", 16, keyAlnum}}
	prefixK = [...]keyPrefix{{"sk-", 20, keyURL}, {"glsoat-", 20, keyURL}}
	prefixE = [...]keyPrefix{{"sk_live_", 16, keyAlnum}, {"rk_live_", 16, keyAlnum}, {"xoxe-", 8, keyURL}, {"xoxe.", 8, keyURL}, {"pscale_", 20, keyURL}}
	prefixM = [...]keyPrefix{{"npm_", 30, keyAlnum}, {"xapp-", 16, keyURL}}
	prefixF = [...]keyPrefix{{"hf_", 30, keyAlnum}}
	prefixC = [...]keyPrefix{{"whsec_", 20, keyBase64}, {"xoxc-", 8, keyURL}, {"glc_", 30, keyBase64}}
	// SendGrid, Google client secrets, age, Postman, Heroku.
	prefixUpper = [...]keyPrefix{{"SG.", 32, keyURL}, {"GOCSPX-", 20, keyURL}, {"AGE-SECRET-KEY-", 40, keyAlnum}, {"PMAK-", 32, keyURL}, {"HRKU-", 24, keyURL}}
	prefixX     = [...]keyPrefix{{"xoxb-", 8, keyURL}, {"xoxa-", 8, keyURL}, {"glsa_", 30, keyURL}, {"hvb.", 20, keyURL}}
	prefix1     = [...]keyPrefix{{"dop_v1_", 40, keyHex}, {"doo_v1_", 40, keyHex}, {"dor_v1_", 40, keyHex}}
	prefixI     = [...]keyPrefix{{"pypi-", 40, keyURL}, {"lin_api_", 24, keyAlnum}, {"ntn_", 32, keyAlnum}, {"rubygems_", 32, keyHex}, {"xapp-", 16, keyURL}}
)

// prefixed looks for a key whose prefix ends at i.
func (s *scanner) prefixed(b []byte, i int, st *state) {
	if i < 2 {
		return
	}
	if b[i] == '.' && at(b, i+1) == 'c' && bytes.HasPrefix(b[i:], slackHook) {
		if e := keyEnd(b, i+len(slackHook), 16, keyBase64); e > 0 {
			st.add(i+len(slackHook), e, detAPIKey)
		}
		return
	}
	if !isAlnum(at(b, i+1)) || i < st.key {
		return
	}
	list := prefixes(b[i-1])
	for k := range list {
		p := &list[k]
		start := i + 1 - len(p.text)
		if p.text[len(p.text)-1] != b[i] || start < 0 || b[start] != p.text[0] || string(b[start:i+1]) != p.text || isAlnum(at(b, start-1)) {
			continue
		}
		e := keyEnd(b, i+1, p.least, p.chars)
		if e == 0 {
			continue
		}
		if !keyLike(b[i+1 : e]) {
			st.key = e // nor is any part of it a key
			return
		}
		if pr := at(b, start-1); pr == '_' || pr == '-' || pr == '.' {
			continue // the middle of a longer name
		}
		st.add(start, e, detAPIKey)
		return
	}
}

var slackHook = []byte(".com/services/")

// keyLike tells keys from names with hyphens or underscores: somewhere in a
// key are 8 characters or more without one, and digits.
func keyLike(b []byte) bool {
	digits, run, longest := 0, 0, 0
	for _, c := range b {
		if isDigit(c) {
			digits++
		}
		if !isAlnum(c) {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return digits > 0 && longest >= 8
}

// capitalI: AKIA and ASIA (AWS), AIza (Google).
func (s *scanner) capitalI(b []byte, i int, st *state) {
	switch {
	case at(b, i-1) == 'A' && at(b, i+1) == 'z' && at(b, i+2) == 'a' && !isWord(at(b, i-2)):
		if e := keyEnd(b, i+3, 30, keyURL); e > 0 {
			st.add(i-1, e, detAPIKey)
		}
	case at(b, i+1) == 'A' && at(b, i-2) == 'A' && !isWord(at(b, i-3)):
		switch at(b, i-1) {
		case 'K', 'S', 'B', 'C':
		default:
			return
		}
		e := i + 2
		for e < len(b) && (isUpper(b[e]) || isDigit(b[e])) {
			e++
		}
		if e-i == 18 && !isWord(at(b, e)) {
			st.add(i-2, e, detAPIKey)
		}
	}
}

// capitalK: Twilio's API keys.
func (s *scanner) capitalK(b []byte, i int, st *state) {
	if at(b, i-1) != 'S' || isWord(at(b, i-2)) {
		return
	}
	if e := keyEnd(b, i+1, 32, keyHex); e == i+33 && !isWord(at(b, e)) {
		st.add(i-1, e, detAPIKey)
	}
}

// jwt: eyJ, which is {" in base64, three parts with dots between.
func (s *scanner) jwt(b []byte, i int, st *state) {
	if i < st.jwt || at(b, i-1) != 'y' || at(b, i-2) != 'e' || i > 2 && isWord(b[i-3]) {
		return
	}
	end, dots := i+1, 0
	last := end
	for end < len(b) {
		c := b[end]
		if c == '.' {
			if end == last {
				break
			}
			dots++
			last = end + 1
		} else if !isAlnum(c) && c != '-' && c != '_' {
			break
		}
		end++
	}
	st.jwt = end
	for end > i && b[end-1] == '.' && dots > 2 {
		end--
		dots--
	}
	if dots >= 2 && end-i > 12 || dots == 1 && end-i > 24 {
		st.add(i-2, end, detJWT)
	}
}
