package attest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

// TestPAE has the example of the DSSE specification.
func TestPAE(t *testing.T) {
	t.Parallel()
	got := string(PAE("http://example.com/HelloWorld", []byte("hello world")))
	if want := "DSSEv1 29 http://example.com/HelloWorld 11 hello world"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// openssl verifies an envelope as docs/attestations.md says, with python's and
// openssl's help alone.
func openssl(t *testing.T, dir string, env []byte, pub []byte, ed bool) error {
	t.Helper()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, data, 0o600))
		return path
	}
	envFile, pubFile := file("env.json", env), file("pub.pem", pub)
	script := `import json,base64,sys
e=json.load(open(sys.argv[1])); p=base64.b64decode(e["payload"]); t=e["payloadType"].encode()
open(sys.argv[2],"wb").write(b"DSSEv1 %d %s %d %s"%(len(t),t,len(p),p))
open(sys.argv[3],"wb").write(base64.b64decode(e["signatures"][0]["sig"]))`
	pae, sig := filepath.Join(dir, "pae"), filepath.Join(dir, "sig")
	if out, err := exec.Command("python3", "-c", script, envFile, pae, sig).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	args := []string{"dgst", "-sha256", "-verify", pubFile, "-signature", sig, pae}
	if ed {
		args = []string{"pkeyutl", "-verify", "-pubin", "-inkey", pubFile, "-rawin", "-in", pae, "-sigfile", sig}
	}
	out, err := exec.Command("openssl", args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("openssl: %v (make test installs it)", err)
	}
	if err != nil && !bytes.Contains(out, []byte("erif")) {
		t.Fatalf("openssl did not come to verify: %s", out)
	}
	return err
}

func TestOpenSSL(t *testing.T) {
	t.Parallel()
	path := write(t, someManifest(), someFiles)
	for _, c := range []struct {
		name string
		key  *PrivateKey
		ed   bool
	}{{"ed25519", newKey(t), true}, {"ecdsa", newECDSA(t), false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			env := envelope(t, path, c.key)
			if err := openssl(t, t.TempDir(), env, c.key.Public().PEM(), c.ed); err != nil {
				t.Errorf("openssl refuses a good signature: %v", err)
			}
			var e map[string]any
			must(t, json.Unmarshal(env, &e))
			payload, _ := base64.StdEncoding.DecodeString(e["payload"].(string))
			payload[len(payload)/2] ^= 1
			e["payload"] = base64.StdEncoding.EncodeToString(payload)
			bad, _ := json.Marshal(e)
			if err := openssl(t, t.TempDir(), bad, c.key.Public().PEM(), c.ed); err == nil {
				t.Error("openssl accepts a changed payload")
			}
		})
	}
}

// TestOpenSSLKeys: keys that openssl made sign, and the id is what the docs say.
func TestOpenSSLKeys(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"genpkey -algorithm ed25519", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", "ecparam -name prime256v1 -genkey"} {
		file := filepath.Join(t.TempDir(), "k.pem")
		out, err := exec.Command("openssl", append(strings.Fields(how), "-out", file)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v %s", err, out)
		}
		must(t, os.Chmod(file, 0o600))
		k, err := ReadPrivate(file)
		must(t, err)
		out, err = exec.Command("sh", "-c", `openssl pkey -in "$1" -pubout -outform DER | sha256sum`, "sh", file).Output()
		must(t, err)
		if id, _, _ := strings.Cut(string(out), " "); id != k.Public().ID() {
			t.Errorf("%s: id %s, openssl says %s", how, k.Public().ID(), id)
		}
	}
}

