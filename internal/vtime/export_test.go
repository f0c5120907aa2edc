package vtime

// Stub is for the test that assembles it.
func Stub() []byte { return stub() }
