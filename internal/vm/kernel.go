package vm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
)

// Kernel is a guest kernel, unpacked in the cache.
type Kernel struct {
	Dir     string            `json:"-"`
	Package string            `json:"package"` // the distribution's package and version
	Release string            `json:"release"` // as uname -r prints it
	Modules []string          `json:"modules"` // file names in Dir, in the order to load them
	Wanted  []string          `json:"wanted"`  // modules that were looked for
	Digests map[string]string `json:"digests"` // file name to SHA-256, of every file in Dir
}

func (k *Kernel) vmlinux() string { return filepath.Join(k.Dir, "vmlinux") }

// FetchKernel returns the cached kernel, or downloads the distribution's
// package and unpacks it under cache without installing it.
// say is told what is being done, for the person who waits.
func FetchKernel(ctx context.Context, cache string, say func(string)) (*Kernel, error) {
	// A damaged kernel would fail in ways that are hard to tell from a bug of
	// the program.
	if k, err := readKernel(cache); err == nil && k.intact() {
		return k, nil
	}
	pkgs, err := resolveKernel(ctx)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(cache, "kernel-*.partial")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	say("downloading the guest kernel: " + strings.Join(pkgs, " "))
	k := &Kernel{Dir: tmp, Package: pkgs[0], Wanted: wanted, Digests: map[string]string{}}
	mods := map[string][]byte{}
	for _, p := range pkgs {
		if err := k.unpack(ctx, p, mods); err != nil {
			return nil, fmt.Errorf("package %s: %w", p, err)
		}
	}
	if k.Release == "" {
		return nil, &exttool.Missing{Need: "a kernel image in " + pkgs[0], Found: "no boot/vmlinuz-*"}
	}
	if err := k.saveModules(mods); err != nil {
		return nil, err
	}
	meta, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(tmp, kernelFile), meta, 0o600); err != nil {
		return nil, err
	}
	k.Dir = kernelDir(cache)
	if err := os.RemoveAll(k.Dir); err != nil { // a damaged one
		return nil, err
	}
	return k, os.Rename(tmp, k.Dir)
}

const kernelFile = "kernel.json"

func kernelDir(cache string) string { return filepath.Join(cache, "kernel") }

// readKernel reads what the cache says of its kernel.
func readKernel(cache string) (*Kernel, error) {
	dir := kernelDir(cache)
	b, err := os.ReadFile(filepath.Join(dir, kernelFile))
	if err != nil {
		return nil, err
	}
	k := &Kernel{}
	if err := json.Unmarshal(b, k); err != nil {
		return nil, err
	}
	if !slices.Equal(k.Wanted, wanted) {
		return nil, errors.New("the cached kernel is without modules that this tapedeck needs")
	}
	k.Dir = dir
	return k, nil
}

// intact compares every file with its digest.
func (k *Kernel) intact() bool {
	for name, want := range k.Digests {
		if got, err := Digest(filepath.Join(k.Dir, name)); err != nil || got != want {
			return false
		}
	}
	return len(k.Digests) > 0
}

func (k *Kernel) save(name string, b []byte) error {
	sum := sha256.Sum256(b)
	k.Digests[name] = hex.EncodeToString(sum[:])
	return os.WriteFile(filepath.Join(k.Dir, name), b, 0o644)
}