// TestTampered: every way to make a signature say what it doesn't is found.
func TestTampered(t *testing.T) {
	t.Parallel()
	key, other := newKey(t), newECDSA(t)
	path := write(t, someManifest(), someFiles)
	elsewhere := write(t, someManifest(), map[string]string{"traces/vm/replay.log": "another run"})
	good := envelope(t, path, key)
	// resign changes the statement and signs that.
	resign := func(change func(s *Statement)) []byte {
		s, err := Subject(open(t, path), "")
		must(t, err)
		change(s)
		payload, err := encode(s)
		must(t, err)
		sig, err := key.sign(PAE(PayloadType, payload))
		must(t, err)
		b, err := encode(&Envelope{PayloadType, payload, []Signature{{Sig: sig}}})
		must(t, err)
		return b
	}
	edit := func(change func(e map[string]any)) []byte {
		var e map[string]any
		must(t, json.Unmarshal(good, &e))
		change(e)
		b, err := json.Marshal(e)
		must(t, err)
		return b
	}
	sig := func(e map[string]any) map[string]any { return e["signatures"].([]any)[0].(map[string]any) }
	flip := func(s any, at int) string {
		b, err := base64.StdEncoding.DecodeString(s.(string))
		must(t, err)
		b[at] ^= 1
		return base64.StdEncoding.EncodeToString(b)
	}
	for name, c := range map[string]struct {
		env  []byte
		want string // "" is accepted
	}{
		"good":             {good, ""},
		"key id is a hint": {edit(func(e map[string]any) { sig(e)["keyid"] = "nonsense" }), ""},
		"no key id":        {edit(func(e map[string]any) { delete(sig(e), "keyid") }), ""},
		"one more signature": {edit(func(e map[string]any) {
			e["signatures"] = append([]any{map[string]any{"sig": "AAAA"}}, e["signatures"].([]any)...)
		}), ""},
		"resigned, unchanged":  {resign(func(*Statement) {}), ""},
		"payload":              {edit(func(e map[string]any) { e["payload"] = flip(e["payload"], 40) }), "none of the policy's keys"},
		"signature":            {edit(func(e map[string]any) { sig(e)["sig"] = flip(sig(e)["sig"], 5) }), "none of the policy's keys"},
		"no signature":         {edit(func(e map[string]any) { e["signatures"] = []any{} }), "signatures: need one or more"},
		"signatures null":      {edit(func(e map[string]any) { e["signatures"] = nil }), "signatures: need one or more"},
		"empty signature":      {edit(func(e map[string]any) { sig(e)["sig"] = "" }), "need a signature in base64"},
		"type":                 {edit(func(e map[string]any) { e["payloadType"] = "application/json" }), "payloadType: need " + PayloadType},
		"payload twice":        {bytes.Replace(good, []byte("{"), []byte(`{"payload":"e30=",`), 1), `"payload" twice`},
		"payload in capitals":  {bytes.Replace(good, []byte("{"), []byte(`{"PAYLOAD":"e30=",`), 1), `some readers take for "payload"`},
		"capitals alone":       {bytes.Replace(good, []byte(`"payload"`), []byte(`"Payload"`), 1), `some readers take for "payload"`},
		"a sign like a letter": {bytes.Replace(good, []byte(`"keyid"`), []byte("\"\u212aeyid\""), 1), `some readers take for "keyid"`},
		"not base64":           {edit(func(e map[string]any) { e["payload"] = "*" }), "need base64"},
		"cut":                  {good[:len(good)/2], "need JSON"},
		"more behind":          {append(bytes.Clone(good), "{}"...), "something behind"},
		"unknown key":          {envelope(t, path, other), "none of the policy's keys"},
		"of another bundle":    {envelope(t, elsewhere, key), "is about another bundle"},
		"digest":               {resign(func(s *Statement) { s.Subject[0].Digest["sha256"] = strings.Repeat("0", 64) }), "is about another bundle"},
		"name":                 {resign(func(s *Statement) { s.Subject[0].Name = "other.yaml" }), "is about another bundle"},
		"digest of a file":     {resign(func(s *Statement) { s.Subject[1].Digest["sha256"] = strings.Repeat("0", 64) }), "another digest of inputs/http_vcr/a.warc"},
		"two swapped": {resign(func(s *Statement) {
			s.Subject[1].Name, s.Subject[2].Name = s.Subject[2].Name, s.Subject[1].Name
		}), "is about another bundle"},
		"manifest alone":   {resign(func(s *Statement) { s.Subject = s.Subject[:1] }), ""}, // its digest covers the rest
		"without manifest": {resign(func(s *Statement) { s.Subject = s.Subject[1:] }), "doesn't name trace_bundle.yaml"},
		"a file too many": {resign(func(s *Statement) {
			s.Subject = append(s.Subject, Resource{Name: "x", Digest: s.Subject[0].Digest})
		}), `is about another bundle: it names "x"`},
		"subject twice":  {resign(func(s *Statement) { s.Subject = append(s.Subject, s.Subject[0]) }), "a name of its own"},
		"no subject":     {resign(func(s *Statement) { s.Subject = nil }), "subject: need one or more files"},
		"no digest":      {resign(func(s *Statement) { s.Subject[0].Digest = nil }), "64 lower-case hexadecimal digits"},
		"statement type": {resign(func(s *Statement) { s.Type = "https://in-toto.io/Statement/v0.1" }), "_type"},
		"predicate type": {resign(func(s *Statement) { s.PredicateType = "https://slsa.dev/provenance/v0.2" }), "predicateType"},
		"no builder":     {resign(func(s *Statement) { s.Predicate.RunDetails.Builder.ID = "" }), "builder.id"},
		"other builder":  {resign(func(s *Statement) { s.Predicate.RunDetails.Builder.ID = "https://evil.example" }), "names the builder"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			copied := filepath.Join(t.TempDir(), "b.tar.zst")
			b, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(copied, b, 0o600))
			must(t, bundle.Attach(copied, "attestations/x.dsse.json", c.env))
			p := &Policy{Signers: signers(key), Threshold: 1, Builders: []string{RecorderBuilder}}
			v, err := p.Check(open(t, copied), when)
			must(t, err)
			if c.want == "" {
				if !v.OK || len(v.SignedBy) != 1 || len(v.Ignored) != 0 {
					t.Errorf("refused: %+v", v)
				}
				return
			}
			if v.OK || len(v.SignedBy) != 0 || len(v.Ignored) != 1 || !strings.Contains(v.Ignored[0], c.want) {
				t.Errorf("want %q, got %+v", c.want, v)
			}
		})
	}
}

