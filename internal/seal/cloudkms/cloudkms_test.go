package cloudkms

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gocloud.dev/gcerrors"
	_ "gocloud.dev/secrets/localsecrets"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/seal"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fakeVault is a fake of the HTTP interface that Vault's transit engine has:
// no Vault runs here. It encrypts with AES-GCM and can be told to fail.
type fakeVault struct {
	aead   cipher.AEAD
	status atomic.Int64 // answers with this, if not 0
	empty  atomic.Bool  // answers without what was asked for
	down   atomic.Int64 // answers 503 as often
	calls  atomic.Int64
}

func (v *fakeVault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.calls.Add(1)
	fail := func(code int, text string) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{text}})
	}
	switch {
	case v.status.Load() != 0:
		fail(int(v.status.Load()), "permission denied")
		return
	case v.down.Add(-1) >= 0:
		fail(http.StatusServiceUnavailable, "Vault is sealed")
		return
	case r.Header.Get("X-Vault-Token") != "the-token":
		fail(http.StatusForbidden, "permission denied")
		return
	}
	if v.empty.Load() {
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{}})
		return
	}
	var in struct{ Plaintext, Ciphertext string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		fail(http.StatusBadRequest, err.Error())
		return
	}
	data := map[string]string{}
	key := []byte(path.Base(r.URL.Path))
	switch path.Dir(r.URL.Path) {
	case "/v1/transit/encrypt":
		plain, _ := base64.StdEncoding.DecodeString(in.Plaintext)
		nonce := make([]byte, 12)
		rand.Read(nonce)
		data["ciphertext"] = "vault:v1:" + base64.StdEncoding.EncodeToString(v.aead.Seal(nonce, nonce, plain, key))
	case "/v1/transit/decrypt":
		b, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(in.Ciphertext, "vault:v1:"))
		if len(b) < 12 {
			fail(http.StatusBadRequest, "invalid ciphertext")
			return
		}
		plain, err := v.aead.Open(nil, b[:12], b[12:], key)
		if err != nil {
			fail(http.StatusBadRequest, "cipher: message authentication failed")
			return
		}
		data["plaintext"] = base64.StdEncoding.EncodeToString(plain)
	default:
		fail(http.StatusNotFound, "no handler")
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
}

var service fakeVault

// TestMain runs one fake for all: the driver reads its address once.
func TestMain(m *testing.M) {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		panic(err)
	}
	if service.aead, err = cipher.NewGCM(block); err != nil {
		panic(err)
	}
	server := httptest.NewServer(&service)
	for k, v := range map[string]string{"VAULT_ADDR": server.URL, "VAULT_TOKEN": "the-token", "VAULT_MAX_RETRIES": "0"} {
		os.Setenv(k, v)
	}
	code := m.Run()
	server.Close()
	os.Exit(code)
}

func openKey(t *testing.T, ref string) *key {
	t.Helper()
	w, err := Open(context.Background(), ref)
	must(t, err)
	k := w.(*key)
	k.gap = time.Millisecond
	return k
}

const localRef = "base64key://c21HYmpWUENrazVJdzVMdlRSRE1XYTRlbjh5cVhrSnM="

// TestWrap: what is wrapped for one bundle unwraps for it alone.
func TestWrap(t *testing.T) {
	ctx := context.Background()
	for _, ref := range []string{localRef, "hashivault://payments"} {
		k := openKey(t, ref)
		dataKey := bytes.Repeat([]byte{7}, 32)
		wrapped, err := k.Wrap(ctx, dataKey, []byte("this bundle"))
		must(t, err)
		got, err := k.Unwrap(ctx, wrapped, []byte("this bundle"))
		if err != nil || !bytes.Equal(got, dataKey) {
			t.Errorf("%v", err)
		}
		var bad *seal.KeyError
		if _, err := k.Unwrap(ctx, wrapped, []byte("another")); !errors.As(err, &bad) {
			t.Errorf("bound to another: %v", err)
		}
		if _, err := k.Unwrap(ctx, wrapped[:len(wrapped)-3], []byte("this bundle")); err == nil {
			t.Error("cut off, and unwrapped")
		}
	}
	a, b := openKey(t, "hashivault://a"), openKey(t, "hashivault://b")
	wrapped, err := a.Wrap(ctx, make([]byte, 32), nil)
	must(t, err)
	var bad *seal.KeyError
	if _, err := b.Unwrap(ctx, wrapped, nil); !errors.As(err, &bad) {
		t.Errorf("by another key: %v", err)
	}
}

