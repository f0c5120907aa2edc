package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

var when = time.Date(2025, 1, 3, 12, 34, 56, 0, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB) *PrivateKey {
	t.Helper()
	k, err := NewKey()
	must(t, err)
	return k
}

func newECDSA(t testing.TB) *PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	k, err := newPrivate(key)
	must(t, err)
	return k
}

// write makes a bundle as a recording does, with one file more.
func write(t testing.TB, m *bundle.Manifest, files map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.tar.zst")
	w, err := bundle.Create(path)
	must(t, err)
	defer w.Abort()
	for _, name := range []string{"inputs/http_vcr/a.warc", "traces/vm/replay.log", SBOMFile} {
		if text, ok := files[name]; ok {
			info := bundle.FileInfo{}
			if strings.HasPrefix(name, "traces/") {
				info.Class = bundle.Restricted
			}
			must(t, w.Add(name, strings.NewReader(text), info))
		}
	}
	text, err := Recorded(m, w.Files(), Run{Program: "/bin/true", ProgramSHA256: strings.Repeat("ab", 32), Tapedeck: "v1.0.0", Started: when, Finished: when}).Encode()
	must(t, err)
	if own, ok := files[ProvenanceFile]; ok {
		text = []byte(own)
	}
	must(t, w.Add(ProvenanceFile, bytes.NewReader(text), bundle.FileInfo{}))
	must(t, w.Commit(m))
	return path
}

var someFiles = map[string]string{
	"inputs/http_vcr/a.warc": "WARC/1.1", "traces/vm/replay.log": "log", SBOMFile: `{"spdxVersion":"SPDX-2.3","packages":[{}]}`,
}

func someManifest() *bundle.Manifest {
	return &bundle.Manifest{
		CreatedAt: when,
		Origin:    bundle.Origin{Revision: "git:3c1ab73c1ab73c1ab73c1ab73c1ab73c1ab73c1a"},
		Recorders: []bundle.Recorder{{"kind": "vm", "command": []string{"true"}, "kernel": "6.1.0", "qemu_version": "7.2", "seed": 5}},
		Privacy:   bundle.Privacy{Redaction: []bundle.Redaction{{Path: "inputs/**", Ruleset: "gdpr_default"}}},
		Attestations: []bundle.Attestation{
			{Type: SBOMKind, File: SBOMFile}, {Type: ProvenanceKind, File: ProvenanceFile},
		},
	}
}

func open(t testing.TB, path string) *bundle.Reader {
	t.Helper()
	r, err := bundle.Open(path)
	must(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

// envelope is what tapedeck bundle sign makes.
func envelope(t testing.TB, path string, keys ...*PrivateKey) []byte {
	t.Helper()
	s, err := Subject(open(t, path), "")
	must(t, err)
	e, err := Sign(s, keys...)
	must(t, err)
	b, err := e.Encode()
	must(t, err)
	return b
}

func signers(keys ...*PrivateKey) (list []Signer) {
	for _, k := range keys {
		list = append(list, Signer{Key: k.Public()})
	}
	return list
}
