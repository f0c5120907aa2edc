package seal

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"testing"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

// FuzzKeyFile: what parses comes back the same after writing.
func FuzzKeyFile(f *testing.F) {
	kf := &keyFile{}
	e := kf.add(KindKey, "default")
	e.versions[0].key = hide([keySize]byte{1})
	kf.add(KindSalt, "default").versions[0].key = hide([keySize]byte{2})
	text, err := kf.encode()
	must(f, err)
	f.Add(text)
	f.Add([]byte(`{"tapedeck_keys": 1, "entries": [{"kind": "key", "name": "a", "id": "0123456789abcdef", "created": "2025-01-03T12:34:56Z", "destroyed": "2025-01-04T12:34:56Z"}]}`))
	f.Add([]byte(`{"tapedeck_keys": 2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		kf, err := parseKeyFile(text)
		if err != nil {
			return
		}
		once, err := kf.encode()
		if err != nil {
			return // such as a year that RFC 3339 doesn't have
		}
		again, err := parseKeyFile(once)
		if err != nil {
			t.Fatalf("%v: %s", err, once)
		}
		twice, err := again.encode()
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%v\n%s\n%s", err, once, twice)
		}
	})
}

// FuzzRef: a reference that parses is written as it was read.
func FuzzRef(f *testing.F) {
	for _, s := range []string{"local:default", "local:a-b?id=0123456789abcdef&v=3", "local:", "local:a?v=1&id=0123456789abcdef", "pkcs11:token=a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseLocal(s)
		if err != nil {
			return
		}
		if again, err := parseLocal(r.String()); err != nil || again != r {
			t.Errorf("%q: %+v, then %+v, %v", s, r, again, err)
		}
	})
}

// fixed is a provider whose keys unwrap to the same data key always, so that
// what the fuzzer finds it finds again.
type fixed struct{}

func (fixed) Ref() string                                          { return "fixed:x" }
func (fixed) Wrap(context.Context, []byte, []byte) ([]byte, error) { return []byte("x"), nil }
func (fixed) Unwrap(context.Context, []byte, []byte) ([]byte, error) {
	return make([]byte, keySize), nil
}

// FuzzOpener: damaged content, whole manifests of strangers included, gives an
// error of a known class, or what was sealed.
func FuzzOpener(f *testing.F) {
	opt := Options{Providers: map[string]func(context.Context, string) (Wrapper, error){"fixed": func(context.Context, string) (Wrapper, error) { return fixed{}, nil }}}
	k := streamKey{hide([keySize]byte{})}
	bind := binding{"t", "b", "k"}
	plain := bytes.Repeat([]byte("seed"), 100)
	f.Add(encrypted(f, k, bind.file("p"), plain), "t", "fixed:x", "AAAA")
	f.Add(encrypted(f, k, bind.file("p"), nil), "t", "local:default?id=0123456789abcdef&v=1", "AAAA")
	f.Add([]byte{}, "", "age1", "")
	f.Fuzz(func(t *testing.T, stored []byte, tenant, ref, wrapped string) {
		m := &bundle.Manifest{BundleID: "b", Keys: []bundle.Key{{ID: "k", Scheme: Scheme, KeyRef: ref, WrappedKey: wrapped, Tenant: tenant}}}
		r, err := NewOpener(t.Context(), []string{ref}, opt).Open(m, bundle.File{Path: "p", Size: int64(len(stored)), Encryption: "k"}, bytes.NewReader(stored))
		var got []byte
		if err == nil {
			got, err = io.ReadAll(r)
		}
		var locked *bundle.LockedError
		if err == nil && len(got) > 0 && !bytes.Equal(got, plain) {
			t.Errorf("%d bytes that nobody sealed", len(got))
		}
		if err != nil && !errors.As(err, &locked) && !errors.Is(err, bundle.ErrDamaged) {
			t.Errorf("%T is of no known class: %v", err, err)
		}
	})
}

// FuzzWrapped: a wrapped key that was changed doesn't unwrap.
func FuzzWrapped(f *testing.F) {
	key := &localKey{localRef{"a", "0123456789abcdef", 1}, hide([keySize]byte{7})}
	good, err := key.Wrap(context.Background(), make([]byte, keySize), []byte("aad"))
	must(f, err)
	f.Add(base64.StdEncoding.EncodeToString(good), "aad")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, text, aad string) {
		wrapped, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return
		}
		data, err := key.Unwrap(t.Context(), wrapped, []byte(aad))
		var bad *KeyError
		if err != nil && !errors.As(err, &bad) {
			t.Errorf("%T: %v", err, err)
		}
		if err == nil && len(data) != keySize {
			t.Errorf("%d bytes", len(data))
		}
	})
}
