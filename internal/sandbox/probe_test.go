package sandbox

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// within runs one test of this package again after a script, in namespaces in
// which the script may do what it likes. The script's $@ is the test.
func within(t *testing.T, flags []string, script string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("unshare", append(flags, "sh", "-ec", script+"\nexec \"$@\"", "sh", self, "-test.run=^"+t.Name()+"$", "-test.v")...)
	c.Env = append(os.Environ(), inner+"="+t.Name(), unprivileged+"=1")
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("within other namespaces: %v\n%s", err, out)
	}
}

const inner = "TAPEDECK_TEST_WITHIN"

func probed(t *testing.T, name string) Finding {
	t.Helper()
	for _, f := range Probe(context.Background()) {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("nothing found out about %s", name)
	return Finding{}
}

func TestProbe(t *testing.T) {
	for _, name := range []string{"record", "replay"} {
		if f := probed(t, name); !f.Works || strings.Contains(f.Found, "weaker") {
			t.Errorf("%+v", f)
		}
	}
}

func TestProbeWithoutNamespaces(t *testing.T) {
	if os.Getenv(inner) != t.Name() {
		within(t, []string{"-Ur"}, "echo 0 > /proc/sys/user/max_user_namespaces")
		return
	}
	if f := probed(t, "replay"); f.Works || !strings.Contains(f.Need, "namespaces") || !strings.Contains(f.Fix, "max_user_namespaces") {
		t.Errorf("%+v", f)
	}
}

// TestProbeWithHiddenProc is as in a container, which hides parts of its /proc.
func TestProbeWithHiddenProc(t *testing.T) {
	if os.Getenv(inner) != t.Name() {
		within(t, []string{"-Urmpf", "--mount-proc"}, "mount -t tmpfs none /proc/fs")
		return
	}
	f := probed(t, "replay")
	if f.Works || !strings.Contains(f.Need, "proc") || !strings.Contains(f.Fix, "systempaths=unconfined") || !strings.Contains(f.Found, "a weaker sandbox works: the processes outside") {
		t.Errorf("%+v", f)
	}
	if f := probed(t, "record"); !f.Works {
		t.Errorf("%+v", f)
	}
	out, status := run(t, Config{Hermetic: true, Weak: true}, "cat /etc/shadow; id -u; echo still", nil)
	if status != 0 || strings.Contains(out, "root:") || !strings.Contains(out, "still") {
		t.Errorf("%#x %s", status, out)
	}
}

// TestPrivateFiles has keys below /etc that only their owner may read.
func TestPrivateFiles(t *testing.T) {
	if os.Getenv(inner) != t.Name() {
		within(t, []string{"-Urm"}, `mount -t tmpfs none /etc/ssl
mkdir -m 755 /etc/ssl/deep /etc/ssl/open; mkdir -m 710 /etc/ssl/deep/private
echo MINE > /etc/ssl/deep/private/key; echo MINE > /etc/ssl/open/key; chmod 640 /etc/ssl/open/key
echo everyone > /etc/ssl/open/cert; chmod 644 /etc/ssl/open/cert`)
		return
	}
	out, _ := run(t, Config{Hermetic: true}, "cat /etc/ssl/open/* /etc/ssl/deep/private/key", nil)
	if strings.Contains(out, "MINE") || !strings.Contains(out, "everyone") {
		t.Error(out)
	}
	out, _ = run(t, Config{Hermetic: true, Show: []string{"/etc/ssl/open/key"}}, "cat /etc/ssl/open/key", nil)
	if !strings.Contains(out, "MINE") {
		t.Errorf("shown, but not to be seen: %s", out)
	}
}

// TestNamespaceLimit tries, with all the rights there, to make a namespace below
// the sandbox's.
func TestNamespaceLimit(t *testing.T) {
	ready := make(chan string, 1)
	run(t, Config{Hermetic: true}, "sleep 30", func(b *Box) {
		out, _ := exec.Command("nsenter", "--preserve-credentials", "-U", "-t", strconv.Itoa(b.init), "unshare", "-U", "true").CombinedOutput()
		ready <- string(out)
		b.Close()
	})
	if out := <-ready; !strings.Contains(out, "No space left") {
		t.Errorf("a namespace within the sandbox's: %q", out)
	}
}
