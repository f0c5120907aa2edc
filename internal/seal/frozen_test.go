package seal

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

var update = flag.Bool("update", false, "make testdata/frozen anew: only after a change of the format that has a version of its own")

const frozen = "testdata/frozen"

// frozenOptions use a copy of the fixture's key file: a checkout makes files
// that others can read.
func frozenOptions(t *testing.T) Options {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(frozen, "keys-of-this-test.json"))
	must(t, err)
	opt := local(t)
	must(t, os.Mkdir(filepath.Dir(opt.KeyFile), 0o700))
	must(t, os.WriteFile(opt.KeyFile, text, 0o600))
	return opt
}

var frozenText = strings.Repeat("version 1 opens for ever\n", 50)

// TestFrozen: what version 1 wrote opens, with a key file of version 1; copies
// of it that were damaged, with digests that fit the damage, don't.
func TestFrozen(t *testing.T) {
	if *update {
		makeFrozen(t)
	}
	ctx := context.Background()
	opt := frozenOptions(t)
	list, err := filepath.Glob(filepath.Join(frozen, "*.tar.zst"))
	must(t, err)
	if len(list) != 1+len(damages) {
		t.Fatalf("%q", list)
	}
	for _, file := range list {
		r, err := bundle.OpenOptions{Opener: NewOpener(ctx, nil, opt)}.Open(file)
		must(t, err)
		text, err := readAll(r, "traces/log")
		rep, verr := r.Verify(ctx)
		must(t, verr)
		var locked *bundle.LockedError
		switch filepath.Base(file) {
		case "good.tar.zst":
			if err != nil || string(text) != frozenText || rep.Status != bundle.OK {
				t.Errorf("%v", err)
			}
		case "wrapped-key.tar.zst", "tenant.tar.zst", "bundle-id.tar.zst":
			if !errors.As(err, &locked) || rep.Files[0].Sealed != bundle.Locked {
				t.Errorf("%s: %v", file, err)
			}
		default:
			if !errors.Is(err, bundle.ErrDamaged) || rep.Status != bundle.Damaged {
				t.Errorf("%s: %v, %s", file, err, rep.Status)
			}
		}
		must(t, r.Close())
	}
}

// damages are done to the manifest and to the two stored files.
var damages = map[string]func(m *bundle.Manifest, a, b *[]byte){
	"flipped":     func(_ *bundle.Manifest, a, _ *[]byte) { (*a)[len(*a)/2] ^= 1 },
	"header":      func(_ *bundle.Manifest, a, _ *[]byte) { (*a)[0] = 41 },
	"truncated":   func(_ *bundle.Manifest, a, _ *[]byte) { *a = (*a)[:len(*a)-1] },
	"empty":       func(_ *bundle.Manifest, a, _ *[]byte) { *a = nil },
	"longer":      func(_ *bundle.Manifest, a, _ *[]byte) { *a = append(*a, 0) },
	"swapped":     func(_ *bundle.Manifest, a, b *[]byte) { *a, *b = *b, *a },
	"bundle-id":   func(m *bundle.Manifest, _, _ *[]byte) { m.BundleID = "2cbe4f7c-b52f-4b60-9b19-fb2c1a4b8e4b" },
	"tenant":      func(m *bundle.Manifest, _, _ *[]byte) { m.Keys[0].Tenant = "another" },
	"wrapped-key": func(m *bundle.Manifest, _, _ *[]byte) { m.Keys[0].WrappedKey = "AAAA" + m.Keys[0].WrappedKey[4:] },
}

func makeFrozen(t *testing.T) {
	ctx := context.Background()
	must(t, os.MkdirAll(frozen, 0o755))
	opt := local(t)
	s, err := NewSealer(ctx, []string{DefaultKey}, opt)
	must(t, err)
	keys, err := os.ReadFile(opt.KeyFile)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(frozen, "keys-of-this-test.json"), keys, 0o644))
	log, other := sealWith(t, s, "traces/log", []byte(frozenText)), sealWith(t, s, "traces/other", noise(100))
	all := maps.Clone(damages)
	all["good"] = func(*bundle.Manifest, *[]byte, *[]byte) {}
	for name, d := range all {
		m := &bundle.Manifest{BundleID: s.BundleID(), CreatedAt: time.Unix(1735907696, 0).UTC(), Recorders: []bundle.Recorder{{"kind": "vm"}}, Keys: []bundle.Key{s.Key()}}
		a, b := bytes.Clone(log.stored), bytes.Clone(other.stored)
		d(m, &a, &b)
		w, err := bundle.Create(filepath.Join(frozen, name+".tar.zst"))
		must(t, err)
		for _, f := range []struct {
			name string
			data []byte
			size int64
		}{{"traces/log", a, int64(len(frozenText))}, {"traces/other", b, 100}} {
			must(t, w.Add(f.name, bytes.NewReader(f.data), bundle.FileInfo{Class: bundle.Restricted, Encryption: s.Key().ID, PlainSize: &f.size}))
		}
		must(t, w.Commit(m))
	}
}
