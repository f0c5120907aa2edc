package seal

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

func TestKeysLife(t *testing.T) {
	opt := local(t)
	keys := Keys{opt.KeyFile}
	if list, err := keys.List(); err != nil || len(list) != 0 {
		t.Fatalf("%v, %v", list, err)
	}
	e, err := keys.New(KindKey, "payments")
	must(t, err)
	st, err := os.Stat(opt.KeyFile)
	must(t, err)
	dir, err := os.Stat(filepath.Dir(opt.KeyFile))
	must(t, err)
	if st.Mode().Perm() != 0o600 || dir.Mode().Perm() != 0o700 || e.Ref != "local:payments" || len(e.Versions) != 1 {
		t.Errorf("%v %v %+v", st.Mode(), dir.Mode(), e)
	}
	var key *KeyError
	if _, err := keys.New(KindKey, "payments"); !errors.As(err, &key) {
		t.Errorf("the same name: %v", err)
	}
	for _, name := range []string{"", "a b", "../x", "-x", strings.Repeat("x", 65), "a?b", "é"} {
		if _, err := keys.New(KindKey, name); !errors.As(err, &key) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	if _, err := keys.New(KindSalt, "payments"); err != nil {
		t.Errorf("a salt may have the name of a key: %v", err)
	}
	e2, err := keys.Rotate(KindKey, "payments")
	if err != nil || len(e2.Versions) != 2 || e2.ID != e.ID {
		t.Errorf("%+v, %v", e2, err)
	}
	if _, err := keys.Rotate(KindKey, "nobody"); !errors.As(err, &key) {
		t.Errorf("%v", err)
	}
	gone, err := keys.Destroy(KindKey, "payments")
	if err != nil || gone.Destroyed == nil || len(gone.Versions) != 0 || gone.ID != e.ID {
		t.Errorf("%+v, %v", gone, err)
	}
	var destroyed *DestroyedError
	if _, err := keys.Destroy(KindKey, "payments"); !errors.As(err, &destroyed) {
		t.Errorf("twice: %v", err)
	}
	again, err := keys.New(KindKey, "payments")
	if err != nil || again.ID == e.ID {
		t.Errorf("a new key of an old name: %+v, %v", again, err)
	}
	list, err := keys.List()
	if err != nil || len(list) != 3 || list[0].Destroyed == nil {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestShredding: after destroy the bundle can't be opened, and no file has the
// key's bytes, in any form: not the key file, not what it replaced, not what a
// killed process left.
func TestShredding(t *testing.T) {
	ctx := context.Background()
	opt := local(t)
	keys := Keys{opt.KeyFile}
	_, err := keys.New(KindKey, "acme")
	must(t, err)
	s, err := NewSealer(ctx, []string{"local:acme"}, opt)
	must(t, err)
	path := pack(t, s, map[string][]byte{"a": []byte("the recording")})
	_, err = keys.Rotate(KindKey, "acme")
	must(t, err)

	var secrets []secret
	f, err := keys.load()
	must(t, err)
	for _, v := range f.live(KindKey, "acme").versions {
		secrets = append(secrets, v.key)
	}
	text, err := os.ReadFile(opt.KeyFile)
	must(t, err)
	// A killed process left this, and somebody else has the file open still.
	must(t, os.WriteFile(opt.KeyFile+".new", text, 0o600))
	must(t, os.Link(opt.KeyFile, filepath.Join(filepath.Dir(opt.KeyFile), "link")))
	handle, err := os.Open(opt.KeyFile)
	must(t, err)
	defer handle.Close()
	stale, err := os.Open(opt.KeyFile + ".new")
	must(t, err)
	defer stale.Close()

	_, err = keys.Destroy(KindKey, "acme")
	must(t, err)
	var places []string
	data := map[string][]byte{}
	must(t, filepath.WalkDir(filepath.Dir(opt.KeyFile), func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			data[p], err = os.ReadFile(p)
			places = append(places, filepath.Base(p))
		}
		return err
	}))
	data["the replaced file"], err = io.ReadAll(handle)
	must(t, err)
	data["the stale file"], err = io.ReadAll(stale)
	must(t, err)
	data["the bundle"], err = os.ReadFile(path)
	must(t, err)
	for where, b := range data {
		for _, k := range secrets {
			if bytes.Contains(b, k.bytes()) || bytes.Contains(b, []byte(k.text())) || bytes.Contains(b, []byte(base64.RawURLEncoding.EncodeToString(k.bytes()))) {
				t.Errorf("%s has the key", where)
			}
		}
	}
	if strings.Join(places, " ") != "keys.json keys.json.lock link" {
		t.Errorf("left: %v", places)
	}

	r, err := bundle.OpenOptions{Opener: NewOpener(ctx, nil, opt)}.Open(path)
	must(t, err)
	defer r.Close()
	_, err = readAll(r, "a")
	var locked *bundle.LockedError
	var gone *DestroyedError
	if !errors.As(err, &locked) || !errors.As(err, &gone) || locked.Path != "a" {
		t.Errorf("%v", err)
	}
	// A new key of the same name changes nothing.
	_, err = keys.New(KindKey, "acme")
	must(t, err)
	r2, err := bundle.OpenOptions{Opener: NewOpener(ctx, nil, opt)}.Open(path)
	must(t, err)
	defer r2.Close()
	if _, err = readAll(r2, "a"); !errors.As(err, &gone) {
		t.Errorf("%v", err)
	}
}

// TestDestroyedDefault: a default that was destroyed isn't made again by itself.
func TestDestroyedDefault(t *testing.T) {
	ctx := context.Background()
	opt := local(t)
	_, err := OpenKey(ctx, DefaultKey, opt)
	must(t, err)
	_, err = Keys{opt.KeyFile}.Destroy(KindKey, "default")
	must(t, err)
	var gone *DestroyedError
	if _, err := OpenKey(ctx, DefaultKey, opt); !errors.As(err, &gone) {
		t.Errorf("%v", err)
	}
	if _, err := NewSealer(ctx, []string{"local:typo"}, opt); err == nil {
		t.Error("a key was made by a name")
	}
}

func TestKeyFileRefused(t *testing.T) {
	opt := local(t)
	keys := Keys{opt.KeyFile}
	_, err := keys.New(KindKey, "a")
	must(t, err)
	want := func(what string) {
		t.Helper()
		var file *FileError
		if _, err := keys.List(); !errors.As(err, &file) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := keys.New(KindKey, "b"); !errors.As(err, &file) {
			t.Errorf("%s, to write: %v", what, err)
		}
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o644} {
		must(t, os.Chmod(opt.KeyFile, mode))
		want(mode.String())
	}
	must(t, os.Chmod(opt.KeyFile, 0o600))
	must(t, os.WriteFile(opt.KeyFile, []byte(`{"tapedeck_keys": 2, "entries": []}`), 0o600))
	want("newer")
	must(t, os.Remove(opt.KeyFile))
	must(t, os.Mkdir(opt.KeyFile, 0o700))
	want("a folder")
	must(t, os.Remove(opt.KeyFile))
	must(t, os.Chmod(filepath.Dir(opt.KeyFile), 0o777))
	var file *FileError
	if _, err := keys.New(KindKey, "b"); !errors.As(err, &file) {
		t.Errorf("a folder for all: %v", err)
	}
}

// TestBackup: a hard link is a backup, which making keys must not harm.
func TestBackup(t *testing.T) {
	opt := local(t)
	keys := Keys{opt.KeyFile}
	_, err := keys.New(KindKey, "a")
	must(t, err)
	link := opt.KeyFile + ".backup"
	must(t, os.Link(opt.KeyFile, link))
	_, err = keys.Rotate(KindKey, "a")
	must(t, err)
	if list, err := (Keys{link}).List(); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

// TestLink: where the key file is a link, what it leads to is replaced.
func TestLink(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o700))
	link := filepath.Join(dir, "link.json")
	real := Keys{filepath.Join(dir, "real.json")}
	_, err := real.New(KindKey, "a")
	must(t, err)
	must(t, os.Symlink("real.json", link))
	_, err = Keys{link}.New(KindKey, "b")
	must(t, err)
	if list, err := real.List(); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
}

