package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
)

// recipient wraps data keys for a person: an age or ssh public key. The
// wrapped key is an age file, binary.
type recipient struct {
	ref        string
	to         age.Recipient
	identities []age.Identity
}

func isRecipient(ref string) bool {
	return strings.HasPrefix(ref, "age1") || strings.HasPrefix(ref, "ssh-")
}

func openRecipient(ref string, ids []age.Identity) (Wrapper, error) {
	ref = strings.TrimSpace(ref)
	bad := &KeyError{Ref: shown(ref), Need: "an age recipient (age1…) or an ssh public key of type ed25519 or rsa",
		Found: "a key that can't be read", Fix: "age-keygen -y FILE prints the recipient of an identity"}
	if strings.HasPrefix(ref, "ssh-") {
		// The comment is often a name and a machine; a bundle need not tell them.
		if f := strings.Fields(ref); len(f) > 2 {
			ref = f[0] + " " + f[1]
		}
		to, err := agessh.ParseRecipient(ref)
		if err != nil {
			bad.Err = err
			return nil, bad
		}
		return &recipient{ref, to, ids}, nil
	}
	list, err := age.ParseRecipients(strings.NewReader(ref))
	if err != nil || len(list) != 1 {
		bad.Err = err
		return nil, bad
	}
	return &recipient{ref, list[0], ids}, nil
}

func (r *recipient) Ref() string    { return r.ref }
func (r *recipient) String() string { return r.ref }

func (r *recipient) Wrap(_ context.Context, dataKey, aad []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := age.Encrypt(&b, r.to)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(Bind(dataKey, aad)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// maxWrapped is more than any wrapped data key takes, in bytes.
const maxWrapped = 64 << 10

func (r *recipient) Unwrap(_ context.Context, wrapped, aad []byte) ([]byte, error) {
	if len(r.identities) == 0 {
		return nil, &KeyError{Ref: r.ref, Need: "the identity of the recipient", Found: "none", Fix: "--identity FILE names the file that has it"}
	}
	src, err := age.Decrypt(bytes.NewReader(wrapped), r.identities...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, &KeyError{Ref: r.ref, Need: "the identity of the recipient", Found: fmt.Sprintf("%d of others", len(r.identities)), Fix: "--identity FILE names the file that has it"}
	}
	var data []byte
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(src, 1<<10))
	}
	if err == nil {
		data, err = Unbind(data, aad)
	}
	if err != nil {
		return nil, &KeyError{Ref: r.ref, Need: "a data key that was wrapped for this bundle", Found: "one that is damaged, or of another bundle or tenant", Err: err}
	}
	return data, nil
}

// Identities reads a file of age identities, or an unencrypted ssh private key.
func Identities(file string) ([]age.Identity, error) {
	bad := &FileError{Path: file, Need: "age identities (AGE-SECRET-KEY-1…) or an ssh private key without a passphrase", Found: "neither"}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, err
	}
	if bytes.Contains(text, []byte("-----BEGIN")) {
		id, err := agessh.ParseIdentity(text)
		if err != nil {
			bad.Found = "a private key that can't be used"
			return nil, bad // without the cause: it may cite the file
		}
		return []age.Identity{id}, nil
	}
	ids, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		return nil, bad
	}
	return ids, nil
}
