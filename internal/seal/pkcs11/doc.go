// Package pkcs11 does what package hsm asks for, in a PKCS#11 token: AES-256-GCM
// with a key that never leaves it. [Do] answers one request. It needs cgo; only
// cmd/tapedeck-pkcs11 imports it.
package pkcs11
