// Package gotest is compiled with go test -c: a test binary, as CI runs it.
package gotest

import "strings"

// Slug turns a title into the last part of an address.
func Slug(title string) string {
	return strings.Join(strings.Fields(strings.ToLower(title)), "-")
}
