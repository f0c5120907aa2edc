package attest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

const samplePolicy = `version: 1
signatures:
  threshold: 2
  keys:
    - name: ci
      file: ci.pub
    - pem: |
%s
builders: [https://ci.example.org/tapedeck]
recorders: [vm, rr]
max_age: 30d
redaction:
  - path: inputs/http_vcr/**
    rulesets: [gdpr_default, pci]
encrypted: [restricted]
attestations: [slsa_provenance, sbom]
`

func indent(text []byte) string {
	return "        " + strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n        ")
}

func TestLoadPolicy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := newKey(t).Public(), newECDSA(t).Public()
	must(t, os.WriteFile(filepath.Join(dir, "ci.pub"), a.PEM(), 0o600))
	file := filepath.Join(dir, "policy.yaml")
	must(t, os.WriteFile(file, fmt.Appendf(nil, samplePolicy, indent(b.PEM())), 0o600))
	p, err := LoadPolicy(file)
	must(t, err)
	if len(p.Signers) != 2 || p.Signers[0].Name != "ci" || p.Signers[0].Key.ID() != a.ID() || p.Signers[1].Key.ID() != b.ID() {
		t.Errorf("signers %+v", p.Signers)
	}
	p.Signers = nil
	want := &Policy{Threshold: 2, Builders: []string{"https://ci.example.org/tapedeck"}, Recorders: []string{"vm", "rr"}, MaxAge: 720 * time.Hour,
		Redaction: []Redaction{{"inputs/http_vcr/**", []string{"gdpr_default", "pci"}}}, Encrypted: []bundle.Class{bundle.Restricted},
		Attestations: []string{"slsa_provenance", "sbom"}}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got %+v, want %+v", p, want)
	}
	// Key files are found from elsewhere too, and one that is missing is named.
	must(t, os.Remove(filepath.Join(dir, "ci.pub")))
	if _, err = LoadPolicy(file); err == nil || !strings.Contains(err.Error(), "ci.pub: need a public key, found no such file") {
		t.Errorf("%v", err)
	}
}

