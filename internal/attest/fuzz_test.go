package attest

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
)

// FuzzStatement: what parses comes back the same after writing; what doesn't
// has an error of its class.
func FuzzStatement(f *testing.F) {
	_, err := Recorded(someManifest(), nil, Run{}).Encode()
	if !errors.Is(err, ErrMalformed) {
		f.Fatalf("a statement about nothing: %v", err)
	}
	s, err := Subject(open(f, write(f, someManifest(), someFiles)), "")
	must(f, err)
	b, err := s.Encode()
	must(f, err)
	f.Add(b)
	f.Add([]byte(`{"_type":"` + StatementType + `","subject":[{"name":"a"},{"name":"a"}]}`))
	f.Add([]byte(`[[[[[[[[[[`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseStatement(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		text, err := s.Encode()
		must(t, err)
		again, err := ParseStatement(text)
		must(t, err)
		if !reflect.DeepEqual(s, again) {
			t.Fatalf("%+v\n%+v", s, again)
		}
	})
}

// FuzzEnvelope: the same; and no key has signed what it hasn't.
func FuzzEnvelope(f *testing.F) {
	key := newKey(f)
	f.Add(envelope(f, write(f, someManifest(), someFiles), newKey(f), newECDSA(f)))
	f.Add([]byte(`{"payloadType":"` + PayloadType + `","payload":"e30","signatures":[{"sig":"_-8="}]}`))
	f.Add([]byte(`{"payloadType":"x","payload":"","signatures":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEnvelope(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if by := e.SignedBy([]*PublicKey{key.Public()}); len(by) > 0 {
			t.Fatal("a key that signed nothing has signed")
		}
		text, err := e.Encode()
		must(t, err)
		again, err := ParseEnvelope(text)
		must(t, err)
		if !reflect.DeepEqual(e.Signatures, again.Signatures) || string(e.Payload) != string(again.Payload) {
			t.Fatalf("%+v\n%+v", e, again)
		}
	})
}

// FuzzPolicy: a policy that loads asks for what can be asked; an error says
// what is needed, where.
func FuzzPolicy(f *testing.F) {
	pub := newKey(f).Public()
	f.Add(fmt.Appendf(nil, samplePolicy, indent(pub.PEM())))
	f.Add([]byte("version: 1\nrecorders: [vm]\nmax_age: 3d\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("version: 1\nredaction:\n  - {path: 'a/**', rulesets: [x]}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePolicy("p", b, func(string) (*PublicKey, error) { return pub, nil })
		if err != nil {
			var pe *PolicyError
			if !errors.As(err, &pe) || pe.Need == "" || pe.Found == "" {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if p.Threshold > len(p.Signers) || p.MaxAge < 0 || len(p.Builders) > 0 && p.Threshold == 0 {
			t.Fatalf("%+v", p)
		}
	})
}
