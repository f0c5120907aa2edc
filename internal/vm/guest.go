package vm

import (
	_ "embed"
)

// guestInit is guest/*.c, built by "make generate" and committed so that
// "go install" needs no C compiler.
//
//go:embed guest/init.elf
var guestInit []byte

// TrialProgram is a small static program that prints "recorded" and exits: what
// a check of the machine records.
func TrialProgram() []byte { return guestInit }
