package vm

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// wanted are the modules that the guest needs where they are not built in. The
// last two are for the sandbox of a replay of inputs in the guest.
var wanted = []string{"virtio_blk", "virtio_mmio", "overlay", "nft_chain_nat", "nft_redir"}

// moduleName is the name of a module that may be needed: one of the drivers
// or file systems in which the wanted ones and what they depend on stand.
func moduleName(name string) (string, bool) {
	base, ext, ok := strings.Cut(path.Base(name), ".ko")
	if !ok || ext != "" && ext != ".xz" && ext != ".zst" && ext != ".gz" {
		return "", false
	}
	dir := path.Dir(name)
	for _, d := range []string{"/drivers/virtio", "/drivers/block", "/fs/overlayfs", "/kernel/lib",
		"/net/netfilter", "/net/ipv4/netfilter", "/net/ipv6/netfilter"} {
		if strings.HasSuffix(dir, d) {
			return strings.ReplaceAll(base, "-", "_"), true
		}
	}
	return "", false
}

// saveModules keeps the wanted modules and what they depend on, in load order.
// One that the package lacks is taken to be built into the kernel; the guest
// says so at boot if it is not.
func (k *Kernel) saveModules(mods map[string][]byte) error {
	begun := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		b := mods[name]
		if b == nil || slices.Contains(k.Modules, name+".ko") {
			return nil
		}
		if begun[name] {
			return fmt.Errorf("module %s: its dependencies are a ring", name)
		}
		begun[name] = true
		deps, err := moduleDepends(b)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		for _, d := range deps {
			if err := add(d); err != nil {
				return err
			}
		}
		k.Modules = append(k.Modules, name+".ko")
		return k.save(name+".ko", b)
	}
	for _, w := range wanted {
		if err := add(w); err != nil {
			return err
		}
	}
	return nil
}

// moduleDepends reads the "depends=" line of a module's .modinfo section.
func moduleDepends(b []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, errors.New("no .modinfo section")
	}
	info, err := s.Data()
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(info), "\x00") {
		if list, ok := strings.CutPrefix(line, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
