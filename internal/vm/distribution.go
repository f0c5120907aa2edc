package vm

import (
	"archive/tar"
	"context"
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

// metaPackages pull in a kernel that boots on QEMU's microvm, best first.
var metaPackages = []string{"linux-image-cloud-amd64", "linux-image-virtual", "linux-image-generic", "linux-image-amd64"}

var dependsLine = regexp.MustCompile(`(?m)^\s*\|?Depends: ((?:linux-image|linux-modules)-\S*[0-9]\S*)$`)

// resolveKernel follows a meta package to the packages with the files.
func resolveKernel(ctx context.Context) ([]string, error) {
	apt, err := exttool.Find("apt-cache", "apt")
	if err != nil {
		return nil, err
	}
	pkgs := resolve(func(pkg string) ([]byte, error) {
		return exttool.Output(ctx, time.Minute, apt, "depends", "--no-recommends", "--no-suggests", pkg)
	})
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case len(pkgs) == 0:
		return nil, &exttool.Missing{
			Need:  "a kernel package of the distribution (" + strings.Join(metaPackages, ", ") + ")",
			Found: "none of them in the package lists",
			Fix:   asRoot("apt-get update"),
		}
	}
	return pkgs, nil
}

// resolve walks from the first meta package that leads to packages with a
// kernel; depends prints what a package needs, as apt-cache does.
func resolve(depends func(pkg string) ([]byte, error)) []string {
	for _, meta := range metaPackages {
		var pkgs []string
		for queue := []string{meta}; len(queue) > 0; queue = queue[1:] {
			out, err := depends(queue[0])
			if err != nil {
				break
			}
			for _, m := range dependsLine.FindAllStringSubmatch(string(out), -1) {
				if !slices.Contains(pkgs, m[1]) && len(pkgs) < maxPackages {
					pkgs = append(pkgs, m[1])
					queue = append(queue, m[1])
				}
			}
		}
		if len(pkgs) > 0 {
			return pkgs
		}
	}
	return nil
}

const maxPackages = 8

// unpack downloads one package and takes the kernel and the modules out of it.
func (k *Kernel) unpack(ctx context.Context, pkg string, mods map[string][]byte) error {
	cmd := exec.CommandContext(ctx, "apt-get", "download", "-q", pkg)
	cmd.Dir = k.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return &exttool.Missing{Need: "the package " + pkg, Found: lastLine(out), Fix: asRoot("apt-get update"), Err: err}
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

// asRoot is a command as the user has to type it.
func asRoot(command string) string {
	if os.Geteuid() != 0 {
		return "sudo " + command
	}
	return command
}

func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
