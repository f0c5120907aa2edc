//go:build !cgo

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "tapedeck-pkcs11: need a build with cgo, found one without: CGO_ENABLED=1 go build ./cmd/tapedeck-pkcs11")
	os.Exit(14)
}
