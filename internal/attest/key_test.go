package attest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := newKey(t)
	file := filepath.Join(dir, "team.key")
	must(t, k.WriteNew(file))
	for name, mode := range map[string]os.FileMode{file: 0o600, file + ".pub": 0o644} {
		if st, err := os.Stat(name); err != nil || st.Mode().Perm()&^mode != 0 {
			t.Errorf("%s: %v, mode %v", name, err, st.Mode())
		}
	}
	again, err := ReadPrivate(file)
	must(t, err)
	pub, err := ReadPublic(file + ".pub")
	must(t, err)
	if again.Public().ID() != k.Public().ID() || pub.ID() != k.Public().ID() {
		t.Error("another key comes back")
	}
	if err := newKey(t).WriteNew(file); err == nil || !strings.Contains(err.Error(), "need a new file") {
		t.Errorf("overwritten: %v", err)
	}

	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(p384)
	must(t, err)
	private, err := os.ReadFile(file)
	must(t, err)
	for name, c := range map[string]struct {
		data         string
		mode         os.FileMode
		sign, verify string // what is wrong when it is read so
	}{
		"private":   {string(private), 0o600, "", "need a public key, found a private key"},
		"public":    {string(k.Public().PEM()), 0o600, "need a private key, to sign with, found a public key", ""},
		"readable":  {string(private), 0o644, "found mode 0644", "found a private key"},
		"encrypted": {string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})), 0o600, "without a passphrase", "found a private key"},
		"p384":      {string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), 0o600, "need " + kinds, "found a private key"},
		"noise":     {"hunter2", 0o600, "found no PEM block", "found no PEM block"},
		"two":       {string(private) + string(private), 0o600, "need one key", "need one key"},
		"large":     {strings.Repeat(" ", maxKeyFile+1), 0o600, "more than", "more than"},
		"empty":     {"", 0o600, "no PEM block", "no PEM block"},
		"broken":    {string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("hunter2")})), 0o600, "need " + kinds, "found a private key"},
	} {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(c.data), c.mode))
		_, signErr := ReadPrivate(path)
		_, verifyErr := ReadPublic(path)
		for want, err := range map[string]error{"sign " + c.sign: signErr, "verify " + c.verify: verifyErr} {
			_, want, _ = strings.Cut(want, " ")
			var ke *KeyError
			if want == "" {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			if !errors.As(err, &ke) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: want %q, got %v", name, want, err)
				continue
			}
			if strings.Contains(err.Error()+ke.Hint(), "hunter2") {
				t.Errorf("%s: the error holds the file's content", name)
			}
		}
	}
	if _, err := ReadPrivate(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.(*KeyError).Hint(), "bundle sign --new-key") {
		t.Errorf("%v", err)
	}
}

// TestKeyPrints: no verb prints a private key.
func TestKeyPrints(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	der, err := x509.MarshalPKCS8PrivateKey(k.signer)
	must(t, err)
	secret := der[len(der)-32:]
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		fmt.Fprintf(&out, verb, k)
		fmt.Fprintf(&out, verb, []any{k, struct{ K *PrivateKey }{k}})
	}
	for _, form := range []string{fmt.Sprintf("%x", secret), fmt.Sprintf("%d", secret)[1:40], base64.StdEncoding.EncodeToString(secret)[:20], string(secret)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("printed: %q", out.String())
		}
	}
	if !strings.Contains(out.String(), k.Public().ID()) {
		t.Error("the id isn't printed either")
	}
}

// TestKeyOfAnother: a private key that another user could exchange signs nothing.
func TestKeyOfAnother(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	file := filepath.Join(t.TempDir(), "k.pem")
	must(t, newKey(t).WriteNew(file))
	must(t, os.Chown(file, 12345, 12345))
	if _, err := ReadPrivate(file); err == nil || !strings.Contains(err.Error(), "found one of user 12345") {
		t.Errorf("%v", err)
	}
	if _, err := ReadPrivate(t.TempDir()); err == nil || !strings.Contains(err.Error(), "found a folder") {
		t.Errorf("%v", err)
	}
}
