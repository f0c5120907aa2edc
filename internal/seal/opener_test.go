package seal

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

// sealedFile is one encrypted file and the manifest that it belongs to.
type sealedFile struct {
	m      *bundle.Manifest
	f      bundle.File
	stored []byte
}

func sealOne(t testing.TB, refs []string, opt Options, path string, plain []byte) sealedFile {
	t.Helper()
	s, err := NewSealer(context.Background(), refs, opt)
	must(t, err)
	return sealWith(t, s, path, plain)
}

func sealWith(t testing.TB, s *Sealer, path string, plain []byte) sealedFile {
	t.Helper()
	r, err := s.Seal(path, bytes.NewReader(plain))
	must(t, err)
	stored, err := io.ReadAll(r)
	must(t, err)
	return sealedFile{&bundle.Manifest{BundleID: s.BundleID(), Keys: []bundle.Key{s.Key()}}, bundle.File{Path: path, Size: int64(len(stored)), Encryption: s.Key().ID}, stored}
}

func (x sealedFile) open(o *Opener) ([]byte, error) {
	r, err := o.Open(x.m, x.f, bytes.NewReader(x.stored))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// TestBinding: a file or a key that was moved to another path, bundle, tenant
// or key id doesn't open.
func TestBinding(t *testing.T) {
	ctx := context.Background()
	opt := local(t)
	s, err := NewSealer(ctx, []string{DefaultKey}, opt)
	must(t, err)
	good := sealWith(t, s, "traces/a", []byte("what was recorded"))
	if b, err := good.open(NewOpener(ctx, nil, opt)); err != nil || string(b) != "what was recorded" {
		t.Fatalf("%q, %v", b, err)
	}
	other := sealOne(t, []string{DefaultKey}, opt, "traces/a", []byte("other"))
	for name, change := range map[string]func(*sealedFile){
		"another path":         func(x *sealedFile) { x.f.Path = "traces/b" },
		"another bundle":       func(x *sealedFile) { x.m.BundleID = other.m.BundleID },
		"another tenant":       func(x *sealedFile) { x.m.Keys[0].Tenant = "b" },
		"no tenant":            func(x *sealedFile) { x.m.Keys[0].Tenant = "" },
		"a tenant of lines":    func(x *sealedFile) { x.m.Keys[0].Tenant = "a\nb" },
		"another key id":       func(x *sealedFile) { x.m.Keys[0].ID, x.f.Encryption = "dk0", "dk0" },
		"no such key":          func(x *sealedFile) { x.f.Encryption = "dk0" },
		"another data key":     func(x *sealedFile) { x.m.Keys[0].WrappedKey = other.m.Keys[0].WrappedKey },
		"another's content":    func(x *sealedFile) { x.stored = other.stored },
		"no content":           func(x *sealedFile) { x.stored = nil },
		"a wrapped key of air": func(x *sealedFile) { x.m.Keys[0].WrappedKey = "AAAA" },
		"no base64":            func(x *sealedFile) { x.m.Keys[0].WrappedKey = "%%%" },
		"another scheme":       func(x *sealedFile) { x.m.Keys[0].Scheme = "rot13" },
		"a ref without id":     func(x *sealedFile) { x.m.Keys[0].KeyRef = "local:default" },
		"a version to come":    func(x *sealedFile) { x.m.Keys[0].KeyRef = strings.Replace(x.m.Keys[0].KeyRef, "v=1", "v=7", 1) },
	} {
		x := sealedFile{&bundle.Manifest{BundleID: good.m.BundleID, Keys: []bundle.Key{s.Key()}}, good.f, bytes.Clone(good.stored)}
		change(&x)
		_, err := x.open(NewOpener(ctx, nil, opt))
		var locked *bundle.LockedError
		if !errors.As(err, &locked) && !errors.Is(err, bundle.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStrangersRefs: a bundle can't have a service or a token asked that its
// reader didn't name.
func TestStrangersRefs(t *testing.T) {
	ctx := context.Background()
	opt := local(t)
	asked := 0
	opt.Providers = map[string]func(context.Context, string) (Wrapper, error){"kms": func(context.Context, string) (Wrapper, error) {
		asked++
		return nil, errors.New("asked")
	}}
	x := sealOne(t, []string{DefaultKey}, opt, "a", nil)
	x.m.Keys[0].KeyRef = "kms://attacker.example/key"
	_, err := x.open(NewOpener(ctx, nil, opt))
	var locked *bundle.LockedError
	if !errors.As(err, &locked) || asked != 0 || !strings.Contains(locked.Hint(), "--key 'kms://attacker.example/key'") {
		t.Errorf("asked %d times: %v", asked, err)
	}
	if _, err = x.open(NewOpener(ctx, []string{"kms://attacker.example/key"}, opt)); asked != 1 || !errors.As(err, &locked) {
		t.Errorf("asked %d times: %v", asked, err)
	}
	if _, err := os.Stat(opt.KeyFile); err != nil {
		t.Fatal(err)
	}
	// And opening never makes a key file.
	elsewhere := local(t)
	if _, err := x.open(NewOpener(ctx, nil, elsewhere)); err == nil {
		t.Error("opened without a key")
	}
	if _, err := os.Stat(filepath.Dir(elsewhere.KeyFile)); err == nil {
		t.Error("reading made a folder")
	}
}

// identity writes an age identity and returns its recipient.
func identity(t *testing.T) (file, recipient string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	must(t, err)
	file = filepath.Join(t.TempDir(), "identity")
	must(t, os.WriteFile(file, []byte("# a person\n"+id.String()+"\n"), 0o600))
	return file, id.Recipient().String()
}

func sshIdentity(t *testing.T, kind string) (file, recipient string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "id")
	out, err := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "ann@laptop", "-f", file).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	pub, err := os.ReadFile(file + ".pub")
	must(t, err)
	return file, strings.TrimSpace(string(pub))
}

// TestPersons: whoever has the identity opens it, without any key file;
// nobody else does.
func TestPersons(t *testing.T) {
	ctx := context.Background()
	pq, err := age.GenerateHybridIdentity()
	must(t, err)
	pqFile := filepath.Join(t.TempDir(), "pq")
	must(t, os.WriteFile(pqFile, []byte(pq.String()), 0o600))
	type person struct{ file, recipient string }
	persons := map[string]person{"hybrid": {pqFile, pq.Recipient().String()}}
	for _, kind := range []string{"ed25519", "rsa"} {
		file, r := sshIdentity(t, kind)
		persons[kind] = person{file, r}
	}
	file, r := identity(t)
	persons["age"] = person{file, r}
	for name, p := range persons {
		x := sealOne(t, []string{p.recipient}, local(t), "a", []byte("for you"))
		if strings.Contains(x.m.Keys[0].KeyRef, "laptop") {
			t.Errorf("%s: the manifest has the comment of the key", name)
		}
		for other, q := range persons {
			ids, err := Identities(q.file)
			must(t, err)
			opt := local(t)
			opt.Identities = ids
			got, err := x.open(NewOpener(ctx, nil, opt))
			var locked *bundle.LockedError
			if name == other && string(got) != "for you" || name != other && !errors.As(err, &locked) {
				t.Errorf("sealed for %s, opened by %s: %q, %v", name, other, got, err)
			}
		}
	}
	var bad *FileError
	if _, err := Identities(writeTemp(t, "AGE-SECRET-KEY-1OOPS")); !errors.As(err, &bad) || strings.Contains(err.Error(), "OOPS") {
		t.Errorf("%v", err)
	}
}

func writeTemp(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// TestRewrap: a person is added, the first key is taken away, a rotated key
// takes the place of its old version.
func TestRewrap(t *testing.T) {
	ctx := context.Background()
	opt := local(t)
	file, recipient := identity(t)
	ids, err := Identities(file)
	must(t, err)
	s, err := NewSealer(ctx, []string{DefaultKey}, opt)
	must(t, err)
	path := pack(t, s, map[string][]byte{"a": []byte("moved on"), "b": noise(3 << 20)})
	rewrap := func(refs []string, instead bool, want ...string) {
		t.Helper()
		r, err := bundle.Open(path)
		must(t, err)
		defer r.Close()
		m, err := bundle.ParseManifest(r.ManifestBytes())
		must(t, err)
		must(t, NewOpener(ctx, nil, opt).Rewrap(m, refs, instead))
		_, err = r.Rewrite(path, m)
		must(t, err)
		if got := m.Keys[0].Refs(); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%q, want %q", got, want)
		}
	}
	first := s.Key().KeyRef
	rewrap([]string{recipient}, false, first, recipient)
	rewrap([]string{recipient}, false, first, recipient) // again: a fresh copy instead of the old
	_, err = Keys{opt.KeyFile}.Rotate(KindKey, "default")
	must(t, err)
	second := strings.Replace(first, "v=1", "v=2", 1)
	rewrap([]string{DefaultKey}, true, second)
	rewrap([]string{recipient}, false, second, recipient)
	_, err = Keys{opt.KeyFile}.Destroy(KindKey, "default")
	must(t, err)

	for _, o := range []*Opener{NewOpener(ctx, nil, opt), NewOpener(ctx, nil, Options{Identities: ids, KeyFile: opt.KeyFile})} {
		r, err := bundle.OpenOptions{Opener: o}.Open(path)
		must(t, err)
		got, err := readAll(r, "a")
		var gone *DestroyedError
		if len(o.opt.Identities) == 0 && !errors.As(err, &gone) || len(o.opt.Identities) > 0 && string(got) != "moved on" {
			t.Errorf("%q, %v", got, err)
		}
		rep, err := r.Verify(ctx)
		if err != nil || rep.Status != bundle.OK {
			t.Errorf("%+v, %v", rep, err)
		}
		must(t, r.Close())
	}
}

// TestMany: an opener serves several bundles and goroutines.
func TestMany(t *testing.T) {
	ctx := context.Background()
	opt := local(t)
	o := NewOpener(ctx, nil, opt)
	var wg sync.WaitGroup
	for i := range 4 {
		s, err := NewSealer(ctx, []string{DefaultKey}, opt)
		must(t, err)
		for range 4 {
			wg.Go(func() {
				plain := bytes.Repeat([]byte{byte(i)}, 100_000)
				x := sealWith(t, s, "a", plain)
				if got, err := x.open(o); err != nil || !bytes.Equal(got, plain) {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}

// TestOtherLanguage opens a file as docs/bundle.md says, in JavaScript, by
// cryptography that isn't ours.
func TestOtherLanguage(t *testing.T) {
	opt := local(t)
	for name, plain := range map[string][]byte{
		"packed":  bytes.Repeat([]byte("a line of a log\n"), 200_000),
		"random":  noise(2<<20 + 1000),
		"nothing": nil,
	} {
		x := sealOne(t, []string{DefaultKey}, opt, "traces/x", plain)
		stored := writeTemp(t, string(x.stored))
		k := x.m.Keys[0]
		cmd := exec.Command("node", "testdata/open.mjs", opt.KeyFile, x.m.BundleID, k.ID, k.Tenant, k.KeyRef, k.WrappedKey, x.f.Path, stored)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		got, err := cmd.Output()
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes, want %d: %v\n%s", name, len(got), len(plain), err, errs.String())
		}
		if _, err := base64.StdEncoding.DecodeString(k.WrappedKey); err != nil {
			t.Error(err)
		}
	}
}
