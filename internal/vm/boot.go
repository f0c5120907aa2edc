package vm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const bootLimit = 2 * time.Minute

// blankSize is how large the guest takes its disk to be: it looks only at
// boot. The program's files have to fit; none of it is ever written.
const blankSize = 1 << 40

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
	if err := os.WriteFile(blank, nil, 0o600); err != nil {
		return err
	}
	defer os.Remove(blank)
	if err := os.Truncate(blank, blankSize); err != nil {
		return err
	}
	if err := createQcow2(b.Snapshot(), diskSize); err != nil {
		return err
	}
	console, serial := filepath.Join(b.Dir, "console"), filepath.Join(b.Dir, "serial")
	defer os.Remove(console)
	defer os.Remove(serial)
	args := b.Machine.args("")
	args = append(args, files(console, serial)...)
	args = append(args, disk(blank, aioThreads)...)
	args = append(args, "-drive", "file="+escape(b.Snapshot())+",format=qcow2,if=none,id=snap")
	args = append(args, "-kernel", k.vmlinux(), "-initrd", initrd, "-append", bootLine)
	p, err := b.QEMU.start(ctx, args, rights{write: []string{b.Dir}, read: []string{k.Dir}})
	if err != nil {
		return err
	}
	defer p.Kill()
	if err := b.save(ctx, p, console, serial); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p.Kill()
		text, _ := os.ReadFile(serial)
		return fmt.Errorf("%w; QEMU said: %q; the kernel said last: %q", err, p.words.String(), lastLine(text))
	}
	return b.seal()
}

// save waits for the guest and stores its state.
func (b *Base) save(ctx context.Context, p *process, console, serial string) error {
	for ready := false; !ready; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.done:
			return errors.New("QEMU ended before the guest was ready")
		case <-time.After(20 * time.Millisecond):
		}
		var err error
		if ready, err = b.readBoot(console); err != nil {
			return err
		}
		if text, _ := os.ReadFile(serial); bytes.Contains(text, []byte("Kernel panic")) {
			return errors.New("the guest's kernel panicked")
		}
	}
	time.Sleep(50 * time.Millisecond) // let init reach its wait
	if _, err := p.QMP.Do("stop", nil); err != nil {
		return err
	}
	if err := p.QMP.Human("savevm " + snapshotTag); err != nil {
		return err
	}
	return p.Quit() // which flushes the file
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

// seal notes what the snapshot is, once it is complete.
func (b *Base) seal() error {
	if err := checkQcow2(b.Snapshot()); err != nil {
		return err
	}
	fi, err := os.Stat(b.Snapshot())
	if err != nil {
		return err
	}
	b.Size = fi.Size()
	if b.Digest, err = Digest(b.Snapshot()); err != nil {
		return err
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.Dir, baseFile), text, 0o600)
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
	return name, os.WriteFile(name, buf.Bytes(), 0o600)
}
