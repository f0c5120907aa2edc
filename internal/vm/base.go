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
	"time"
)

// Base is a snapshot of a guest that has just booted. It is made once for each
// kernel, QEMU build and shape of the machine, and every recording starts from it.
type Base struct {
	Dir     string            `json:"-"`
	Machine Machine           `json:"machine"`
	QEMU    QEMU              `json:"qemu"`
	Kernel  string            `json:"kernel"`  // release
	Package string            `json:"package"` // where the kernel came from
	Symbols map[string]uint64 `json:"symbols"` // addresses of the kernel symbols that a debugger needs
	Offsets map[string]int    `json:"offsets"` // of members of the kernel's types, as STRUCT.MEMBER
	Digest  string            `json:"sha256"`  // of the snapshot's file
	Size    int64             `json:"size"`
}

// Snapshot is the path of the snapshot's file.
func (b *Base) Snapshot() string { return filepath.Join(b.Dir, snapshotFile) }

const (
	snapshotFile = "base.qcow2"
	snapshotTag  = "ready" // its name inside the file
	baseFile     = "base.json"
	checkedFile  = "checked.json"
)

// EnsureBase returns the cached snapshot for the shape m, or boots the kernel
// and takes it. cache is tapedeck's cache directory; say is told what takes long.
func EnsureBase(ctx context.Context, cache string, m Machine, say func(string)) (*Base, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	qemu, err := CachedQEMU(ctx, cache)
	if err != nil {
		return nil, err
	}
	// What is complete can be used without the lock, even if the cache is read-only.
	if b, err := cachedBase(cache, qemu, m); err == nil {
		return b, nil
	}
	unlock, err := lock(ctx, cache, say)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if b, err := cachedBase(cache, qemu, m); err == nil {
		return b, nil // another tapedeck has just made it
	}
	kernel, err := FetchKernel(ctx, cache, say)
	if err != nil {
		return nil, fmt.Errorf("guest kernel: %w", err)
	}
	say(fmt.Sprintf("booting the guest once for its snapshot (Linux %s, %d MiB)", kernel.Release, m.Memory))
	b, err := makeBase(ctx, cache, qemu, kernel, m)
	if err != nil {
		return nil, err
	}
	if err := prune(cache, time.Now().Add(-keepUnused)); err != nil {
		say("warning: old snapshots are still in the cache: " + err.Error())
	}
	return b, nil
}

// makeBase boots the guest. The cache must be locked.
func makeBase(ctx context.Context, cache string, q QEMU, k *Kernel, m Machine) (*Base, error) {
	tmp, err := os.MkdirTemp(cache, "base-*.partial")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	b := &Base{Dir: tmp, Machine: m, QEMU: q, Kernel: k.Release, Package: k.Package}
	if b.Offsets, err = memberOffsets(k.vmlinux()); err != nil {
		return nil, fmt.Errorf("guest kernel: %w", err)
	}
	if err := b.boot(ctx, k); err != nil {
		return nil, fmt.Errorf("boot the guest: %w", err)
	}
	b.Dir = baseDir(cache, b.Digest)
	if err := os.Rename(tmp, b.Dir); err != nil {
		return nil, err
	}
	link := baseLink(cache, q, k, m)
	os.Remove(link)
	return b, os.Symlink(filepath.Base(b.Dir), link)
}

// Bundles name a snapshot by its digest, a recorder by what it was made from.
func baseDir(cache, digest string) string { return filepath.Join(cache, "base-"+digest) }

func baseLink(cache string, q QEMU, k *Kernel, m Machine) string {
	return filepath.Join(cache, "made-from-"+baseKey(q, k, m))
}

// baseKey names everything that the snapshot depends on.
func baseKey(q QEMU, k *Kernel, m Machine) string {
	init := sha256.Sum256(guestInit)
	b, _ := json.Marshal([]any{q.Digest, k.Digests, m, init, bootLine, m.args(""), members, optional})
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// cachedBase returns the snapshot that was made for this kernel, QEMU and
// shape, if it is not damaged: a recording that starts from a damaged snapshot
// could never be replayed elsewhere, and nobody would know.
func cachedBase(cache string, q QEMU, m Machine) (*Base, error) {
	k, err := readKernel(cache)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.EvalSymlinks(baseLink(cache, q, k, m))
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, baseFile))
	if err != nil {
		return nil, err
	}
	b := &Base{}
	if err := json.Unmarshal(text, b); err != nil {
		return nil, err
	}
	b.Dir, b.QEMU = dir, q
	b.touch() // first: it could be removed else, see prune
	if err := b.checkSnapshot(); err != nil {
		return nil, err
	}
	return b, nil
}

// checkSnapshot compares the snapshot's file with its digest, unless that was
// done within the hour and the file is the same by its stamp.
func (b *Base) checkSnapshot() error {
	now, err := stampOf(b.Snapshot())
	if err != nil {
		return err
	}
	var checked checkedSnapshot
	name := filepath.Join(b.Dir, checkedFile)
	if readJSON(name, &checked) == nil && checked.Digest == b.Digest && checked.Stamp.holds(now) {
		return nil
	}
	got, err := Digest(b.Snapshot())
	if err != nil {
		return err
	}
	if got != b.Digest {
		return errors.New("the cached snapshot is damaged")
	}
	if now.settled() {
		_ = writeJSON(name, checkedSnapshot{now, b.Digest}) // else it is read again next time
	}
	return nil
}

// checkedSnapshot says when a snapshot had its digest.
type checkedSnapshot struct {
	Stamp  stamp  `json:"stamp"`
	Digest string `json:"sha256"`
}
