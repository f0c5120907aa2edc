package sandbox

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

//go:embed testdata/escapes.py
var escapes string

// unprivileged runs the tests once more, as a user without any rights.
const unprivileged = "TAPEDECK_TEST_UNPRIVILEGED"

func TestMain(m *testing.M) {
	Main()
	code := m.Run()
	if code == 0 && os.Getuid() == 0 && os.Getenv(unprivileged) == "" {
		code = again()
	}
	os.Exit(code)
}

func again() int {
	dir, err := os.MkdirTemp("", "unprivileged-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		panic(err)
	}
	bin := filepath.Join(dir, "sandbox.test")
	if err := errors.Join(os.WriteFile(bin, self, 0o755), os.Chmod(bin, 0o755), os.Chmod(dir, 0o755)); err != nil {
		panic(err)
	}
	c := exec.Command(bin, "-test.v="+flag.Lookup("test.v").Value.String(), "-test.run="+flag.Lookup("test.run").Value.String())
	c.Dir = "/tmp"
	c.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", unprivileged + "=1"}
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 23456, Gid: 23456}}
	if err := c.Run(); err != nil {
		os.Stderr.WriteString("as uid 23456: " + err.Error() + "\n")
		return 1
	}
	return 0
}

// run runs a shell script in a box and returns what it printed.
func run(t *testing.T, c Config, script string, with func(*Box)) (string, syscall.WaitStatus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if c.Args == nil {
		c.Args = []string{"sh", "-c", script}
	}
	if c.Dir == "" {
		c.Dir = "/"
	}
	c.Env = append(c.Env, "PATH=/usr/bin:/bin")
	c.Stdout, c.Stderr = w, w
	b, err := Start(ctx, c)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if with != nil {
		go with(b)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	status, err := b.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return string(out), status
}

func TestRun(t *testing.T) {
	for _, hermetic := range []bool{false, true} {
		out, status := run(t, Config{Hermetic: hermetic}, "id -u; pwd; exit 3", nil)
		if want := func() string {
			if os.Getuid() == 0 {
				return "0\n/\n"
			}
			return "23456\n/\n"
		}(); out != want || status.ExitStatus() != 3 {
			t.Errorf("hermetic %v: %q, %d", hermetic, out, status.ExitStatus())
		}
	}
	_, status := run(t, Config{Hermetic: true}, "kill -TERM $$", nil)
	if !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("killed by a signal: %#x", status)
	}
}

func TestOutgoing(t *testing.T) {
	for _, addr := range []string{"198.51.100.7:81", "[2001:db8::7]:8443", "127.0.0.1:7777", "[::1]:7778"} {
		got := make(chan netip.AddrPort, 1)
		host, port, _ := net.SplitHostPort(addr)
		out, _ := run(t, Config{Hermetic: true, Args: []string{"python3", "-c", `
import socket,sys
s=socket.create_connection((sys.argv[1],int(sys.argv[2])))
print(s.getpeername()[:2], s.recv(100))`, host, port}}, "", func(b *Box) {
			c, dst, err := b.Accept()
			if err == nil {
				got <- dst
				_, _ = c.Write([]byte("hello"))
				c.Close()
			}
		})
		if dst := <-got; dst != netip.MustParseAddrPort(addr) || !strings.Contains(out, host) || !strings.Contains(out, "hello") {
			t.Errorf("dialled %s: seen %v; the program says %s", addr, dst, out)
		}
	}
}

func TestDNS(t *testing.T) {
	for _, server := range []string{"8.8.8.8", "127.0.0.53", "2001:db8::53"} {
		out, _ := run(t, Config{Hermetic: true, Args: []string{"python3", "-c", `
import socket,sys
s=socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5); s.connect((sys.argv[1],53)); s.send(b"ask"); print(s.recv(100))`, server}}, "", func(b *Box) {
			p, err := b.ReadPacket()
			if err == nil && p.Server.Addr() == netip.MustParseAddr(server) {
				if err := p.Answer(append(p.Data, " and answer"...)); err != nil {
					t.Errorf("answer from %v to %v: %v", p.Server, p.From, err)
				}
			}
		})
		if !strings.Contains(out, "ask and answer") {
			t.Errorf("%s: %s", server, out)
		}
	}
}

