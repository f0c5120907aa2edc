package vm

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
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

// QEMU is one build of the emulator. A recording replays for certain only on
// the build that made it.
type QEMU struct {
	Path    string `json:"-"`
	Version string `json:"version"`
	Digest  string `json:"sha256"` // of the program file
}

// Snapshot is the path of the snapshot's file.
func (b *Base) Snapshot() string { return filepath.Join(b.Dir, snapshotFile) }

const (
	snapshotFile = "base.qcow2"
	snapshotTag  = "ready" // its name inside the file
	bootLimit    = 2 * time.Minute
)

// FindQEMU returns the QEMU to use.
func FindQEMU(ctx context.Context) (QEMU, error) {
	path, err := exttool.Find("qemu-system-x86_64", "qemu-system-x86")
	if err != nil {
		return QEMU{}, err
	}
	digest, err := fileDigest(path)
	if err != nil {
		return QEMU{}, err
	}
	out, err := exttool.Output(ctx, 10*time.Second, path, "--version")
	if err != nil {
		return QEMU{}, &exttool.Missing{Need: "a working qemu-system-x86_64", Found: err.Error(), Fix: "reinstall qemu-system-x86", Err: err}
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return QEMU{Path: path, Version: strings.TrimPrefix(line, "QEMU emulator version "), Digest: digest}, nil
}

// EnsureBase returns the cached snapshot for the shape m, or boots the kernel
// and takes it. cache is tapedeck's cache directory.
func EnsureBase(ctx context.Context, cache string, m Machine, say func(string)) (*Base, error) {
	qemu, err := FindQEMU(ctx)
	if err != nil {
		return nil, err
	}
	unlock, err := lock(cache)
	if err != nil {
		return nil, err
	}
	defer unlock()
	kernel, err := FetchKernel(ctx, cache, say)
	if err != nil {
		return nil, fmt.Errorf("guest kernel: %w", err)
	}
	// Bundles name a snapshot by its digest, a recorder by what it was made from.
	link := filepath.Join(cache, "made-from-"+baseKey(qemu, kernel, m))
	if b, err := loadBase(link, qemu); err == nil {
		return b, nil
	}
	say(fmt.Sprintf("booting the guest once for its snapshot (Linux %s, %d MiB)", kernel.Release, m.Memory))
	tmp, err := os.MkdirTemp(cache, "base-*.partial")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	b := &Base{Dir: tmp, Machine: m, QEMU: qemu, Kernel: kernel.Release, Package: kernel.Package}
	if b.Offsets, err = memberOffsets(kernel.vmlinux()); err != nil {
		return nil, fmt.Errorf("guest kernel: %w", err)
	}
	if err := b.boot(ctx, kernel); err != nil {
		return nil, fmt.Errorf("boot the guest: %w", err)
	}
	b.Dir = baseDir(cache, b.Digest)
	if err := os.Rename(tmp, b.Dir); err != nil {
		return nil, err
	}
	os.Remove(link)
	return b, os.Symlink(filepath.Base(b.Dir), link)
}

func baseDir(cache, digest string) string { return filepath.Join(cache, "base-"+digest) }

// lock keeps other tapedecks from filling the cache at the same time.
func lock(cache string) (unlock func(), err error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the cache: %w", err)
	}
	return func() { f.Close() }, nil
}

// baseKey names everything that the snapshot depends on.
func baseKey(q QEMU, k *Kernel, m Machine) string {
	init := sha256.Sum256(guestInit)
	b, _ := json.Marshal([]any{q.Digest, k.Digests, m, init, bootLine, m.args("")})
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

func loadBase(link string, q QEMU) (*Base, error) {
	dir, err := filepath.EvalSymlinks(link)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "base.json"))
	if err != nil {
		return nil, err
	}
	b := &Base{Dir: dir}
	if err := json.Unmarshal(text, b); err != nil {
		return nil, err
	}
	b.QEMU.Path = q.Path
	fi, err := os.Stat(b.Snapshot())
	if err != nil {
		return nil, err
	}
	if fi.Size() != b.Size {
		return nil, errors.New("the cached snapshot is damaged")
	}
	return b, nil
}

