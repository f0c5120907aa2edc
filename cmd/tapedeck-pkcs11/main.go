//go:build cgo

// Command tapedeck-pkcs11 wraps and unwraps data keys with a key in a PKCS#11
// token. tapedeck runs it; it reads a request from standard input and answers
// on standard output, as package internal/seal/hsm says.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/seal/hsm"
	"github.com/tapedeck-dev/tapedeck/internal/seal/pkcs11"
)

func main() {
	var r hsm.Request
	if err := json.NewDecoder(io.LimitReader(os.Stdin, 1<<20)).Decode(&r); err != nil {
		fmt.Fprintln(os.Stderr, "tapedeck-pkcs11: need a request of tapedeck on standard input; this program is not for the command line")
		os.Exit(4)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer(r)); err != nil {
		os.Exit(1)
	}
}

func answer(r hsm.Request) hsm.Answer {
	c := pkcs11.Config{Module: os.Getenv("TAPEDECK_PKCS11_MODULE"), PIN: os.Getenv("TAPEDECK_PKCS11_PIN")}
	if file := os.Getenv("TAPEDECK_PKCS11_PIN_FILE"); c.PIN == "" && file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return hsm.Answer{Error: &hsm.Error{Need: "the file of the PIN", Found: err.Error()}}
		}
		c.PIN = strings.TrimRight(string(text), "\r\n")
	}
	return pkcs11.Do(c, r)
}
