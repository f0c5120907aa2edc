package scrub

import (
	"bytes"
	"encoding/json"
	"testing"
)

// TestKnown: what was scrubbed once is scrubbed alike without the salt, and
// neither the value nor the salt is in what goes there for that.
func TestKnown(t *testing.T) {
	t.Parallel()
	rules, err := ParseRules("r.yaml", []byte("extends: gdpr_default\nclasses: {ssn: argon2id, card_number: format}\nargon2id: {time: 1, memory: 8192, threads: 1}\n"))
	if err != nil {
		t.Fatal(err)
	}
	scrubber := func(key string, k *Known) *Scrubber {
		salt, err := NewSalt("local:default", []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(rules, salt)
		if err != nil {
			t.Fatal(err)
		}
		s.Share(k)
		return s
	}
	text := []byte("mail ada@example.com, card 4111 1111 1111 1111, ssn 078-05-1120")
	const secret = "0123456789abcdef0123456789abcdef"
	here := &Known{}
	want := scrubber(secret, here).Text(text).Bytes()
	if bytes.Contains(want, []byte("ada@")) {
		t.Fatalf("nothing was scrubbed: %s", want)
	}
	b, err := json.Marshal(here)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte(secret)) || bytes.Contains(b, []byte("ada@")) {
		t.Errorf("gives away: %s", b)
	}
	there := &Known{}
	if err := json.Unmarshal(b, there); err != nil {
		t.Fatal(err)
	}
	other := scrubber("another salt, another salt, anoth", there)
	if got := other.Text(text).Bytes(); !bytes.Equal(got, want) {
		t.Errorf("without the salt %q, with it %q", got, want)
	}
	if got := other.Text([]byte("bob@example.com")).Bytes(); bytes.Equal(got, scrubber(secret, &Known{}).Text([]byte("bob@example.com")).Bytes()) {
		t.Errorf("another value has the token of the salt: %s", got)
	}
}
