package sandbox

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// open is a folder that every user may enter.
func open(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != "/" && d != "/tmp"; d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o755)
	}
	return dir
}

// TestPathsStayInside puts files at paths that lead out of the new root, as a
// bundle's variables may: by dots, and by links.
func TestPathsStayInside(t *testing.T) {
	dir, victim := open(t), open(t)
	for _, name := range []string{"dots", "made"} {
		if err := os.WriteFile(filepath.Join(victim, name), []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(victim, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	out, _ := run(t, Config{Hermetic: true, Dir: dir, Files: map[string][]byte{
		"/.tapedeck/../../../.." + victim + "/dots": []byte("theirs"),
		dir + "/link/made":                          []byte("theirs"),
		dir + "/link/new":                           []byte("theirs"),
	}}, "cat link/made", nil)
	for name, want := range map[string]string{"dots": "mine", "made": "mine", "new": ""} {
		if b, _ := os.ReadFile(filepath.Join(victim, name)); string(b) != want {
			t.Errorf("%s on the host is now %q; the program says %s", name, b, out)
		}
	}
	if !strings.Contains(out, "theirs") {
		t.Errorf("the program does not see the file: %s", out)
	}
}

// TestBindOverLink binds over a file that an absolute link names.
func TestBindOverLink(t *testing.T) {
	dir, other := open(t), open(t)
	for path, content := range map[string]string{other + "/real": "before", dir + "/over": "put over"} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(other+"/real", dir+"/name"); err != nil {
		t.Fatal(err)
	}
	for _, hermetic := range []bool{true, false} {
		out, _ := run(t, Config{Hermetic: hermetic, Dir: dir, Show: []string{other}, Binds: []Bind{{dir + "/over", dir + "/name"}}}, "cat name; cat "+other+"/real", nil)
		if strings.Count(out, "put over") != 2 {
			t.Errorf("hermetic %v: %s", hermetic, out)
		}
	}
}

// TestSignalsOfTheTerminal sends what Ctrl-C sends to every process of the
// group, pid 1 too: only the program decides what comes of it.
func TestSignalsOfTheTerminal(t *testing.T) {
	out, status := run(t, Config{Hermetic: true, Args: []string{"python3", "-c", `
import signal, socket, time
got = []
signal.signal(signal.SIGINT, lambda *_: got.append(1))
ready = socket.create_server(("127.0.0.1", 8080))
end = time.time() + 10
while not got and time.time() < end: time.sleep(.01)
time.sleep(.2); print("got", len(got)); raise SystemExit(7)`}}, "", func(b *Box) {
		<-b.Listening()
		_ = syscall.Kill(b.init, syscall.SIGINT)
		_ = syscall.Kill(b.init, syscall.SIGTERM)
		_ = syscall.Kill(b.init, syscall.SIGHUP)
		_ = syscall.Kill(b.init, syscall.SIGQUIT)
		_ = b.Signal(syscall.SIGINT)
	})
	if !strings.Contains(out, "got 1") || status.ExitStatus() != 7 {
		t.Errorf("status %#x: %s", status, out)
	}
}

// TestKilled ends the sandbox from outside: that is no success of the program.
func TestKilled(t *testing.T) {
	b, err := Start(context.Background(), Config{Hermetic: true, Args: []string{"sleep", "60"}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	if status, err := b.Wait(); err == nil && !status.Signaled() {
		t.Errorf("status %#x", status)
	}
}

// TestSleepsWithOrphans has a process that its parent left behind and that computes.
func TestSleepsWithOrphans(t *testing.T) {
	rests := make(chan bool, 1)
	run(t, Config{Hermetic: true, Args: []string{"python3", "-c", `
import os, socket, time
if os.fork() == 0:
    if os.fork() == 0:
        while os.getppid() != 1: pass
        ready = socket.create_server(("127.0.0.1", 8080))
        while True: pass
    os._exit(0)
os.wait(); time.sleep(30)`}}, "", func(b *Box) {
		<-b.Listening()
		rests <- b.Sleeps()
		b.Close()
	})
	if <-rests {
		t.Error("a process computes, and the sandbox is said to rest")
	}
}

// TestDialAddress dials a program that listens on one address of the host's own.
func TestDialAddress(t *testing.T) {
	for _, at := range []string{"10.20.30.40", "2001:db8::40"} {
		got := make(chan string, 1)
		run(t, Config{Hermetic: true, Args: []string{"python3", "-c", `
import socket,sys
l=socket.create_server((sys.argv[1],8080), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET); c,a=l.accept(); c.send(a[0].encode())`, at}}, "", func(b *Box) {
			l := <-b.Listening()
			from := "192.0.2.50:54280"
			if l.Addr().Is6() {
				from = "[2001:db8::50]:54280"
			}
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			c, err := b.Dial(ctx, netip.MustParseAddrPort(from), l.Port())
			if err != nil {
				got <- err.Error()
				b.Close()
				return
			}
			buf := make([]byte, 50)
			n, _ := c.Read(buf)
			got <- string(buf[:n])
			c.Close()
		})
		if s := <-got; !strings.HasSuffix(s, "::50") && s != "192.0.2.50" {
			t.Errorf("%s: %s", at, s)
		}
	}
}

// TestSocketBelowMount looks for a server's socket in a folder that can't be put
// under one overlay, since something is mounted in it.
func TestSocketBelowMount(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root mounts")
	}
	dir := open(t)
	if err := os.MkdirAll(dir+"/sub/disk", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir+"/sub/disk", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(dir+"/sub/disk", unix.MNT_DETACH) }()
	for _, at := range []string{"", "/sub", "/sub/disk"} {
		l, err := net.Listen("unix", dir+at+"/host.sock")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := os.WriteFile(dir+at+"/file", []byte("seen "), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, _ := run(t, Config{Hermetic: true, Dir: dir, Args: []string{"python3", "-c", `
import socket
for at in ("", "sub/", "sub/disk/"):
    print(open(at + "file").read())
    try: open(at + "file", "w").write("after")
    except OSError as e: print(e)
    open(at + "new", "w").write("new")
    try:
        socket.socket(socket.AF_UNIX).connect(at + "host.sock"); print("ESCAPED", at)
    except OSError as e: print(e)`}}, "", nil)
	if strings.Contains(out, "ESCAPED") || strings.Count(out, "seen") != 3 {
		t.Error(out)
	}
	for _, at := range []string{"", "/sub", "/sub/disk"} {
		if b, _ := os.ReadFile(dir + at + "/file"); string(b) != "seen " {
			t.Errorf("%s/file is now %q", at, b)
		}
	}
}
