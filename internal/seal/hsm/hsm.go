// Package hsm wraps data keys with keys that are in a PKCS#11 token. A token is
// reached through a C library, and tapedeck is a static program, so the work is
// done by a small program beside it, tapedeck-pkcs11, which is asked over its
// standard input and output. [Open] opens a key.
package hsm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
	"github.com/tapedeck-dev/tapedeck/internal/seal"
)

// Program is the name of the helper.
const Program = "tapedeck-pkcs11"

// Scheme is how its references start: pkcs11:token=TOKEN;object=LABEL.
const Scheme = "pkcs11"

// Request is what the helper reads: one JSON object.
type Request struct {
	Op   string `json:"op"` // wrap, unwrap, new, destroy
	Ref  string `json:"ref"`
	Data []byte `json:"data,omitempty"`
	AAD  []byte `json:"aad,omitempty"`
}

// Answer is what it prints: one JSON object.
type Answer struct {
	Data  []byte `json:"data,omitempty"`
	Error *Error `json:"error,omitempty"`
}

// Error is why the helper could not do what it was asked for.
type Error struct {
	Need  string `json:"need"`
	Found string `json:"found"`
	Fix   string `json:"fix,omitempty"`
	Setup bool   `json:"setup,omitempty"` // the token or its library is missing, rather than the key
}

// answerLimit is long enough for tokens on a card or across a network.
const answerLimit = 20 * time.Second

// Key is a key in a token.
type Key struct{ ref, program string }

// Open finds the helper. The token isn't asked yet.
func Open(_ context.Context, ref string) (seal.Wrapper, error) { return OpenKey(ref) }

// OpenKey is Open for what only keys in a token can do.
func OpenKey(ref string) (*Key, error) {
	program, err := find()
	if err != nil {
		return nil, err
	}
	return &Key{ref, program}, nil
}

// find looks beside the program itself first: that one is of the same build.
func find() (string, error) {
	if self, err := os.Executable(); err == nil {
		if p, err := exec.LookPath(filepath.Join(filepath.Dir(self), Program)); err == nil {
			return p, nil
		}
	}
	if p, err := exec.LookPath(Program); err == nil {
		return p, nil
	}
	return "", &exttool.Missing{Need: Program + ", which talks to PKCS#11 tokens", Found: "no such program beside tapedeck or in PATH",
		Fix: "build it where there is a C compiler: make bin/" + Program + " (CGO_ENABLED=1 go build ./cmd/" + Program + ")"}
}

// Ref is the key's reference.
func (k *Key) Ref() string { return k.ref }

func (k *Key) String() string { return k.ref }

// Wrap has the token encrypt a data key.
func (k *Key) Wrap(ctx context.Context, dataKey, aad []byte) ([]byte, error) {
	return k.ask(ctx, Request{Op: "wrap", Data: dataKey, AAD: aad})
}

// Unwrap has the token decrypt one.
func (k *Key) Unwrap(ctx context.Context, wrapped, aad []byte) ([]byte, error) {
	return k.ask(ctx, Request{Op: "unwrap", Data: wrapped, AAD: aad})
}

// New makes the key, in the token. It can't be taken out of it.
func (k *Key) New(ctx context.Context) error {
	_, err := k.ask(ctx, Request{Op: "new"})
	return err
}

// Destroy removes the key from the token for good.
func (k *Key) Destroy(ctx context.Context) error {
	_, err := k.ask(ctx, Request{Op: "destroy"})
	return err
}

func (k *Key) ask(ctx context.Context, r Request) ([]byte, error) {
	r.Ref = k.ref
	in, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, answerLimit, fmt.Errorf("no answer within %v", answerLimit))
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, k.program)
	cmd.Stdin, cmd.Stdout, cmd.WaitDelay = bytes.NewReader(in), &out, time.Second
	runErr := cmd.Run() // its code says less than its answer
	if ctx.Err() != nil {
		return nil, &seal.UnavailableError{Ref: k.ref, Found: context.Cause(ctx).Error(), Tries: 1, Err: context.Cause(ctx)}
	}
	var a Answer
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		// Never the answer itself: it may hold a key.
		return nil, &seal.UnavailableError{Ref: k.ref, Found: fmt.Sprintf("%d bytes that aren't an answer (%v)", out.Len(), runErr), Tries: 1, Err: errors.Join(runErr)}
	}
	if e := a.Error; e != nil {
		if e.Setup {
			return nil, &exttool.Missing{Need: e.Need, Found: e.Found, Fix: e.Fix}
		}
		return nil, &seal.KeyError{Ref: k.ref, Need: e.Need, Found: e.Found, Fix: e.Fix}
	}
	return a.Data, nil
}
