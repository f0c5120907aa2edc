package vm

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
)

// Kernel is a guest kernel, unpacked in the cache.
type Kernel struct {
	Dir     string            `json:"-"`
	Package string            `json:"package"` // the distribution's package and version
	Release string            `json:"release"` // as uname -r prints it
	Modules []string          `json:"modules"` // file names in Dir, in the order to load them
	Digests map[string]string `json:"digests"` // file name to SHA-256, of every file in Dir
}

func (k *Kernel) vmlinux() string { return filepath.Join(k.Dir, "vmlinux") }

// wanted are the modules that the guest needs where they are not built in.
var wanted = []string{"virtio_blk", "virtio_mmio", "overlay"}

// metaPackages pull in a kernel that boots on QEMU's microvm, best first.
var metaPackages = []string{"linux-image-cloud-amd64", "linux-image-virtual", "linux-image-generic", "linux-image-amd64"}

// FetchKernel returns the cached kernel, or downloads the distribution's
// package and unpacks it under cache without installing it.
// say is told what is being done, for the person who waits.
func FetchKernel(ctx context.Context, cache string, say func(string)) (*Kernel, error) {
	if k, err := cachedKernel(cache); err == nil {
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
	k := &Kernel{Dir: tmp, Package: pkgs[0], Digests: map[string]string{}}
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
	if err := os.WriteFile(filepath.Join(tmp, "kernel.json"), meta, 0o644); err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, "kernel")
	k.Dir = dir
	return k, os.Rename(tmp, dir)
}

// cachedKernel reads the cache and checks every digest: a damaged kernel
// would fail in ways that are hard to tell from a bug of the program.
func cachedKernel(cache string) (*Kernel, error) {
	dir := filepath.Join(cache, "kernel")
	b, err := os.ReadFile(filepath.Join(dir, "kernel.json"))
	if err != nil {
		return nil, err
	}
	k := &Kernel{Dir: dir}
	if err := json.Unmarshal(b, k); err != nil {
		return nil, err
	}
	for name, want := range k.Digests {
		got, err := fileDigest(filepath.Join(dir, name))
		if err != nil || got != want {
			os.RemoveAll(dir)
			return nil, fmt.Errorf("cached kernel: %s is damaged", name)
		}
	}
	return k, nil
}

// fileDigest is the SHA-256 of a file, in hex.
func fileDigest(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

var dependsLine = regexp.MustCompile(`(?m)^\s*\|?Depends: ((?:linux-image|linux-modules)-\S*[0-9]\S*)$`)

// resolveKernel follows the meta package to the packages with the files.
func resolveKernel(ctx context.Context) ([]string, error) {
	apt, err := exttool.Find("apt-cache", "apt")
	if err != nil {
		return nil, err
	}
	for _, meta := range metaPackages {
		var pkgs []string
		for queue := []string{meta}; len(queue) > 0; queue = queue[1:] {
			out, err := exttool.Output(ctx, time.Minute, apt, "depends", "--no-recommends", "--no-suggests", queue[0])
			if err != nil {
				break
			}
			for _, m := range dependsLine.FindAllStringSubmatch(string(out), -1) {
				if !slices.Contains(pkgs, m[1]) {
					pkgs = append(pkgs, m[1])
					queue = append(queue, m[1])
				}
			}
		}
		if len(pkgs) > 0 {
			return pkgs, nil
		}
	}
	return nil, &exttool.Missing{
		Need:  "a kernel package of the distribution (" + strings.Join(metaPackages, ", ") + ")",
		Found: "none of them in the package lists",
		Fix:   "apt-get update",
	}
}

// unpack downloads one package and takes the kernel and the modules out of it.
func (k *Kernel) unpack(ctx context.Context, pkg string, mods map[string][]byte) error {
	cmd := exec.CommandContext(ctx, "apt-get", "download", "-q", pkg)
	cmd.Dir = k.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return &exttool.Missing{Need: "the package " + pkg, Found: lastLine(out), Fix: "apt-get update", Err: err}
	}
	debs, err := filepath.Glob(filepath.Join(k.Dir, pkg+"_*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("apt-get download left %d files", len(debs))
	}
	defer os.Remove(debs[0])
	if k.Package == pkg {
		k.Package = strings.TrimSuffix(filepath.Base(debs[0]), ".deb")
	}
	dpkg := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", debs[0])
	pipe, err := dpkg.StdoutPipe()
	if err != nil {
		return err
	}
	if err := dpkg.Start(); err != nil {
		return &exttool.Missing{Need: "dpkg-deb", Found: err.Error(), Err: err}
	}
	err = k.take(tar.NewReader(pipe), mods)
	io.Copy(io.Discard, pipe)
	if werr := dpkg.Wait(); err == nil {
		err = werr
	}
	return err
}

func (k *Kernel) take(t *tar.Reader, mods map[string][]byte) error {
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean("/" + h.Name)
		mod, isMod := moduleName(name)
		release, isKernel := strings.CutPrefix(name, "/boot/vmlinuz-")
		if !isMod && !isKernel || h.Typeflag != tar.TypeReg {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(t, maxKernel))
		if err != nil {
			return err
		}
		if isKernel {
			if b, err = extractKernel(b); err != nil {
				return err
			}
			k.Release = release
			if err := k.save("vmlinux", b); err != nil {
				return err
			}
			continue
		}
		r, err := decompress(b)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if mods[mod], err = io.ReadAll(io.LimitReader(r, maxKernel)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

// moduleName is the name of a module that may be needed: one of the drivers
// or file systems in which the wanted ones and what they depend on stand.
func moduleName(name string) (string, bool) {
	base, ext, ok := strings.Cut(path.Base(name), ".ko")
	if !ok || ext != "" && ext != ".xz" && ext != ".zst" && ext != ".gz" {
		return "", false
	}
	dir := path.Dir(name)
	for _, d := range []string{"/drivers/virtio", "/drivers/block", "/fs/overlayfs"} {
		if strings.HasSuffix(dir, d) {
			return strings.ReplaceAll(base, "-", "_"), true
		}
	}
	return "", false
}

func (k *Kernel) save(name string, b []byte) error {
	sum := sha256.Sum256(b)
	k.Digests[name] = hex.EncodeToString(sum[:])
	return os.WriteFile(filepath.Join(k.Dir, name), b, 0o644)
}

// saveModules keeps the wanted modules and what they depend on, in load order.
// One that the package lacks is taken to be built into the kernel; the guest
// says so at boot if it is not.
func (k *Kernel) saveModules(mods map[string][]byte) error {
	var add func(name string) error
	add = func(name string) error {
		b := mods[name]
		if b == nil || slices.Contains(k.Modules, name+".ko") {
			return nil
		}
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

func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
