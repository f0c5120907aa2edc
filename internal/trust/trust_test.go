package trust

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCertificate(t *testing.T) {
	ca, err := New()
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.PEM())
	for _, name := range []string{"api.example.test", "203.0.113.10", "2001:db8::1", strings.Repeat("long.", 20) + "test"} {
		for _, at := range []int64{0, 1_000_000_000, 4_000_000_000} { // a replay is at its own time
			cert, err := ca.Certificate(name)
			if err != nil {
				t.Fatal(err)
			}
			a, b := net.Pipe()
			go tls.Server(a, &tls.Config{Certificates: []tls.Certificate{*cert}}).Handshake()
			c := tls.Client(b, &tls.Config{RootCAs: pool, ServerName: name, Time: func() time.Time { return time.Unix(at, 0) }})
			if err := c.Handshake(); err != nil {
				t.Errorf("%s at %d: %v", name, at, err)
			}
			b.Close()
		}
	}
}

func TestPrepare(t *testing.T) {
	ca, err := New()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bundle := filepath.Join(dir, "theirs.pem")
	if err := os.WriteFile(bundle, []byte("# a store without an end of line"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Prepare(ca, filepath.Join(dir, "trust"), []string{"REQUESTS_CA_BUNDLE=" + bundle, "SSL_CERT_FILE=/not/there"})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, b := range r.Binds {
		seen[b.Target] = b.Source
	}
	text, err := os.ReadFile(seen[bundle])
	if err != nil || !strings.Contains(string(text), string(ca.PEM())) || !strings.HasPrefix(string(text), "# a store") {
		t.Errorf("REQUESTS_CA_BUNDLE: %v\n%s", err, text)
	}
	if len(r.Env) != 1 || !strings.HasPrefix(r.Env[0], "NODE_EXTRA_CA_CERTS=") {
		t.Errorf("variables %q", r.Env)
	}
	java := seen["/etc/ssl/certs/java/cacerts"]
	if java == "" {
		t.Fatal("no keystore of Java (make test installs a JDK)")
	}
	out, err := exec.Command("keytool", "-list", "-keystore", java, "-storepass", "changeit").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "authority-0,") {
		t.Errorf("keytool: %v\n%s", err, out)
	}
}
