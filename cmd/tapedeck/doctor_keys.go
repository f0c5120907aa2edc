package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
	"github.com/tapedeck-dev/tapedeck/internal/seal"
	"github.com/tapedeck-dev/tapedeck/internal/seal/hsm"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

// tryKeys reads the local key file. It makes none.
func tryKeys(context.Context, *ui.Term) (string, error) {
	list, err := seal.Keys{Path: seal.DefaultKeyFile()}.List()
	if err != nil {
		missing := &exttool.Missing{Need: "a key file that is this user's alone", Found: err.Error(), Err: err}
		if h, ok := err.(interface{ Hint() string }); ok {
			missing.Fix = h.Hint()
		}
		return "", missing
	}
	if len(list) == 0 {
		return "none yet; the first use makes one: " + seal.DefaultKeyFile(), nil
	}
	return fmt.Sprintf("%d keys and salts in %s", len(list), seal.DefaultKeyFile()), nil
}

// tryPKCS11 looks for the helper; which token it would reach depends on the key.
func tryPKCS11(context.Context, *ui.Term) (string, error) {
	if _, err := hsm.OpenKey(hsm.Scheme + ":"); err != nil {
		return "", err
	}
	return hsm.Program, nil
}

// tryCloud tells whether this build can reach cloud key services. It asks none.
func tryCloud(ctx context.Context, _ *ui.Term) (string, error) {
	if len(cloudSchemes()) == 0 {
		_, err := cloudKMS(ctx, "awskms, azurekeyvault, gcpkms and hashivault:")
		return "", err
	}
	return strings.Join(cloudSchemes(), ", "), nil
}
