package attest

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// maxEnvelope bounds the JSON of an envelope, maxSignatures what it makes a
// verifier compute.
const (
	maxEnvelope   = 96 << 20
	maxSignatures = 64
)

// Envelope is a DSSE v1 envelope, see https://github.com/secure-systems-lab/dsse.
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"` // base64 in JSON
	Signatures  []Signature `json:"signatures"`
}

// Signature is one signature of an envelope. KeyID is a hint which key may
// verify it; nothing is decided by it.
type Signature struct {
	KeyID string `json:"keyid,omitempty"`
	Sig   []byte `json:"sig"` // base64 in JSON; ECDSA in ASN.1 DER
}

// PAE is the pre-authentication encoding: what is really signed. The type is
// part of it, so that a signature of one kind of document is none of another.
func PAE(payloadType string, payload []byte) []byte {
	b := make([]byte, 0, len(payload)+len(payloadType)+48)
	b = fmt.Appendf(b, "DSSEv1 %d %s %d ", len(payloadType), payloadType, len(payload))
	return append(b, payload...)
}

// Sign makes an envelope of a statement. With several keys it has a signature
// of each.
func Sign(s *Statement, keys ...*PrivateKey) (*Envelope, error) {
	payload, err := s.Encode()
	if err != nil {
		return nil, err
	}
	e := &Envelope{PayloadType: PayloadType, Payload: payload}
	for _, k := range keys {
		sig, err := k.sign(PAE(e.PayloadType, e.Payload))
		if err != nil {
			return nil, err
		}
		e.Signatures = append(e.Signatures, Signature{KeyID: k.Public().ID(), Sig: sig})
	}
	return e, e.check()
}

// ParseEnvelope reads an envelope and checks its form, not its signatures. The
// error wraps [ErrMalformed].
func ParseEnvelope(b []byte) (*Envelope, error) {
	var text struct {
		PayloadType string `json:"payloadType"`
		Payload     string `json:"payload"`
		Signatures  []struct {
			KeyID string `json:"keyid"`
			Sig   string `json:"sig"`
		} `json:"signatures"`
	}
	if err := decode("envelope", b, maxEnvelope, &text); err != nil {
		return nil, err
	}
	e := &Envelope{PayloadType: text.PayloadType}
	var err error
	if e.Payload, err = decode64(text.Payload); err != nil {
		return nil, malformed("envelope", "payload", "base64", "other characters")
	}
	for i, s := range text.Signatures {
		if i == maxSignatures {
			return nil, malformed("envelope", "signatures", fmt.Sprintf("at most %d", maxSignatures), strconv.Itoa(len(text.Signatures)))
		}
		sig, err := decode64(s.Sig)
		if err != nil || len(sig) == 0 {
			return nil, malformed("envelope", fmt.Sprintf("signatures[%d].sig", i), "a signature in base64", "none")
		}
		e.Signatures = append(e.Signatures, Signature{KeyID: s.KeyID, Sig: sig})
	}
	return e, e.check()
}

func (e *Envelope) check() error {
	switch {
	case e.PayloadType != PayloadType:
		return malformed("envelope", "payloadType", PayloadType, quote(e.PayloadType))
	case len(e.Signatures) == 0:
		return malformed("envelope", "signatures", "one or more", "none")
	}
	return nil
}

// decode64 accepts the standard and the URL-safe alphabet, as DSSE asks for.
func decode64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "-_") {
		return base64.URLEncoding.Strict().DecodeString(s)
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}

// Encode returns the envelope as JSON.
func (e *Envelope) Encode() ([]byte, error) { return encode(e) }

// SignedBy returns those of keys that have signed the envelope, each once.
func (e *Envelope) SignedBy(keys []*PublicKey) []*PublicKey {
	pae := PAE(e.PayloadType, e.Payload)
	var list []*PublicKey
	for _, k := range keys {
		for _, s := range e.Signatures {
			if k.verify(pae, s.Sig) {
				list = append(list, k)
				break
			}
		}
	}
	return list
}

// Statement reads what the envelope holds. Ask [Envelope.SignedBy] first:
// nothing unsigned needs to be parsed.
func (e *Envelope) Statement() (*Statement, error) { return ParseStatement(e.Payload) }
