//go:build cgo

package pkcs11

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/exttool"
	"github.com/tapedeck-dev/tapedeck/internal/seal"
	"github.com/tapedeck-dev/tapedeck/internal/seal/hsm"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// softHSM makes a token in software and puts the helper in PATH. What is
// missing is a failure: scripts/setup.sh installs it.
func softHSM(t testing.TB) Config {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "tokens"), 0o700))
	conf := filepath.Join(dir, "softhsm2.conf")
	must(t, os.WriteFile(conf, []byte("directories.tokendir = "+dir+"/tokens\nlog.level = ERROR\n"), 0o600))
	t.Setenv("SOFTHSM2_CONF", conf)
	out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", "tapedeck test", "--pin", "4321", "--so-pin", "8765").CombinedOutput()
	if err != nil {
		t.Fatalf("softhsm2-util (make test installs it): %v\n%s", err, out)
	}
	module := ""
	for _, p := range usual {
		if _, err := os.Stat(p); err == nil && strings.Contains(p, "softhsm") && module == "" {
			module = p
		}
	}
	if module == "" {
		t.Fatal("softhsm2 is there and its library isn't")
	}
	return Config{Module: module, PIN: "4321"}
}

const ref = "pkcs11:token=tapedeck%20test;object=payments"

func ask(t testing.TB, c Config, r hsm.Request) []byte {
	t.Helper()
	a := Do(c, r)
	if a.Error != nil {
		t.Fatalf("%s: %+v", r.Op, a.Error)
	}
	return a.Data
}

func refused(t *testing.T, c Config, r hsm.Request, found string) {
	t.Helper()
	a := Do(c, r)
	if a.Error == nil || !strings.Contains(a.Error.Found, found) {
		t.Errorf("%s %s: %+v, want %q", r.Op, r.Ref, a.Error, found)
	}
}

func TestToken(t *testing.T) {
	c := softHSM(t)
	dataKey := bytes.Repeat([]byte{9}, 32)
	refused(t, c, hsm.Request{Op: "wrap", Ref: ref, Data: dataKey}, "none")
	ask(t, c, hsm.Request{Op: "new", Ref: ref})
	refused(t, c, hsm.Request{Op: "new", Ref: ref}, "which one has")
	wrapped := ask(t, c, hsm.Request{Op: "wrap", Ref: ref, Data: dataKey, AAD: []byte("aad")})
	if bytes.Contains(wrapped, dataKey[:8]) || len(wrapped) != 12+32+16 {
		t.Errorf("%x", wrapped)
	}
	if got := ask(t, c, hsm.Request{Op: "unwrap", Ref: ref, Data: wrapped, AAD: []byte("aad")}); !bytes.Equal(got, dataKey) {
		t.Errorf("%x", got)
	}
	refused(t, c, hsm.Request{Op: "unwrap", Ref: ref, Data: wrapped, AAD: []byte("other")}, "another key, bundle or tenant")
	refused(t, c, hsm.Request{Op: "unwrap", Ref: ref, Data: wrapped[:20], AAD: []byte("aad")}, "damaged")
	refused(t, c, hsm.Request{Op: "unwrap", Ref: ref, Data: nil}, "damaged")
	refused(t, c, hsm.Request{Op: "sign", Ref: ref}, "sign")
	refused(t, Config{Module: c.Module, PIN: "9999"}, hsm.Request{Op: "wrap", Ref: ref}, "a wrong one")
	refused(t, Config{Module: c.Module}, hsm.Request{Op: "wrap", Ref: ref}, "none")
	refused(t, c, hsm.Request{Op: "wrap", Ref: "pkcs11:token=nobody;object=x"}, `"tapedeck test"`)
	refused(t, Config{Module: "/nonexistent.so", PIN: "4321"}, hsm.Request{Op: "wrap", Ref: ref}, "/nonexistent.so")

	ask(t, c, hsm.Request{Op: "destroy", Ref: ref})
	refused(t, c, hsm.Request{Op: "unwrap", Ref: ref, Data: wrapped, AAD: []byte("aad")}, "what it wrapped is lost")
	ask(t, c, hsm.Request{Op: "new", Ref: ref})
	refused(t, c, hsm.Request{Op: "unwrap", Ref: ref, Data: wrapped, AAD: []byte("aad")}, "another key")
}

