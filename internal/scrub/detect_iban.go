package scrub

// iban returns the end of the account number that begins with the country at
// i, or 0. Groups may be parted by single spaces or hyphens.
func iban(b []byte, i int) int {
	want := ibanLength(b[i]&^0x20, b[i+1]&^0x20)
	if want == 0 {
		return 0
	}
	mod, n := 0, 0
	var head [4]int // country and check digits come last in the checksum
	j := i
	for ; j < len(b) && n < want; j++ {
		c := b[j]
		var x int
		switch {
		case isDigit(c):
			x = int(c - '0')
		case isAlpha(c):
			x = int(c|0x20-'a') + 10
		case (c == ' ' || c == '-') && n >= 4 && b[j-1] != ' ' && b[j-1] != '-':
			continue
		default:
			return 0
		}
		if n < 4 {
			head[n] = x
		} else {
			mod = ibanStep(mod, x)
		}
		n++
	}
	if n < want || isWord(at(b, j)) {
		return 0
	}
	for _, x := range head {
		mod = ibanStep(mod, x)
	}
	if mod != 1 {
		return 0
	}
	return j
}

func ibanStep(mod, x int) int {
	if x >= 10 {
		return (mod*100 + x) % 97
	}
	return (mod*10 + x) % 97
}

// ibanLength is the number of characters of a country's IBANs, 0 if it has
// none (SWIFT's registry).
func ibanLength(a, c byte) int {
	switch string([]byte{a, c}) {
	case "NO":
		return 15
	case "BE":
		return 16
	case "DK", "FI", "FO", "GL", "NL", "FK", "SD":
		return 18
	case "MK", "SI":
		return 19
	case "AT", "BA", "EE", "KZ", "LT", "LU", "XK", "MN":
		return 20
	case "CH", "HR", "LI", "LV":
		return 21
	case "BG", "BH", "CR", "DE", "GB", "GE", "IE", "ME", "RS", "VA":
		return 22
	case "AE", "GI", "IL", "IQ", "TL", "OM", "SO":
		return 23
	case "AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG":
		return 24
	case "LY", "PT", "ST":
		return 25
	case "IS", "TR":
		return 26
	case "FR", "GR", "IT", "MC", "SM", "BI", "DJ":
		return 27
	case "AL", "AZ", "BY", "CY", "DO", "GT", "HU", "LB", "PL", "SV", "NI":
		return 28
	case "BR", "EG", "PS", "QA", "UA":
		return 29
	case "JO", "KW", "MU", "YE":
		return 30
	case "MT", "SC":
		return 31
	case "LC":
		return 32
	case "RU":
		return 33
	}
	return 0
}