// TestBundle goes all the way: seal a bundle with a key of the service, open
// it only where the user named that key.
func TestBundle(t *testing.T) {
	ctx := context.Background()
	const ref = "hashivault://payments"
	opt := seal.Options{KeyFile: filepath.Join(t.TempDir(), "k", "keys.json"), Providers: map[string]func(context.Context, string) (seal.Wrapper, error){"hashivault": Open}}
	s, err := seal.NewSealer(ctx, []string{ref}, opt)
	must(t, err)
	file := filepath.Join(t.TempDir(), "b.tar.zst")
	w, err := bundle.WriterOptions{Sealer: s}.Create(file)
	must(t, err)
	defer w.Abort()
	must(t, w.Add("a", strings.NewReader("recorded"), bundle.FileInfo{Class: bundle.Restricted}))
	must(t, w.Commit(&bundle.Manifest{CreatedAt: time.Unix(1e9, 0)}))
	for _, named := range []bool{false, true} {
		var refs []string
		if named {
			refs = []string{ref}
		}
		before := service.calls.Load()
		r, err := bundle.OpenOptions{Opener: seal.NewOpener(ctx, refs, opt)}.Open(file)
		must(t, err)
		data, err := r.ReadFile("a", 100)
		var locked *bundle.LockedError
		if named && string(data) != "recorded" || !named && (!errors.As(err, &locked) || service.calls.Load() != before) {
			t.Errorf("named %v: %q, %v", named, data, err)
		}
		must(t, r.Close())
	}
}

// TestDown: a service that is back after a moment is asked again; one that
// stays away ends in an error that says so; one that refuses is asked once.
func TestDown(t *testing.T) {
	ctx := context.Background()
	k := openKey(t, "hashivault://payments")
	service.down.Store(2)
	if _, err := k.Wrap(ctx, make([]byte, 32), nil); err != nil {
		t.Errorf("back at the third try: %v", err)
	}
	service.down.Store(1000)
	before := service.calls.Load()
	_, err := k.Wrap(ctx, make([]byte, 32), nil)
	var gone *seal.UnavailableError
	if !errors.As(err, &gone) || gone.Tries != maxTries || service.calls.Load()-before != maxTries || !strings.Contains(err.Error(), "sealed") || gone.Hint() == "" {
		t.Errorf("%d calls: %v", service.calls.Load()-before, err)
	}
	service.down.Store(0)

	service.status.Store(http.StatusForbidden)
	before = service.calls.Load()
	_, err = k.Wrap(ctx, make([]byte, 32), nil)
	var refused *seal.KeyError
	if !errors.As(err, &refused) || service.calls.Load()-before != 1 {
		t.Errorf("%d calls: %v", service.calls.Load()-before, err)
	}
	service.status.Store(0)
	service.empty.Store(true)
	if _, err := k.Wrap(ctx, make([]byte, 32), nil); !errors.As(err, &gone) {
		t.Errorf("an empty answer: %v", err)
	}
	service.empty.Store(false)
	if strings.Contains(err.Error(), "the-token") {
		t.Errorf("the token is in %v", err)
	}
}

// TestSilent: a service that takes the call and never answers costs the limit,
// and an interrupted command ends at once.
func TestSilent(t *testing.T) {
	calls := 0
	hang := func(ctx context.Context, _ []byte) ([]byte, error) {
		calls++
		<-ctx.Done()
		return nil, ctx.Err()
	}
	k := &key{ref: "x://y", encrypt: hang, limit: time.Millisecond, gap: time.Microsecond}
	_, err := k.Wrap(context.Background(), make([]byte, 32), nil)
	var gone *seal.UnavailableError
	if !errors.As(err, &gone) || calls != maxTries || !strings.Contains(err.Error(), "no answer within") {
		t.Errorf("%d calls: %v", calls, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	calls = 0
	if _, err := k.Wrap(ctx, make([]byte, 32), nil); !errors.Is(err, context.Canceled) || calls > 1 {
		t.Errorf("%d calls: %v", calls, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, ref := range []string{"nokms://x", "hashivault://x?endpoint=http://other.example", "gcpkms://x?y=z", "::"} {
		var bad *seal.KeyError
		if _, err := Open(context.Background(), ref); !errors.As(err, &bad) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if gcerrors.Code(io.EOF) != gcerrors.Unknown || !passing(io.EOF) {
		t.Error("an unknown error isn't tried again")
	}
}
