package vm

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestModuleName(t *testing.T) {
	t.Parallel()
	const dir = "/lib/modules/6.1.0/kernel"
	for path, want := range map[string]string{
		dir + "/drivers/block/virtio_blk.ko":      "virtio_blk",
		dir + "/drivers/virtio/virtio-mmio.ko.xz": "virtio_mmio",
		dir + "/fs/overlayfs/overlay.ko.zst":      "overlay",
		dir + "/fs/overlayfs/overlay.ko.gz":       "overlay",
		"/usr" + dir + "/drivers/block/loop.ko":   "loop",
		dir + "/drivers/block/virtio_blk.ko.sig":  "",
		dir + "/drivers/block/aoe/aoe.ko":         "",
		dir + "/drivers/net/virtio_net.ko":        "",
		dir + "/drivers/block/README":             "",
		dir + "/drivers/block":                    "",
		"":                                        "",
	} {
		if got, ok := moduleName(path); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v; want %q", path, got, ok, want)
		}
	}
}

// aModule is an ELF file with nothing but a .modinfo section.
func aModule(modinfo string) []byte {
	const names = "\x00.modinfo\x00.shstrtab\x00"
	le := binary.LittleEndian
	b := make([]byte, 64)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 1)  // relocatable
	le.PutUint16(b[18:], 62) // x86-64
	le.PutUint32(b[20:], 1)
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[58:], 64) // section headers: their size, number, and which holds the names
	le.PutUint16(b[60:], 3)
	le.PutUint16(b[62:], 2)
	infoAt := len(b)
	b = append(b, modinfo...)
	namesAt := len(b)
	b = append(b, names...)
	le.PutUint64(b[40:], uint64(len(b)))
	section := func(name, kind uint32, at, size int) {
		h := make([]byte, 64)
		le.PutUint32(h, name)
		le.PutUint32(h[4:], kind)
		le.PutUint64(h[24:], uint64(at))
		le.PutUint64(h[32:], uint64(size))
		b = append(b, h...)
	}
	section(0, 0, 0, 0)
	section(1, 1, infoAt, len(modinfo))
	section(10, 3, namesAt, len(names))
	return b
}

func TestModuleDepends(t *testing.T) {
	t.Parallel()
	for info, want := range map[string][]string{
		"license=GPL\x00depends=\x00":                   nil,
		"depends=virtio,virtio_ring\x00license=GPL\x00": {"virtio", "virtio_ring"},
		"alias=depends=x\x00depends=a\x00depends=b\x00": {"a"},
		"depends=last": {"last"},
	} {
		got, err := moduleDepends(aModule(info))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, %v; want %q", info, got, err, want)
		}
	}
	if _, err := moduleDepends([]byte("\x7fELF")); err == nil {
		t.Error("half an ELF header was read")
	}
	noInfo := bytes.Replace(aModule("x"), []byte(".modinfo"), []byte(".nothing"), 1)
	if _, err := moduleDepends(noInfo); err == nil || !strings.Contains(err.Error(), "no .modinfo") {
		t.Errorf("%v", err)
	}
}

// aPackage is the tar of a kernel package with the files given.
func aPackage(t *testing.T, files map[string][]byte) *tar.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, data := range files {
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), Typeflag: tar.TypeReg}
		if data == nil {
			h.Typeflag, h.Linkname = tar.TypeSymlink, "/etc/passwd"
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return tar.NewReader(&b)
}