// boot starts the kernel, waits until init says that it is ready, and saves
// the machine's state.
func (b *Base) boot(ctx context.Context, k *Kernel) error {
	ctx, cancel := context.WithTimeoutCause(ctx, bootLimit, fmt.Errorf("the guest did not boot within %v", bootLimit))
	defer cancel()
	initrd, err := b.writeInitrd(k)
	if err != nil {
		return err
	}
	defer os.Remove(initrd)
	blank := filepath.Join(b.Dir, "blank")
	if err := os.WriteFile(blank, make([]byte, 1<<20), 0o644); err != nil {
		return err
	}
	defer os.Remove(blank)
	if err := createQcow2(b.Snapshot()); err != nil {
		return err
	}
	console, serial, sock := filepath.Join(b.Dir, "console"), filepath.Join(b.Dir, "serial"), filepath.Join(b.Dir, "qmp")
	defer os.Remove(sock)
	defer os.Remove(console)
	defer os.Remove(serial)
	args := b.Machine.args("")
	args = append(args, b.Machine.files(console, serial, sock)...)
	args = append(args, disk(blank)...)
	args = append(args, snapshot(b.Snapshot())...)
	args = append(args, "-kernel", k.vmlinux(), "-initrd", initrd, "-append", bootLine)
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, b.QEMU.Path, args...)
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	err = b.save(ctx, sock, console, serial)
	if err != nil {
		cmd.Process.Kill()
	}
	if werr := cmd.Wait(); err == nil {
		err = werr
	}
	if err != nil {
		text, _ := os.ReadFile(serial)
		return fmt.Errorf("%w; QEMU said: %q; the kernel said last: %q", err, lastLine(stderr.Bytes()), lastLine(text))
	}
	return b.seal()
}

// save waits for the guest and stores its state.
func (b *Base) save(ctx context.Context, sock, console, serial string) error {
	qmp, err := dialQMP(ctx, sock)
	if err != nil {
		return err
	}
	defer qmp.Close()
	for ready := false; !ready; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
		if ready, err = b.readBoot(console); err != nil {
			return err
		}
		if text, _ := os.ReadFile(serial); bytes.Contains(text, []byte("Kernel panic")) {
			return errors.New("the guest's kernel panicked")
		}
	}
	time.Sleep(50 * time.Millisecond) // let init reach its wait
	if _, err := qmp.Do("stop", nil); err != nil {
		return err
	}
	if err := qmp.Human("savevm " + snapshotTag); err != nil {
		return err
	}
	qmp.Do("quit", nil) // which flushes the file; QEMU may be gone before it has answered
	return nil
}

// readBoot looks at what init has told so far.
func (b *Base) readBoot(console string) (ready bool, err error) {
	text, err := os.ReadFile(console)
	if err != nil {
		return false, err
	}
	r := bufio.NewReader(bytes.NewReader(text))
	for {
		f, err := ReadFrame(r)
		if err != nil {
			return ready, nil // the rest is yet to come
		}
		switch f.Kind {
		case FrameError:
			return false, errors.New(string(f.Data))
		case FrameSymbols:
			b.Symbols = map[string]uint64{}
			for line := range strings.Lines(string(f.Data)) {
				var name string
				var addr uint64
				if _, err := fmt.Sscanf(line, "%s %x", &name, &addr); err == nil {
					b.Symbols[name] = addr
				}
			}
		case FrameReady:
			ready = true
		}
	}
}

func (b *Base) seal() error {
	fi, err := os.Stat(b.Snapshot())
	if err != nil {
		return err
	}
	b.Size = fi.Size()
	if b.Digest, err = fileDigest(b.Snapshot()); err != nil {
		return err
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.Dir, "base.json"), text, 0o644)
}

func (b *Base) writeInitrd(k *Kernel) (string, error) {
	name := filepath.Join(b.Dir, "initrd")
	var buf bytes.Buffer
	c := &cpioWriter{w: &buf}
	c.add("dev", 0o40755, 0, nil)
	c.add("dev/console", 0o20600, 5<<8|1, nil)
	c.add("init", 0o100755, 0, guestInit)
	c.add("mod", 0o40755, 0, nil)
	c.add("mod/order", 0o100644, 0, []byte(strings.Join(k.Modules, "\n")+"\n"))
	for _, m := range k.Modules {
		text, err := os.ReadFile(filepath.Join(k.Dir, m))
		if err != nil {
			return "", err
		}
		c.add("mod/"+m, 0o100644, 0, text)
	}
	if err := c.close(); err != nil {
		return "", err
	}
	return name, os.WriteFile(name, buf.Bytes(), 0o644)
}
