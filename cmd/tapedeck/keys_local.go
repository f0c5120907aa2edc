//go:build !cloudkms

package main

import (
	"context"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
	"github.com/tapedeck-dev/tapedeck/internal/seal"
)

// cloudSchemes are the services that this build can reach.
func cloudSchemes() []string { return nil }

// cloudKMS says how to get a build that has it.
func cloudKMS(_ context.Context, ref string) (seal.Wrapper, error) {
	scheme, _, _ := strings.Cut(ref, ":")
	return nil, &exttool.Missing{Need: "a tapedeck with cloud key services, for " + scheme, Found: "one built without them",
		Fix: "CGO_ENABLED=0 go build -tags cloudkms ./cmd/tapedeck"}
}
