//go:build cloudkms

package main

import (
	"context"

	"github.com/tapedeck-dev/tapedeck/internal/seal"
	"github.com/tapedeck-dev/tapedeck/internal/seal/cloudkms"
)

func cloudSchemes() []string { return cloudkms.Schemes() }

// cloudKMS opens keys of cloud services.
func cloudKMS(ctx context.Context, ref string) (seal.Wrapper, error) { return cloudkms.Open(ctx, ref) }
