package scrub

import "bytes"

// Bytes at which a verifier takes a look. All others are passed over by one
// look into a table, which is what makes the scanner fast: one pass, whatever
// the number of rules.
const (
	trigNone = iota
	trigDigit
	trigAt
	trigColon
	trigAssign
	trigPercent
	trigEscape
	trigJWT
	trigPEM
	trigCapitalI
	trigCapitalK
	trigPrefix
	trigScheme
)

// scanner finds private values in text. It doesn't change once made.
type scanner struct {
	rules *Rules
	owner *Scrubber // what is found in base64 is scrubbed at once
	on    [numDetectors]bool
	table [256]uint8
	json  [256]uint8 // for strings of JSON: jsonStop, jsonTrig
	names bool       // the schema says something of key=value and "key": value
}

func newScanner(r *Rules, owner *Scrubber) *scanner {
	s := &scanner{rules: r, owner: owner, on: r.detect, names: !r.text.empty()}
	set := func(trig uint8, chars string, on bool) {
		if on {
			for _, c := range []byte(chars) {
				s.table[c] = trig
			}
		}
	}
	any := false
	for _, on := range s.on {
		any = any || on
	}
	set(trigDigit, "0123456789", s.on[detPAN] || s.on[detSSN] || s.on[detPhone] || s.on[detIP] || s.on[detIBAN] || s.on[detAPIKey])
	set(trigAt, "@", s.on[detEmail])
	set(trigColon, ":", s.on[detConnString] || s.on[detIP] || s.names)
	set(trigAssign, "=", s.names)
	set(trigPercent, "%+", any || s.names)
	set(trigEscape, "\\", any || s.names)
	set(trigJWT, "J", s.on[detJWT])
	set(trigPEM, "G", s.on[detPrivateKey])
	set(trigCapitalI, "I", s.on[detAPIKey])
	set(trigCapitalK, "K", s.on[detAPIKey])
	set(trigPrefix, "_-.", s.on[detAPIKey])
	set(trigScheme, "bB", s.on[detBearer] || s.on[detBasic])
	for c := range s.json {
		if s.table[c] != trigNone {
			s.json[c] |= jsonTrig
		}
		if c == '"' || c == '\\' || c < ' ' {
			s.json[c] |= jsonStop
		}
	}
	return s
}

// maxDepth bounds encodings within encodings.
const maxDepth = 5

// scan adds what it finds in b, in no order, and with overlaps.
func (s *scanner) scan(b []byte, st *state) {
	t := &s.table
	if st.depth < maxDepth {
		s.runs(b, st)
	}
	for i := 0; i < len(b); {
		for i+8 <= len(b) {
			w := b[i : i+8 : i+8]
			if t[w[0]]|t[w[1]]|t[w[2]]|t[w[3]] != 0 {
				break
			}
			if t[w[4]]|t[w[5]]|t[w[6]]|t[w[7]] != 0 {
				i += 4
				break
			}
			i += 8
		}
		for i < len(b) && t[b[i]] == trigNone {
			i++
		}
		if i >= len(b) {
			return
		}
		switch t[b[i]] {
		case trigDigit:
			i = s.number(b, i, st)
			continue
		case trigAt:
			s.email(b, i, st)
		case trigColon:
			s.colon(b, i, st)
		case trigAssign:
			s.assign(b, i, st)
		case trigPercent:
			s.percent(b, i, st)
		case trigEscape:
			s.escape(b, i, st)
		case trigJWT:
			s.jwt(b, i, st)
		case trigPEM:
			i = s.pem(b, i, st)
			continue
		case trigCapitalI:
			s.capitalI(b, i, st)
		case trigCapitalK:
			s.capitalK(b, i, st)
		case trigPrefix:
			s.prefixed(b, i, st)
		case trigScheme:
			s.scheme(b, i, st)
		}
		i++
	}
}

// line returns the line around i, without its end.
func line(b []byte, i int) (start, end int) {
	start = bytes.LastIndexByte(b[:i], '\n') + 1
	if n := bytes.IndexByte(b[i:], '\n'); n >= 0 {
		return start, i + n
	}
	return start, len(b)
}
