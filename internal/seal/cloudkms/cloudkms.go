// Package cloudkms wraps data keys with keys of AWS KMS, Google Cloud KMS,
// Azure Key Vault and HashiCorp Vault (transit). [Open] opens one. Credentials
// come from where each service's own tools look for them.
//
// The drivers add 29 MB to the binary, so cmd/tapedeck links
// this package with the build tag cloudkms only.
package cloudkms

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	vault "github.com/hashicorp/vault/api"
	"gocloud.dev/gcerrors"
	"gocloud.dev/secrets"
	_ "gocloud.dev/secrets/awskms"
	_ "gocloud.dev/secrets/azurekeyvault"
	_ "gocloud.dev/secrets/gcpkms"
	_ "gocloud.dev/secrets/hashivault"

	"github.com/tapedeck-dev/tapedeck/internal/seal"
)

// Schemes are the references that Open takes, as gocloud.dev/secrets has them:
//
//	awskms://ARN-or-alias?region=REGION
//	gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K
//	azurekeyvault://VAULT.vault.azure.net/keys/NAME
//	hashivault://NAME           (VAULT_ADDR, VAULT_TOKEN)
func Schemes() []string { return []string{"awskms", "azurekeyvault", "gcpkms", "hashivault"} }

// tries and limits of one operation: at most some 16 s when nobody answers.
const (
	maxTries = 3
	tryLimit = 5 * time.Second
	firstGap = 250 * time.Millisecond // doubled each time
)

// Open returns a key. Nothing is asked of the service before the key is used.
func Open(ctx context.Context, ref string) (seal.Wrapper, error) {
	k, err := secrets.OpenKeeper(ctx, ref)
	if err != nil {
		return nil, &seal.KeyError{Ref: ref, Need: "the reference of a key and credentials for it", Found: oneLine(err), Fix: "docs/keys.md shows what each service needs", Err: err}
	}
	return &key{ref: ref, encrypt: k.Encrypt, decrypt: k.Decrypt, limit: tryLimit, gap: firstGap}, nil
}

// key is a key of a service. The interface that the services have in common
// takes no additional data, so it wraps the digest of it too.
type key struct {
	ref              string
	encrypt, decrypt func(context.Context, []byte) ([]byte, error)
	limit, gap       time.Duration
}

func (k *key) Ref() string    { return k.ref }
func (k *key) String() string { return k.ref }

func (k *key) Wrap(ctx context.Context, dataKey, aad []byte) ([]byte, error) {
	return k.ask(ctx, k.encrypt, seal.Bind(dataKey, aad))
}

func (k *key) Unwrap(ctx context.Context, wrapped, aad []byte) ([]byte, error) {
	b, err := k.ask(ctx, k.decrypt, wrapped)
	if err != nil {
		return nil, err
	}
	dataKey, err := seal.Unbind(b, aad)
	if err != nil {
		return nil, &seal.KeyError{Ref: k.ref, Need: "a data key that it wrapped for this bundle", Found: err.Error(), Err: err}
	}
	return dataKey, nil
}

// ask tries an operation again where that can help.
func (k *key) ask(ctx context.Context, do func(context.Context, []byte) ([]byte, error), data []byte) ([]byte, error) {
	gap := k.gap
	for try := 1; ; try++ {
		out, err := k.once(ctx, do, data)
		switch {
		case err == nil:
			return out, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !passing(err):
			return nil, &seal.KeyError{Ref: k.ref, Need: "a key service that lets this user use the key", Found: oneLine(err), Fix: "check the reference, and what the service allows these credentials", Err: err}
		case try == maxTries:
			return nil, &seal.UnavailableError{Ref: k.ref, Found: oneLine(err), Tries: try, Err: err}
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(gap):
			gap *= 2
		}
	}
}

func (k *key) once(ctx context.Context, do func(context.Context, []byte) ([]byte, error), data []byte) (out []byte, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, k.limit, fmt.Errorf("no answer within %v", k.limit))
	defer cancel()
	// The driver for Vault panics on an answer without the field it looks for,
	// as any proxy in between can give.
	defer func() {
		if recover() != nil {
			out, err = nil, errors.New("an answer of another form")
		}
	}()
	out, err = do(ctx, data)
	if err != nil && ctx.Err() != nil {
		return nil, errors.Join(context.Cause(ctx), err)
	}
	return out, err
}

// passing tells whether an error may go away by itself.
func passing(err error) bool {
	var answer *vault.ResponseError // its driver tells no codes apart
	if errors.As(err, &answer) {
		return answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests
	}
	switch gcerrors.Code(err) {
	case gcerrors.InvalidArgument, gcerrors.NotFound, gcerrors.PermissionDenied, gcerrors.FailedPrecondition, gcerrors.Unimplemented, gcerrors.AlreadyExists:
		return false
	}
	return true
}

// oneLine shortens what SDKs write over many lines.
func oneLine(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}
