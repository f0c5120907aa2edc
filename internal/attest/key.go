package attest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
)

// PrivateKey signs. It prints as the id of its public key.
type PrivateKey struct {
	signer crypto.Signer
	public *PublicKey
}

// PublicKey verifies.
type PublicKey struct {
	key any // *ecdsa.PublicKey on P-256, or ed25519.PublicKey
	der []byte
}

// NewKey makes an ECDSA key on P-256, which every verifier has.
func NewKey() (*PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return newPrivate(key)
}

// NewEd25519Key makes an Ed25519 key.
func NewEd25519Key() (*PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return newPrivate(key)
}

func newPrivate(key any) (*PrivateKey, error) {
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("another kind of key")
	}
	pub, err := newPublic(s.Public())
	return &PrivateKey{s, pub}, err
}

func newPublic(key any) (*PublicKey, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return nil, fmt.Errorf("an ECDSA key on %s", k.Params().Name)
		}
	case ed25519.PublicKey:
	default:
		return nil, errors.New("another kind of key")
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	return &PublicKey{key, der}, err
}

// Public returns the key's public half.
func (k *PrivateKey) Public() *PublicKey { return k.public }

// String is the public key's id: a private key must never get into a log.
func (k *PrivateKey) String() string { return "private key of " + k.public.ID() }

// GoString is String.
func (k *PrivateKey) GoString() string { return k.String() }

// Format prints String, whatever the verb.
func (k *PrivateKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// ID is the SHA-256 of the key's SubjectPublicKeyInfo in DER, in lower-case hex:
// openssl pkey -pubin -in KEY -outform DER | sha256sum.
func (k *PublicKey) ID() string {
	sum := sha256.Sum256(k.der)
	return hex.EncodeToString(sum[:])
}

// String is the id.
func (k *PublicKey) String() string { return k.ID() }

// PEM returns the key as a "PUBLIC KEY" block.
func (k *PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.der})
}

func (k *PrivateKey) sign(msg []byte) ([]byte, error) {
	if _, ok := k.signer.Public().(ed25519.PublicKey); ok {
		return k.signer.Sign(rand.Reader, msg, crypto.Hash(0))
	}
	sum := sha256.Sum256(msg)
	return k.signer.Sign(rand.Reader, sum[:], crypto.SHA256)
}

func (k *PublicKey) verify(msg, sig []byte) bool {
	switch key := k.key.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(key, msg, sig)
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(msg)
		return ecdsa.VerifyASN1(key, sum[:], sig)
	}
	return false
}
