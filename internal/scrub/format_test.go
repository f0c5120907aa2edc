package scrub

import (
	"regexp"
	"testing"
)

const formatRules = `
extends: [pci, gdpr_default]
classes: {pan: format, ssn: format, phone: format, iban: format, email: format, ip: format, password: mask, name: drop}
`

func parseTest(t testing.TB, text string) *Scrubber {
	t.Helper()
	r, err := ParseRules("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return withRules(t, r)
}

func TestFormat(t *testing.T) {
	t.Parallel()
	s := parseTest(t, formatRules)
	for _, c := range []struct{ in, want string }{
		{"card 4111-1111-1111-1111", `^card 7\d{3}-\d{4}-\d{4}-\d{4}$`},
		{"card 4111111111111111", `^card 7\d{15}$`},
		{"ssn 123-45-6789", `^ssn 9\d\d-\d\d-\d{4}$`},
		{"call +49 30 901820", `^call \+99 9\d \d{6}$`},
		{"call (415) 555-2671", `^call \(000\) \d{3}-\d{4}$`},
		{"iban DE89 3704 0044 0532 0130 00", `^iban ZZ\d\d( \d{4}){4} \d\d$`},
		{"mail Ada.L@example.org", `^mail [a-z]{3}\.[a-z]@[a-z]{7}\.zzz$`},
		{`{"phone":"+49 30 901820","iban":"DE89370400440532013000"}`, `^\{"phone":"\+99 9\d \d{6}","iban":"ZZ\d{20}"\}$`},
		{`{"email":"a@b.org","ssn":"123456789","card_number":"4111111111111111"}`, `^\{"email":"[a-z]@[a-z]\.zzz","ssn":"9\d{8}","card_number":"7\d{15}"\}$`},
		{"from 10.1.2.3", `^from 2[45]\d\.\d+\.\d+\.\d+$`},
		{"password=hunter2", `^password=\[masked\]$`},
		{`{"first_name":"Ada"}`, `^\{"first_name":""\}$`},
	} {
		once := s.Text([]byte(c.in))
		if !regexp.MustCompile(c.want).Match(once.Bytes()) {
			t.Errorf("%s becomes %s, want %s", c.in, once, c.want)
		}
		if twice := s.Text(once.Bytes()); twice.String() != once.String() {
			t.Errorf("%s: once %s, twice %s", c.in, once, twice)
		}
	}
	a, b := s.Text([]byte("x 4111-1111-1111-1111")).String(), s.Text([]byte("x 4111 1111 1111 1111")).String()
	if string(appendDigits(nil, []byte(a))) != string(appendDigits(nil, []byte(b))) {
		t.Errorf("one card, two replacements: %s and %s", a, b)
	}
	if d := appendDigits(nil, []byte(a)); luhnSum(d)%10 != 0 {
		t.Errorf("%s has no valid check digit", d)
	}
	doc := s.JSON([]byte(`{"card":4111111111111111}`))
	if !regexp.MustCompile(`^\{"card":7\d{15}\}$`).Match(doc.Bytes()) {
		t.Errorf("a number becomes %s", doc)
	}
}
