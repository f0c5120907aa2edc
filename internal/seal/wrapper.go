package seal

import (
	"context"
	"maps"
	"slices"
	"strings"

	"filippo.io/age"
)

// Wrapper is a key that wraps data keys. aad is what the data key is bound to:
// Unwrap fails with another.
type Wrapper interface {
	Ref() string // as it is to stand in a manifest
	Wrap(ctx context.Context, dataKey, aad []byte) ([]byte, error)
	Unwrap(ctx context.Context, wrapped, aad []byte) ([]byte, error)
}

// Options say where keys are.
type Options struct {
	// KeyFile is the path of the local key file.
	KeyFile string
	// Providers open the references of other schemes than local and age, such
	// as "awskms".
	Providers map[string]func(ctx context.Context, ref string) (Wrapper, error)
	// Identities unwrap what was wrapped for age recipients.
	Identities []age.Identity
	// Tenant is whose bundles are sealed. "" is the name of the first local
	// key, or else "default".
	Tenant string
}

// DefaultKey is the key that is made on its first use.
const DefaultKey = localScheme + "default"

// OpenKey finds the key that a reference names:
//
//	local:NAME                       a key of the local key file
//	age1…, ssh-ed25519 …, ssh-rsa …  an age recipient: wraps; unwraps with an identity
//	SCHEME:…                         whatever Options.Providers has for SCHEME
func OpenKey(ctx context.Context, ref string, opt Options) (Wrapper, error) {
	switch s := scheme(ref); s {
	case "local":
		return openLocal(ref, opt)
	case "age":
		return openRecipient(ref, opt.Identities)
	default:
		open := opt.Providers[s]
		if open == nil {
			// Only the scheme is shown: who pasted a secret key here must not
			// find it in a log.
			known := append([]string{"local", "age1…", "ssh-…"}, slices.Sorted(maps.Keys(opt.Providers))...)
			return nil, &KeyError{Ref: shown(s) + ":…", Need: "one of " + strings.Join(known, ", "), Found: "another kind of reference",
				Fix: "tapedeck key --help shows what references look like"}
		}
		return open(ctx, ref)
	}
}