func TestTake(t *testing.T) {
	t.Parallel()
	const mods = "./lib/modules/6.1.0-cloud/kernel/"
	blk, mmio := aModule("depends=virtio,virtio_ring\x00"), aModule("depends=virtio_ring,gone\x00")
	k := &Kernel{Dir: t.TempDir(), Digests: map[string]string{}}
	found := map[string][]byte{}
	err := k.take(aPackage(t, map[string][]byte{
		"./boot/vmlinuz-6.1.0-cloud":               bzImage(pressed(t, anELF)["xz"], 27),
		"./boot/config-6.1.0-cloud":                []byte("CONFIG_X=y"),
		mods + "drivers/block/virtio_blk.ko":       blk,
		mods + "drivers/virtio/virtio.ko":          aModule("depends=\x00"),
		mods + "drivers/virtio/virtio-ring.ko.zst": pressed(t, aModule("depends=virtio\x00"))["zstd"],
		mods + "drivers/virtio/virtio_mmio.ko.gz":  pressed(t, mmio)["gzip"],
		mods + "drivers/block/loop.ko.xz":          pressed(t, aModule("depends=\x00"))["xz"],
		mods + "drivers/block/link.ko":             nil,
		"../../../etc/evil":                        []byte("x"),
	}), found)
	if err != nil {
		t.Fatal(err)
	}
	if k.Release != "6.1.0-cloud" {
		t.Errorf("release %q", k.Release)
	}
	if found["link"] != nil {
		t.Error("a link was taken for a module")
	}
	if err := k.saveModules(found); err != nil {
		t.Fatal(err)
	}
	// each after what it depends on; overlay is taken to be built in
	if want := []string{"virtio.ko", "virtio_ring.ko", "virtio_blk.ko", "virtio_mmio.ko"}; !reflect.DeepEqual(k.Modules, want) {
		t.Errorf("modules %q, want %q", k.Modules, want)
	}
	if !k.intact() {
		t.Error("what was saved is not intact")
	}
	names, _ := filepath.Glob(filepath.Join(k.Dir, "*"))
	if len(names) != 5 {
		t.Errorf("saved: %q", names)
	}
	if err := os.WriteFile(filepath.Join(k.Dir, "virtio.ko"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if k.intact() {
		t.Error("a damaged module was not noticed")
	}
}

func TestTakeErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file string
		data []byte
	}{
		"no kernel":        {"./boot/vmlinuz-6", []byte("x")},
		"unknown packing":  {"./lib/modules/6/kernel/fs/overlayfs/overlay.ko", []byte("what")},
		"half of a module": {"./lib/modules/6/kernel/fs/overlayfs/overlay.ko.xz", pressed(t, anELF)["xz"][:50]},
	} {
		k := &Kernel{Dir: t.TempDir(), Digests: map[string]string{}}
		if err := k.take(aPackage(t, map[string][]byte{c.file: c.data}), map[string][]byte{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Modules that depend on each other in a ring are no reason to go round.
func TestModuleRing(t *testing.T) {
	t.Parallel()
	k := &Kernel{Dir: t.TempDir(), Digests: map[string]string{}}
	err := k.saveModules(map[string][]byte{"overlay": aModule("depends=virtio_blk\x00"), "virtio_blk": aModule("depends=overlay\x00")})
	if err == nil || !strings.Contains(err.Error(), "ring") {
		t.Errorf("%v", err)
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers map[string]string
		want    []string
	}{
		"debian": {map[string]string{
			"linux-image-cloud-amd64": "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n",
			"linux-image-6.1.0-56-cloud-amd64": `linux-image-6.1.0-56-cloud-amd64
 |Depends: initramfs-tools
  Depends: <linux-initramfs-tool>
  Depends: kmod
  Breaks: initramfs-tools
`,
		}, []string{"linux-image-6.1.0-56-cloud-amd64"}},
		"ubuntu": {map[string]string{
			"linux-image-virtual":            "linux-image-virtual\n  Depends: linux-image-6.8.0-45-generic\n  Depends: linux-image-generic\n",
			"linux-image-6.8.0-45-generic":   "x\n |Depends: linux-modules-6.8.0-45-generic\n  Depends: linux-base\n",
			"linux-modules-6.8.0-45-generic": "y\n  Depends: wireless-regdb\n",
		}, []string{"linux-image-6.8.0-45-generic", "linux-modules-6.8.0-45-generic"}},
		"only the plain one": {map[string]string{"linux-image-amd64": "a\n  Depends: linux-image-6.12.1-amd64\n", "linux-image-6.12.1-amd64": ""},
			[]string{"linux-image-6.12.1-amd64"}},
		"ring": {map[string]string{"linux-image-amd64": "  Depends: linux-image-1\n", "linux-image-1": "  Depends: linux-modules-1\n",
			"linux-modules-1": "  Depends: linux-image-1\n"}, []string{"linux-image-1", "linux-modules-1"}},
		"an option of apt": {map[string]string{"linux-image-amd64": "  Depends: --purge1\n"}, nil},
		"empty lists":      {nil, nil},
	} {
		got := resolve(func(pkg string) ([]byte, error) {
			if out, ok := c.answers[pkg]; ok {
				return []byte(out), nil
			}
			return nil, errors.New("E: No packages found")
		})
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// The initrd is what the kernel unpacks: read it back as the kernel does.
func TestCpio(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	c := &cpioWriter{w: &buf}
	type entry struct {
		name       string
		mode, rdev int
		data       string
	}
	want := []entry{{"dev", 0o40755, 0, ""}, {"dev/console", 0o20600, 5<<8 | 1, ""}, {"init", 0o100755, 0, "12345"}, {"abc", 0o100644, 0, "1234"},
		{"TRAILER!!!", 0, 0, ""}}
	for _, e := range want[:len(want)-1] {
		c.add(e.name, e.mode, e.rdev, []byte(e.data))
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	b, at := buf.Bytes(), 0
	for i, e := range want {
		h := b[at:]
		if at%4 != 0 || string(h[:6]) != "070701" {
			t.Fatalf("entry %d at %d: %q", i, at, h[:6])
		}
		field := func(n int) (v int) {
			for _, c := range h[6+8*n : 14+8*n] {
				v = v<<4 | strings.IndexByte("0123456789abcdef", c)
			}
			return v
		}
		size, nameSize := field(6), field(11)
		name := string(h[110 : 110+nameSize-1])
		data := (110 + nameSize + 3) &^ 3
		if got := (entry{name, field(1), field(9)<<8 | field(10), string(h[data : data+size])}); got != e {
			t.Errorf("entry %d: %+v, want %+v", i, got, e)
		}
		if field(4) != 1 || h[110+nameSize-1] != 0 || field(0) != i+1 {
			t.Errorf("entry %d: links %d, inode %d", i, field(4), field(0))
		}
		at += data + (size+3)&^3
	}
	if at != len(b) {
		t.Errorf("%d bytes behind the end", len(b)-at)
	}
}