// TestConcurrent: nobody's change is lost, nobody reads half of one, and the
// default key is made once.
func TestConcurrent(t *testing.T) {
	opt := local(t)
	keys := Keys{opt.KeyFile}
	var wg sync.WaitGroup
	refs := make([]string, 8)
	for i := range refs {
		wg.Go(func() {
			w, err := OpenKey(context.Background(), DefaultKey, opt)
			if err != nil {
				t.Error(err)
				return
			}
			refs[i] = w.Ref()
			for range 3 {
				if _, err := keys.Rotate(KindKey, "default"); err != nil {
					t.Error(err)
				}
				if _, err := keys.List(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	list, err := keys.List()
	must(t, err)
	if len(list) != 1 || len(list[0].Versions) != 1+3*len(refs) {
		t.Errorf("%+v", list)
	}
	for _, r := range refs {
		if !strings.HasPrefix(r, "local:default?id="+list[0].ID+"&v=") {
			t.Errorf("%q", r)
		}
	}
}

func TestSalt(t *testing.T) {
	ctx := context.Background()
	opt := local(t)
	ref, key, err := Salt(ctx, DefaultSalt, opt)
	must(t, err)
	again, same, err := Salt(ctx, ref, opt)
	must(t, err)
	if again != ref || !bytes.Equal(key, same) || len(key) != 32 {
		t.Errorf("%s, %s", ref, again)
	}
	_, err = Keys{opt.KeyFile}.Rotate(KindSalt, "default")
	must(t, err)
	newer, other, err := Salt(ctx, DefaultSalt, opt)
	must(t, err)
	if newer == ref || bytes.Equal(key, other) {
		t.Error("rotated, and the same")
	}
	if _, old, err := Salt(ctx, ref, opt); err != nil || !bytes.Equal(old, key) {
		t.Errorf("the old one: %v", err)
	}
	field := SaltField(ref)
	if back, ok := SaltRef(field); !ok || back != ref || !strings.HasPrefix(field, "argon2id:saltref:local:default?id=") {
		t.Errorf("%q", field)
	}
	if ref, ok := SaltRef("argon2id:saltref:secrets/kms_salt"); !ok || ref != "secrets/kms_salt" {
		t.Errorf("%q", ref)
	}
	if _, _, err := Salt(ctx, "secrets/kms_salt", opt); err == nil {
		t.Error("a salt of nowhere")
	}
	// A key is no salt.
	w, err := OpenKey(ctx, DefaultKey, opt)
	must(t, err)
	if _, _, err := Salt(ctx, w.Ref(), opt); err == nil {
		t.Error("a key passes as a salt")
	}
}