func TestIncoming(t *testing.T) {
	got := make(chan string, 1)
	out, _ := run(t, Config{Hermetic: true, Args: []string{"python3", "-c", `
import socket
l=socket.create_server(("0.0.0.0",8080)); c,a=l.accept(); print(a); print(c.recv(100)); c.send(b"pong")`}}, "", func(b *Box) {
		at := <-b.Listening()
		c, err := b.Dial(context.Background(), netip.MustParseAddrPort("192.0.2.50:54280"), at.Port())
		if err != nil {
			got <- err.Error()
			return
		}
		_, _ = c.Write([]byte("ping"))
		buf := make([]byte, 10)
		n, _ := c.Read(buf)
		got <- string(buf[:n])
		c.Close()
	})
	if s := <-got; s != "pong" || !strings.Contains(out, "'192.0.2.50', 54280") || !strings.Contains(out, "ping") {
		t.Errorf("%q; the program says %s", s, out)
	}
}

// TestLoopback lets the program talk to itself.
func TestLoopback(t *testing.T) {
	out, _ := run(t, Config{Hermetic: true, Args: []string{"python3", "-c", `
import socket,time
l=socket.create_server(("127.0.0.1",8080)); time.sleep(.2)
c=socket.create_connection(("127.0.0.1",8080)); s,_=l.accept(); c.send(b"self"); print(s.recv(10))`}}, "", nil)
	if !strings.Contains(out, "self") {
		t.Error(out)
	}
}

// TestReadAndSleeps has a program that lets bytes lie, and then reads them.
func TestReadAndSleeps(t *testing.T) {
	var unread, read bool
	run(t, Config{Hermetic: true, Args: []string{"python3", "-c", `
import socket
s=socket.create_connection(("198.51.100.7",81)); go=socket.create_connection(("198.51.100.7",82))
go.recv(1); s.recv(100); go.send(b"read"); go.recv(1)`}}, "", func(b *Box) {
		s, _, err := b.Accept()
		if err != nil {
			return
		}
		control, _, err := b.Accept()
		if err != nil {
			return
		}
		_, _ = s.Write([]byte("hello"))
		unread = !b.Read()
		_, _ = control.Write([]byte("1"))
		_, _ = control.Read(make([]byte, 10))
		for !b.Sleeps() { // it waits for the last byte, soon
			runtime.Gosched()
		}
		read = b.Read()
		_, _ = control.Write([]byte("2"))
	})
	if !unread || !read {
		t.Errorf("unread was seen: %v; then all was read: %v", unread, read)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	for d := dir; d != "/" && d != "/tmp"; d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o755)
	}
	if err := os.WriteFile(dir+"/here", []byte("before"), 0o666); err != nil {
		t.Fatal(err)
	}
	over := filepath.Join(t.TempDir(), "over")
	if err := os.WriteFile(over, []byte("put over"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, _ := run(t, Config{Hermetic: true, Dir: dir, Binds: []Bind{{over, "/etc/services"}}, Files: map[string][]byte{"/etc/hosts": []byte("of ours")}},
		"cat here; echo after > here; cat here; cat /etc/hosts /etc/services; ls -d /etc/shadow /root/.bashrc /.tapedeck/stage 2>/dev/null; echo x > /usr/x; echo x > /x; cat /proc/uptime", nil)
	for _, want := range []string{"before", "after", "of ours", "put over", "Read-only", "1000.00"} {
		if !strings.Contains(out, want) {
			t.Errorf("need %q in %s", want, out)
		}
	}
	for _, not := range []string{"shadow", ".bashrc", "stage"} {
		if strings.Contains(out, not) {
			t.Errorf("%q is there: %s", not, out)
		}
	}
	if b, _ := os.ReadFile(dir + "/here"); string(b) != "before" {
		t.Errorf("the program's write reached the disk: %q", b)
	}
}

// TestEscapes runs a program that tries to get out.
func TestEscapes(t *testing.T) {
	dir := t.TempDir()
	for d := dir; d != "/" && d != "/tmp"; d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o755)
	}
	sock, err := net.Listen("unix", dir+"/host.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	abstract, err := net.Listen("unix", "@tapedeck-test-escape")
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close()
	out, status := run(t, Config{Hermetic: true, Dir: dir, Args: []string{"python3", "-c", escapes, dir}}, "", func(b *Box) {
		for {
			c, _, err := b.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	})
	if status != 0 || strings.Contains(out, "ESCAPED") || strings.Count(out, "closed") < 30 {
		t.Errorf("status %#x\n%s", status, out)
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		box, err := Start(context.Background(), Config{Hermetic: true, Args: []string{"/bin/true"}, Dir: "/"})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := box.Wait(); err != nil {
			b.Fatal(err)
		}
	}
}