// TestHelper seals a bundle through the program, as tapedeck does, destroys
// the key in the token, and can't open it any more.
func TestHelper(t *testing.T) {
	c := softHSM(t)
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, hsm.Program), "../../../cmd/tapedeck-pkcs11").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("PATH", dir)
	t.Setenv("TAPEDECK_PKCS11_MODULE", c.Module)
	pin := filepath.Join(dir, "pin")
	must(t, os.WriteFile(pin, []byte("4321\n"), 0o600))
	t.Setenv("TAPEDECK_PKCS11_PIN_FILE", pin)

	ctx := context.Background()
	k, err := hsm.OpenKey(ref)
	must(t, err)
	must(t, k.New(ctx))
	opt := seal.Options{KeyFile: filepath.Join(dir, "k", "keys.json"), Providers: map[string]func(context.Context, string) (seal.Wrapper, error){hsm.Scheme: hsm.Open}}
	s, err := seal.NewSealer(ctx, []string{ref}, opt)
	must(t, err)
	path := filepath.Join(dir, "b.tar.zst")
	w, err := bundle.WriterOptions{Sealer: s}.Create(path)
	must(t, err)
	defer w.Abort()
	must(t, w.Add("a", strings.NewReader("recorded"), bundle.FileInfo{Class: bundle.Restricted}))
	must(t, w.Commit(&bundle.Manifest{CreatedAt: time.Unix(1e9, 0)}))
	read := func() (string, error) {
		r, err := bundle.OpenOptions{Opener: seal.NewOpener(ctx, []string{ref}, opt)}.Open(path)
		must(t, err)
		defer r.Close()
		b, err := r.ReadFile("a", 100)
		return string(b), err
	}
	if got, err := read(); err != nil || got != "recorded" {
		t.Errorf("%q, %v", got, err)
	}
	must(t, k.Destroy(ctx))
	var locked *bundle.LockedError
	if _, err := read(); !errors.As(err, &locked) {
		t.Errorf("%v", err)
	}

	var missing *exttool.Missing
	t.Setenv("TAPEDECK_PKCS11_MODULE", "/nonexistent.so")
	if err := k.New(ctx); !errors.As(err, &missing) {
		t.Errorf("%v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := hsm.OpenKey(ref); !errors.As(err, &missing) || !strings.Contains(missing.Hint(), "tapedeck-pkcs11") {
		t.Errorf("%v", err)
	}
}

func TestURI(t *testing.T) {
	for _, bad := range []string{"", "pkcs11:", "local:a", "pkcs11:token=a", "pkcs11:object=a", "pkcs11:token=a;object=", "pkcs11:token=a;object=b;token=c",
		"pkcs11:token=a;object=b;id=%01", "pkcs11:token=a;object=b?module-path=/tmp/evil.so", "pkcs11:token=%zz;object=b"} {
		if u, err := parseURI(bad); err == nil {
			t.Errorf("%q: %+v", bad, u)
		}
	}
	if u, err := parseURI(ref); err != nil || u.token != "tapedeck test" || u.object != "payments" {
		t.Errorf("%+v, %v", u, err)
	}
}

func BenchmarkWrap(b *testing.B) {
	c := softHSM(b)
	ask(b, c, hsm.Request{Op: "new", Ref: ref})
	for b.Loop() {
		wrapped := ask(b, c, hsm.Request{Op: "wrap", Ref: ref, Data: make([]byte, 32)})
		ask(b, c, hsm.Request{Op: "unwrap", Ref: ref, Data: wrapped})
	}
}