func TestPolicyErrors(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	pub := indent(k.Public().PEM())
	const keys = "version: 1\nsignatures:\n  keys:\n"
	for _, c := range []struct{ text, want, hint string }{
		{"", "p.yaml: need a policy, found an empty file", "version: 1"},
		{"version: 2\n", "p.yaml:1:10: version: need 1, found \"2\"", ""},
		{"version: one\n", "p.yaml:1:10: version: need 1", ""},
		{"recorders: [vm]\n", "p.yaml:1:1: version: need this field, found none", ""},
		{"version: 1\nredactoin: []\n", `p.yaml:2:1: need one of the fields attestations, builders, encrypted, max_age, recorders, redaction, signatures, version, found "redactoin"`, `did you mean "redaction"?`},
		{"version: 1\nversion: 1\n", "version", ""},
		{"version: 1\nrecorders: vm\n", `p.yaml:2:12: recorders: need a list of a recorder's kind, such as vm, found "vm"`, ""},
		{"version: 1\nrecorders: []\n", "p.yaml:2:12: recorders: need 1 to 1000 entries, found 0", "leave the field out"},
		{"version: 1\nrecorders: [vm, 3]\n", `p.yaml:2:17: recorders[1]: need a recorder's kind, such as vm, found "3"`, ""},
		{"version: 1\nencrypted: [secret]\n", `p.yaml:2:13: encrypted[0]: need one of public, internal, restricted, found "secret"`, ""},
		{"version: 1\nmax_age: soon\n", `p.yaml:2:10: max_age: need a time such as 30d or 12h, found "soon"`, ""},
		{"version: 1\nmax_age: -3h\n", "max_age: need", ""},
		{"version: 1\nmax_age: 99999999d\n", "max_age: need", ""},
		{"version: 1\nmax_age: 30\n", "max_age: need", ""},
		{"version: 1\nbuilders: [https://x]\n", "builders: need signatures too, found none", "anybody can write"},
		{"version: 1\nsignatures: {}\n", "p.yaml:2:13: signatures.keys: need this field", ""},
		{keys + "    - name: x\n", "p.yaml:4:7: signatures.keys[0]: need file or pem, found neither", ""},
		{keys + "    - fil: x\n", `found "fil"`, `did you mean "file"?`},
		{keys + "    - pem: |\n" + pub + "\n    - pem: |\n" + pub + "\n", "signatures.keys[1]: need a key of its own", ""},
		{keys + "    - file: a\n      pem: b\n", "need either file or pem, found both", ""},
		{keys + "    - pem: x\n", "p.yaml:4:7: signatures.keys[0].pem: need a key in PEM, found no PEM block", ""},
		{"version: 1\nsignatures:\n  threshold: 2\n  keys:\n    - pem: |\n" + pub + "\n", "p.yaml:3:14: signatures.threshold: need at most the number of keys, 1, found 2", ""},
		{"version: 1\nsignatures:\n  threshold: 0\n", "p.yaml:3:14: signatures.threshold: need a number from 1 to 1000", ""},
		{"version: 1\nredaction:\n  - path: ../x\n", `p.yaml:3:11: redaction[0].path: need a path in the bundle`, ""},
		{"version: 1\nredaction:\n  - path: 'a/[x'\n", "need a path in the bundle", ""},
		{"version: 1\nredaction:\n  - path: a\n", "redaction[0].rulesets: need this field", ""},
		{"version: &a 1\nmax_age: *a\n", "need the text itself, found an anchor or alias", "write it out"},
		{"version: 1\n---\nversion: 1\n", "need one document", ""},
		{"version: 1\n\tx: 1\n", "p.yaml:2:1: need YAML, found", ""},
		{"[]", "p.yaml:1:1: need fields such as attestations, found a list", ""},
		{strings.Repeat(" ", maxPolicy+1), "need at most", ""},
	} {
		_, err := ParsePolicy("p.yaml", []byte(c.text), ReadPublic)
		var pe *PolicyError
		if !errors.As(err, &pe) || !strings.Contains(err.Error(), c.want) || !strings.Contains(pe.Hint(), c.hint) {
			t.Errorf("%.60q:\ngot  %v (hint %q)\nwant %s (hint %q)", c.text, err, hint(err), c.want, c.hint)
		}
	}
}

func hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// TestPolicyRules breaks one rule at a time.
func TestPolicyRules(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		policy Policy
		change func(m *bundle.Manifest, files map[string]string)
		want   string // "" is fulfilled
	}{
		"nothing asked":  {Policy{}, nil, ""},
		"recorder":       {Policy{Recorders: []string{"vm"}}, nil, ""},
		"other recorder": {Policy{Recorders: []string{"rr", "jfr"}}, nil, `recorders: need only rr, jfr, found "vm"`},
		"second recorder": {Policy{Recorders: []string{"vm"}}, func(m *bundle.Manifest, _ map[string]string) {
			m.Recorders = append(m.Recorders, bundle.Recorder{"kind": "ebpf"})
		}, `found "ebpf"`},
		"no recorder":    {Policy{Recorders: []string{"vm"}}, func(m *bundle.Manifest, _ map[string]string) { m.Recorders = nil }, "found none"},
		"young":          {Policy{MaxAge: 2 * time.Hour}, nil, ""},
		"old":            {Policy{MaxAge: 30 * time.Minute}, nil, "max_age: need a recording of the last 30m0s, found 2025-01-03T12:34:56Z"},
		"from tomorrow":  {Policy{MaxAge: time.Hour}, func(m *bundle.Manifest, _ map[string]string) { m.CreatedAt = when.Add(24 * time.Hour) }, "max_age"},
		"scrubbed":       {Policy{Redaction: []Redaction{{"inputs/**", []string{"gdpr_default"}}}}, nil, ""},
		"other rules":    {Policy{Redaction: []Redaction{{"inputs/**", []string{"gdpr_default", "pci"}}}}, nil, "redaction: need rule set pci applied to inputs/**, found not to inputs/http_vcr/a.warc"},
		"not everywhere": {Policy{Redaction: []Redaction{{"**", []string{"gdpr_default"}}}}, nil, "not to traces/vm/replay.log"},
		"by name": {Policy{Redaction: []Redaction{{"inputs/**", []string{"pci"}}}}, func(m *bundle.Manifest, _ map[string]string) {
			m.Privacy.Redaction = append(m.Privacy.Redaction, bundle.Redaction{Path: "inputs/http_vcr/a.warc", Ruleset: "pci"})
		}, ""},
		"nothing there":   {Policy{Redaction: []Redaction{{"inputs/sql/**", []string{"pci"}}}}, nil, ""},
		"in clear":        {Policy{Encrypted: []bundle.Class{bundle.Restricted}}, nil, "encrypted: need files of class restricted to be encrypted, found traces/vm/replay.log in clear"},
		"class not there": {Policy{Encrypted: []bundle.Class{bundle.Public}}, nil, ""},
		"attestations":    {Policy{Attestations: []string{ProvenanceKind, SBOMKind}}, nil, ""},
		"none of a kind":  {Policy{Attestations: []string{"vsa"}}, nil, "attestations: need a vsa that fits the bundle, found none"},
		"no sbom": {Policy{Attestations: []string{SBOMKind}}, func(m *bundle.Manifest, files map[string]string) { delete(files, SBOMFile) },
			"attestations: need a sbom"},
		"empty sbom":        {Policy{Attestations: []string{SBOMKind}}, func(_ *bundle.Manifest, f map[string]string) { f[SBOMFile] = "{}" }, "need an SPDX-2.3 document"},
		"broken provenance": {Policy{Attestations: []string{ProvenanceKind}}, func(_ *bundle.Manifest, f map[string]string) { f[ProvenanceFile] = "{}" }, "_type: need"},
		"unsigned":          {Policy{Signers: signers(newKey(t)), Threshold: 1}, nil, "signatures: need signatures of 1 of the policy's 1 keys, found none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, files := someManifest(), map[string]string{}
			for k, v := range someFiles {
				files[k] = v
			}
			if c.change != nil {
				c.change(m, files)
			}
			v, err := c.policy.Check(open(t, write(t, m, files)), when.Add(time.Hour))
			must(t, err)
			if c.want == "" && (!v.OK || len(v.Violations) > 0) {
				t.Errorf("refused: %v", v.Violations)
			}
			if c.want != "" && (v.OK || len(v.Violations) != 1 || !strings.Contains(v.Violations[0].String(), c.want)) {
				t.Errorf("want %q, got %v", c.want, v.Violations)
			}
		})
	}
}

func TestMatchPath(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"**", "a/b/c", true}, {"a/**", "a/b/c", true}, {"a/**", "ab/c", false}, {"a/**/c", "a/c", true}, {"a/**/c", "a/x/y/c", true},
		{"a/**/c", "a/x/y/d", false}, {"a/*", "a/b", true}, {"a/*", "a/b/c", false}, {"*.json", "x.json", true}, {"a/", "a", true},
		{"**/x.json", "x.json", true}, {"a", "a/b", false}, {"a/b", "a", false}, {"[", "[", false},
		{strings.Repeat("**/", 300) + "x", strings.Repeat("a/", 300) + "y", false}, // must end soon
	} {
		if matchPath(c.pattern, c.path) != c.want {
			t.Errorf("%.40s on %.40s: got %v", c.pattern, c.path, !c.want)
		}
	}
}

// TestPolicyOfDocs: the reference shows a policy that loads.
func TestPolicyOfDocs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/attestations.md")
	must(t, err)
	_, rest, ok := strings.Cut(string(text), "```yaml\n")
	sample, _, _ := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/attestations.md has no policy")
	}
	p, err := ParsePolicy("docs", []byte(sample), func(string) (*PublicKey, error) { return newKey(t).Public(), nil })
	must(t, err)
	if p.Threshold == 0 || len(p.Builders) == 0 || len(p.Recorders) == 0 || p.MaxAge == 0 || len(p.Redaction) == 0 || len(p.Encrypted) == 0 || len(p.Attestations) == 0 {
		t.Errorf("the docs leave a field out: %+v", p)
	}
}
