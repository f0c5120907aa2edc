package vm

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
)

// knownQEMU is what FindQEMU has found out about a program file.
type knownQEMU struct {
	Stamp   stamp  `json:"stamp"`
	Version string `json:"version"`
	Digest  string `json:"sha256"`
	Sandbox bool   `json:"sandbox"`
	Confine bool   `json:"confine"`
}

// CachedQEMU is FindQEMU for those who call it often: what it finds is kept in
// tapedeck's cache directory. A cache that can't be written to is no fault.
func CachedQEMU(ctx context.Context, cache string) (QEMU, error) {
	path, err := exttool.Find("qemu-system-x86_64", "qemu-system-x86")
	if err != nil {
		return QEMU{}, err
	}
	now, err := stampOf(path)
	if err != nil {
		return FindQEMU(ctx)
	}
	sum := sha256.Sum256([]byte(now.Path))
	name := filepath.Join(cache, fmt.Sprintf("qemu-%x.json", sum[:8]))
	var k knownQEMU
	if readJSON(name, &k) == nil && k.Stamp.holds(now) && digestText.MatchString(k.Digest) {
		return QEMU{Path: path, Sandbox: k.Sandbox, Confine: k.Confine, Version: printable(k.Version), Digest: k.Digest}, nil
	}
	q, err := FindQEMU(ctx)
	if err == nil && q.Path == path && now.settled() {
		_ = writeJSON(name, knownQEMU{Stamp: now, Version: q.Version, Digest: q.Digest, Sandbox: q.Sandbox, Confine: q.Confine})
	}
	return q, err
}

func readJSON(name string, v any) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// writeJSON replaces a file whole: another tapedeck may be reading it.
func writeJSON(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.partial")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