// TestSubject: the statement names every file, as sha256sum sees it.
func TestSubject(t *testing.T) {
	t.Parallel()
	path := write(t, someManifest(), someFiles)
	s, err := Subject(open(t, path), "https://ci.example.org/x")
	must(t, err)
	dir := t.TempDir()
	if out, err := exec.Command("tar", "--zstd", "-xf", path, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	var list strings.Builder
	for _, r := range s.Subject {
		fmt.Fprintf(&list, "%s  %s\n", r.Digest["sha256"], r.Name)
	}
	check := exec.Command("sha256sum", "--check", "--strict", "--quiet")
	check.Dir, check.Stdin = dir, strings.NewReader(list.String())
	if out, err := check.CombinedOutput(); err != nil || len(s.Subject) != len(someFiles)+2 {
		t.Errorf("%v %s: %d subjects", err, out, len(s.Subject))
	}
	run := s.Predicate.RunDetails
	if run.Builder.ID != "https://ci.example.org/x" || run.Metadata.InvocationID != open(t, path).Manifest().BundleID || !run.Metadata.StartedOn.Equal(when) {
		t.Errorf("%+v", run)
	}
	def := s.Predicate.BuildDefinition
	var found []string
	for _, d := range def.ResolvedDependencies {
		found = append(found, d.Name+" "+d.URI+d.Digest["gitCommit"])
	}
	want := []string{"kernel pkg:generic/linux@6.1.0", "qemu pkg:generic/qemu@7.2%20%28Debian%29", "tapedeck pkg:golang/github.com/tapedeck-dev/tapedeck@v1.0.0",
		"program ", "source 3c1ab73c1ab73c1ab73c1ab73c1ab73c1ab73c1a"}
	if !slices.Equal(found, want) || def.ResolvedDependencies[1].Digest["sha256"] != strings.Repeat("cd", 32) {
		t.Errorf("dependencies %q", found)
	}
	if got := fmt.Sprint(def.ExternalParameters); got != "map[command:[true] cwd:/app recorders:[vm]]" {
		t.Errorf("external parameters %s", got)
	}
}

// TestSwappedProvenance: a provenance of another bundle isn't signed, nor does
// a policy accept it.
func TestSwappedProvenance(t *testing.T) {
	t.Parallel()
	foreign, err := open(t, write(t, someManifest(), map[string]string{"traces/vm/replay.log": "another run"})).ReadFile(ProvenanceFile, 1<<20)
	must(t, err)
	files := map[string]string{"traces/vm/replay.log": "log", ProvenanceFile: string(foreign)}
	r := open(t, write(t, someManifest(), files))
	if _, err := Subject(r, ""); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "of traces/vm/replay.log") {
		t.Errorf("%v", err)
	}
	v, err := (&Policy{Attestations: []string{ProvenanceKind}}).Check(r, when)
	must(t, err)
	if v.OK || !strings.Contains(v.Violations[0].Found, "traces/vm/replay.log") {
		t.Errorf("%+v", v)
	}
}

func TestThreshold(t *testing.T) {
	t.Parallel()
	a, b, c := newKey(t), newECDSA(t), newKey(t)
	path := write(t, someManifest(), someFiles)
	must(t, bundle.Attach(path, "attestations/a.dsse.json", envelope(t, path, a)))
	must(t, bundle.Attach(path, "attestations/a2.dsse.json", envelope(t, path, a))) // twice is once
	check := func(threshold int, keys ...*PrivateKey) bool {
		v, err := (&Policy{Signers: signers(keys...), Threshold: threshold}).Check(open(t, path), time.Now())
		must(t, err)
		return v.OK
	}
	if !check(1, a, b) || check(2, a, b) || check(1, b, c) {
		t.Error("one signature counts as something else than one")
	}
	must(t, bundle.Attach(path, "attestations/b.dsse.json", envelope(t, path, b)))
	if !check(2, a, b) || !check(2, a, b, c) || check(3, a, b, c) {
		t.Error("two signatures count as something else than two")
	}
}

// BenchmarkRecorded is what each recording pays for its provenance.
func BenchmarkRecorded(b *testing.B) {
	m := someManifest()
	for _, n := range []int{6, 1000} {
		var files []bundle.File
		for i := range n {
			files = append(files, bundle.File{Path: fmt.Sprint("traces/rr/", i), SHA256: strings.Repeat("0", 64)})
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, err := Recorded(m, files, Run{Tapedeck: "v1", Finished: when}).Encode(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
