package seal

import (
	"context"
	"strings"
)

// DefaultSalt is the salt that is made on its first use.
const DefaultSalt = localScheme + "default"

// Salt returns the secret that scrubbed tokens are made with, 32 bytes, and
// its full reference, which is what may be written down. ref is local:NAME for
// the newest version of a salt, or what Salt returned before. The one named
// default is made on its first use. The same reference always gives the same
// salt, so tokens of recordings with equal references can be compared.
func Salt(_ context.Context, ref string, opt Options) (full string, key []byte, err error) {
	r, err := parseLocal(ref)
	if err != nil {
		return "", nil, err
	}
	found, s, err := Keys{Path: opt.KeyFile}.find(KindSalt, r)
	if err != nil {
		return "", nil, err
	}
	return found.String(), s.bytes(), nil
}

// saltField is how manifests refer to a salt, in privacy.pii_hash_salt_kdf:
// the function that slow tokens are made with, then the reference.
const saltField = "argon2id:saltref:"

// SaltField returns the manifest's field for a salt's reference.
func SaltField(ref string) string { return saltField + ref }

// SaltRef returns the reference in a manifest's field, or false if the field
// is of another form.
func SaltRef(field string) (ref string, ok bool) { return strings.CutPrefix(field, saltField) }
