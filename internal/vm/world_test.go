package vm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// oddNames are names of files that mislead programs which quote them badly.
var oddNames = []string{"with space", "new\nline", "quote\"'`", "back\\slash", "non-\xff\xfe-utf8", "-rf", "$(id)", "ünïcode", "comma,comma",
	strings.Repeat("n", 255), "...", "tab\there"}

// fill makes files below dir: a name that ends in / is a folder, "a -> b" a link.
func fill(t *testing.T, dir string, list ...string) {
	t.Helper()
	for _, e := range list {
		name, target, isLink := strings.Cut(e, " -> ")
		path := dir + "/" + name
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch {
		case err != nil:
		case isLink:
			err = os.Symlink(target, path)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		default:
			err = os.WriteFile(path, []byte("content of "+name), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// build makes a world of paths and takes it apart again; it returns the folder
// that is the guest's root, and the image.
func build(t *testing.T, p Program, rootfs string, paths ...string) (root string, w *World) {
	t.Helper()
	w, err := BuildWorld(t.Context(), t.TempDir(), p, paths, rootfs, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("/sbin/e2fsck", "-fn", w.Image).CombinedOutput(); err != nil {
		t.Fatalf("e2fsck: %v\n%s", err, out)
	}
	dir := filepath.Join(t.TempDir(), "files")
	if err := ExtractWorld(t.Context(), w.Image, dir); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "root"), w
}

func realTemp(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func same(t *testing.T, root, path string) {
	t.Helper()
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(root + path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q: %d bytes, want %d; %v", path, len(got), len(want), err)
	}
}

func TestWorldOddNames(t *testing.T) {
	t.Parallel()
	dir := realTemp(t)
	var paths []string
	for _, n := range oddNames {
		fill(t, dir, n, "in "+n[:min(len(n), 200)]+"/file")
		paths = append(paths, dir+"/"+n, dir+"/in "+n[:min(len(n), 200)]+"/file")
	}
	root, w := build(t, Program{Path: paths[0], Dir: dir}, "", paths...)
	for _, p := range paths {
		same(t, root, p)
		if !w.Has(p) {
			t.Errorf("%q is said not to be there", p)
		}
	}
	if w.Files != len(paths) {
		t.Errorf("%d files of %d", w.Files, len(paths))
	}
}

func TestWorldLinks(t *testing.T) {
	t.Parallel()
	dir := realTemp(t)
	fill(t, dir, "real/deep/file", "real/lib", "abs -> "+dir+"/real", "chain1 -> chain2", "chain2 -> abs/deep", "real/deep/up -> ../lib",
		"loop1 -> loop2", "loop2 -> loop1", "self -> self", "dangling -> nowhere/at/all", "far/away/", "link -> far/away", "far/file", "file",
		"long -> "+strings.Repeat("./", 60)+"file", "empty/")
	paths := []string{dir + "/chain1/file", dir + "/chain1/up", dir + "/loop1", dir + "/self/x", dir + "/dangling", dir + "/link/../file",
		dir + "/long", dir + "/gone", dir + "/file/below", dir + "//real/./lib", dir + "/empty"}
	root, w := build(t, Program{Dir: dir}, "", paths...)
	for _, p := range []string{"/real/deep/file", "/real/lib", "/far/file"} {
		same(t, root, dir+p)
	}
	for _, l := range []string{"abs", "chain1", "chain2", "real/deep/up", "loop1", "loop2", "self", "dangling", "link", "long"} {
		want, _ := os.Readlink(dir + "/" + l)
		if got, err := os.Readlink(root + dir + "/" + l); err != nil || got != want {
			t.Errorf("%s -> %q, %v; want %q", l, got, err, want)
		}
	}
	same(t, root, dir+"/file") // what long points at
	if w.Has(dir + "/gone") {
		t.Error("what is not there was packed")
	}
	if fi, err := os.Stat(root + dir + "/empty"); err != nil || !fi.IsDir() {
		t.Errorf("the empty folder: %v", err)
	}
}

func TestWorldKinds(t *testing.T) {
	t.Parallel()
	dir := realTemp(t)
	fill(t, dir, "script", "suid", "private", "original", "folder/", "sticky/")
	for name, mode := range map[string]fs.FileMode{"script": 0o751, "suid": 0o755 | fs.ModeSetuid, "private": 0o600, "sticky": 0o777 | fs.ModeSticky} {
		if err := os.Chmod(dir+"/"+name, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(dir+"/original", dir+"/hard"); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", dir+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	big, err := os.Create(dir + "/big")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := big.WriteAt([]byte("the end"), 40<<20); err != nil { // more than one extent's worth of holes
		t.Fatal(err)
	}
	if _, err := big.WriteAt(bytes.Repeat([]byte("0123456789abcdef"), 1<<16), 4096*3+1); err != nil {
		t.Fatal(err)
	}
	big.Close()
	var paths []string
	for _, n := range []string{"script", "suid", "private", "original", "hard", "socket", "fifo", "big", "folder", "sticky"} {
		paths = append(paths, dir+"/"+n)
	}
	stdin := filepath.Join(t.TempDir(), "stdin")
	if err := os.WriteFile(stdin, bytes.Repeat([]byte("in\n"), 3<<20), 0o600); err != nil { // as large as all the rest's reserve
		t.Fatal(err)
	}
	p := Program{Path: dir + "/script", Args: []string{"script", "a b", ""}, Env: []string{"A=1", "B=\n"}, Dir: dir, Stdin: stdin}
	root, w := build(t, p, "", append(paths, "/dev/null", "/proc/self/status")...)
	for _, n := range []string{"script", "private", "original", "hard", "big"} {
		same(t, root, dir+"/"+n)
	}
	for _, n := range []string{"socket", "fifo"} {
		if _, err := os.Lstat(root + dir + "/" + n); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", n, err)
		}
	}
	// debugfs tells of what the image says, not of what extracting made of it.
	for path, want := range map[string]string{"script": "0751", "suid": "0755", "private": "0600", "sticky": "01777", "folder": "0755"} {
		out, err := exec.Command("/sbin/debugfs", "-R", `stat "/root`+dir+"/"+path+`"`, w.Image).Output()
		if err != nil || !strings.Contains(string(out), "Mode:  "+want+" ") {
			t.Errorf("%s: want mode %s: %v %s", path, want, err, out)
		}
	}
	for file, want := range map[string]string{"argv": "script\x00a b\x00\x00", "env": "A=1\x00B=\n\x00", "cwd": dir, "path": dir + "/script"} {
		out, err := exec.Command("/sbin/debugfs", "-R", "cat /job/"+file, w.Image).Output()
		if err != nil || string(out) != want {
			t.Errorf("%s: %q, %v; want %q", file, out, err, want)
		}
	}
}

func TestWorldRootfs(t *testing.T) {
	t.Parallel()
	rootfs, cwd := realTemp(t), realTemp(t)
	fill(t, rootfs, "app/hello", "bin -> usr/bin", "usr/bin/sh", "etc/conf", "home/")
	if err := os.Chmod(rootfs+"/home", 0o1777); err != nil {
		t.Fatal(err)
	}
	root, w := build(t, Program{Path: "/app/hello", Dir: cwd}, rootfs)
	if b, err := os.ReadFile(root + "/bin/sh"); string(b) != "content of usr/bin/sh" {
		t.Errorf("%q, %v", b, err)
	}
	if fi, err := os.Stat(root + cwd); err != nil || !fi.IsDir() {
		t.Errorf("the working folder: %v", err)
	}
	if !w.Has("/app/hello") || w.Files != 3 {
		t.Errorf("%+v", w)
	}
}

// A link in an unpacked image leads nowhere on this machine.
func TestWorldRootfsHostile(t *testing.T) {
	t.Parallel()
	rootfs, host := realTemp(t), realTemp(t)
	fill(t, host, "victim/", "work/file")
	top := strings.Split(host, "/")[1] // the image's /tmp, say, is the host's victim
	fill(t, rootfs, top+" -> "+host+"/victim", "app")
	_, err := BuildWorld(t.Context(), t.TempDir(), Program{Path: "/app", Dir: host + "/work"}, []string{host + "/work/file"}, rootfs, nil)
	if err == nil {
		t.Error("no error")
	}
	filepath.WalkDir(host+"/victim", func(path string, _ fs.DirEntry, _ error) error {
		if path != host+"/victim" {
			t.Errorf("made on the host: %s", path)
		}
		return nil
	})
}

func TestWorldErrors(t *testing.T) {
	t.Parallel()
	if _, err := BuildWorld(t.Context(), t.TempDir(), Program{Dir: "/", Stdin: "/nowhere"}, nil, "", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no standard input: %v", err)
	}
	if _, err := BuildWorld(t.Context(), t.TempDir(), Program{Dir: "/"}, nil, "/nowhere", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no image: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if _, err := BuildWorld(ctx, dir, Program{Dir: "/"}, nil, "", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if left, _ := filepath.Glob(dir + "/*"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// forge changes a small image: names of its root folder's entries "aaaa",
// "bbbb" and "cccc" become what a hostile one has.
func forge(t *testing.T, change func(image []byte)) string {
	t.Helper()
	dir := realTemp(t)
	stage := filepath.Join(dir, "stage")
	fill(t, stage, "root/aaaaaaaa -> "+dir+"/victim", "root/bbbbbbbb", "root/cccccccc/file")
	image := filepath.Join(dir, "image")
	out, err := exec.Command("/sbin/mkfs.ext4", "-q", "-b", "4096", "-O", "^has_journal,^metadata_csum", "-d", stage, image, "2M").CombinedOutput()
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	change(b)
	if err := os.WriteFile(image, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return image
}

func TestExtractHostile(t *testing.T) {
	t.Parallel()
	rename := func(old, new string) func([]byte) {
		return func(b []byte) { copy(b[bytes.Index(b, []byte(old)):], new) }
	}
	super := func(at int, v uint32) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint32(b[1024+at:], v) }
	}
	entry := func(b []byte, name string) []byte { return b[bytes.Index(b, []byte(name))-8:] }
	for name, c := range map[string]struct {
		change func(b []byte)
		want   string
	}{
		"as it is":       {func([]byte) {}, ""},
		"slash":          {rename("bbbbbbbb", "../../bb"), `a file named "../../bb"`},
		"absolute":       {rename("bbbbbbbb", "/tmp/bbb"), "a file named"},
		"NUL":            {rename("bbbbbbbb", "bb\x00bbbbb"), "a file named"},
		"over a link":    {rename("bbbbbbbb", "aaaaaaaa"), "file exists"},
		"below a link":   {rename("cccccccc", "aaaaaaaa"), "file exists"},
		"twice":          {rename("bbbbbbbb", "cccccccc"), "file exists"},
		"no superblock":  {super(56, 0), "no superblock"},
		"features":       {super(96, 0xffff), "features"},
		"block size":     {super(24, 40), "can't be"},
		"no groups":      {super(40, 0), "can't be"},
		"inode size":     {super(88, 0), "can't be"},
		"inodes":         {super(0, 0xffffffff), "more inodes"},
		"inode beyond":   {func(b []byte) { binary.LittleEndian.PutUint32(entry(b, "bbbbbbbb"), 1<<30) }, "does not exist"},
		"reserved inode": {func(b []byte) { binary.LittleEndian.PutUint32(entry(b, "bbbbbbbb"), 8) }, "does not exist"},
		"the root in it": {func(b []byte) { binary.LittleEndian.PutUint32(entry(b, "cccccccc"), ext4Root) }, "ext4 image"},
		"entry of 0":     {func(b []byte) { binary.LittleEndian.PutUint16(entry(b, "bbbbbbbb")[4:], 0) }, "damaged folder"},
		"entry beyond":   {func(b []byte) { binary.LittleEndian.PutUint16(entry(b, "bbbbbbbb")[4:], 0xfff0) }, "damaged folder"},
		"name beyond":    {func(b []byte) { entry(b, "bbbbbbbb")[6] = 255 }, "damaged folder"},
		"no root":        {func(b []byte) { i := bytes.Index(b, []byte("\x04\x02root")); copy(b[i+2:], "loot") }, "no folder /root"},
		"groups beyond":  {func(b []byte) { binary.LittleEndian.PutUint32(b[4096+8:], 0xfffffff) }, "beyond the end"},
		"cut":            {func(b []byte) { clear(b[:2048]) }, "no superblock"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image := forge(t, c.change)
			fill(t, filepath.Dir(image), "victim")
			dir := filepath.Join(filepath.Dir(image), "out", "files")
			err := ExtractWorld(t.Context(), image, dir)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			}
			if b, _ := os.ReadFile(filepath.Dir(image) + "/victim"); string(b) != "content of victim" {
				t.Errorf("the victim was overwritten: %q", b)
			}
			filepath.WalkDir(filepath.Dir(dir), func(path string, _ fs.DirEntry, _ error) error {
				if path != filepath.Dir(dir) && path != dir && !strings.HasPrefix(path, dir+"/") {
					t.Errorf("outside: %s", path)
				}
				return nil
			})
		})
	}
}

// FuzzExtract: whatever the image, only the target folder is written to, and
// not more than the image holds.
func FuzzExtract(f *testing.F) {
	f.Add(0, []byte{0})
	f.Add(1024+24, []byte{7})
	f.Add(4096*12, []byte("xxxxxxxxxxxx"))
	var image []byte
	f.Fuzz(func(t *testing.T, at int, patch []byte) {
		if image == nil {
			b, err := os.ReadFile(forge(t, func([]byte) {}))
			if err != nil {
				t.Fatal(err)
			}
			image = b
		}
		if at < 0 || at >= len(image) {
			return
		}
		b := bytes.Clone(image)
		copy(b[at:], patch)
		dir := t.TempDir()
		name := filepath.Join(dir, "image")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		ExtractWorld(t.Context(), name, dir+"/a/b")
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("took %v", d)
		}
		var blocks int64
		filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if path != dir && path != name && path != dir+"/a" && !strings.HasPrefix(path, dir+"/a/b") {
				t.Errorf("outside: %s", path)
			}
			if fi, err := d.Info(); err == nil && path != name {
				if st, ok := fi.Sys().(*syscall.Stat_t); ok && fi.Mode().IsRegular() {
					blocks += st.Blocks * 512
				}
			}
			return nil
		})
		if blocks > int64(2*len(b)) {
			t.Errorf("%d bytes out of an image of %d", blocks, len(b))
		}
	})
}
