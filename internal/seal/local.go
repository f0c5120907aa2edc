package seal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
)

// localKey is a key of the key file. Wrapped keys are a nonce of 12 bytes and
// what AES-256-GCM makes of the data key.
type localKey struct {
	ref localRef
	key secret
}

func openLocal(ref string, opt Options) (Wrapper, error) {
	r, err := parseLocal(ref)
	if err != nil {
		return nil, err
	}
	keys := Keys{Path: opt.KeyFile}
	full, key, err := keys.find(KindKey, r)
	if err != nil {
		return nil, err
	}
	return &localKey{full, key}, nil
}

func (k *localKey) Ref() string    { return k.ref.String() }
func (k *localKey) String() string { return k.Ref() }

func (k *localKey) Wrap(_ context.Context, dataKey, aad []byte) ([]byte, error) {
	gcm, err := k.gcm()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, gcm.NonceSize(), gcm.NonceSize()+len(dataKey)+gcm.Overhead())
	rand.Read(nonce)
	return gcm.Seal(nonce, nonce, dataKey, aad), nil
}

func (k *localKey) Unwrap(_ context.Context, wrapped, aad []byte) ([]byte, error) {
	gcm, err := k.gcm()
	if err != nil {
		return nil, err
	}
	if len(wrapped) < gcm.NonceSize() {
		return nil, k.refused(fmt.Sprintf("%d bytes", len(wrapped)), nil)
	}
	data, err := gcm.Open(nil, wrapped[:gcm.NonceSize()], wrapped[gcm.NonceSize():], aad)
	if err != nil {
		return nil, k.refused("one that is damaged, or of another key, bundle or tenant", err)
	}
	return data, nil
}

func (k *localKey) refused(found string, err error) error {
	return &KeyError{Ref: k.Ref(), Need: "a data key that it wrapped for this bundle", Found: found, Err: err}
}

func (k *localKey) gcm() (cipher.AEAD, error) {
	if k.key.zero() {
		return nil, errors.New("no key")
	}
	block, err := aes.NewCipher(k.key.bytes())
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
