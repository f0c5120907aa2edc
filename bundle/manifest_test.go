package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestExampleManifest holds every field of the example, and nothing else,
// against what is parsed.
func TestExampleManifest(t *testing.T) {
	text, err := os.ReadFile("testdata/manifest-example.yaml")
	must(t, err)
	got, err := ParseManifest(text)
	must(t, err)
	seed := uint64(12903812098)
	want := &Manifest{
		Version:   Version{Major: 1},
		BundleID:  "2cbe4f7c-b52f-4b60-9b19-fb2c1a4b8e4b",
		CreatedAt: when,
		Origin: Origin{
			Env: "production", Region: "us-east-1", Service: "payments", Revision: "git:3c1ab73",
			OCIImage: "ghcr.io/acme/payments@sha256:8a5...", OTelTraceID: "8f2d67e7a6...",
		},
		Recorders: []Recorder{
			{"kind": "rr", "kernel": "6.6.7-200.fc39.x86_64", "rr_version": "5.7.0", "command": []any{"/app/bin/payments", "--serve"}, "rr_trace_dir": "traces/rr/trace-0001"},
			{"kind": "jfr", "jfr_file": "traces/jfr/incident.jfr", "jvm": "openjdk-21"},
			{"kind": "ebpf", "bpf_profile": "traces/ebpf/profile.parquet"},
		},
		Inputs:       Inputs{TimeStream: "inputs/time.ndjson", RandomSeed: &seed, NetworkCassette: "inputs/http_vcr/", DBCassette: "inputs/sql_vcr.sqlite"},
		Env:          map[string]string{"TZ": "UTC", "FEATURE_FLAGS": "checkout_v2=false"},
		Privacy:      Privacy{Schema: "v1", PIIHashSaltKDF: "argon2id:saltref:secrets/kms_salt", Redaction: []Redaction{{Path: "inputs/http_vcr/**", Ruleset: "gdpr_default"}}},
		Attestations: []Attestation{{Type: "slsa_provenance", File: "attestations/slsa.json"}, {Type: "sbom", File: "attestations/sbom.spdx.json"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if u := got.Unknown(); len(u) != 0 {
		t.Errorf("unknown: %q", u)
	}
}

const futureManifest = `version: 1.2
bundle_id: x
created_at: 2025-01-03T12:34:56Z
mood: [good, {very: true}]
origin: {service: s, cluster: c7}
recorders: [{kind: rr, rr_trace_dir: traces/rr, anything: {goes: here}}]
inputs: {redis_cassette: inputs/redis.ndjson, dns_stream: inputs/dns.ndjson, weather: sunny}
privacy: {schema: v1, officer: kim, redaction: [{path: a, ruleset: b, since: 3}]}
attestations: [{type: sbom, file: attestations/s.json, tool: syft}]
lossy: [{source: ebpf, reason: ring buffer full, lost: 12, from: 2025-01-03T12:00:00Z, to: 2025-01-03T12:00:01.5Z, cpu: 3}]
keys: [{id: k1, scheme: aes-256-gcm, key_ref: "kms://a/b", wrapped_key: AAAA, rotated: false}]
files: [{path: traces/rr/data, size: 5, encryption: k1, class: restricted, origin: host7}]
toolchain: {tapedeck: 1.0.0, qemu: {version: 10.1}}
`

// TestUnknownFieldsSurvive: what this version doesn't know is named, and is
// still there after reading and writing, as YAML and as JSON.
func TestUnknownFieldsSurvive(t *testing.T) {
	m, err := ParseManifest([]byte(futureManifest))
	must(t, err)
	want := []string{"mood", "origin.cluster", "inputs.weather", "privacy.officer", "privacy.redaction[0].since", "attestations[0].tool", "lossy[0].cpu", "keys[0].rotated", "files[0].origin"}
	if got := m.Unknown(); !slices.Equal(got, want) {
		t.Errorf("unknown: got %q, want %q", got, want)
	}
	asYAML, err := m.Encode()
	must(t, err)
	asJSON, err := json.Marshal(m)
	must(t, err)
	for _, text := range [][]byte{asYAML, asJSON} {
		again, err := ParseManifest(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if !reflect.DeepEqual(again, m) {
			t.Errorf("got  %+v\nwant %+v\nfrom %s", again, m, text)
		}
	}
	if !strings.Contains(string(asYAML), "- {path: traces/rr/data, size: 5,") {
		t.Errorf("a file takes more than one line:\n%s", asYAML)
	}
	if m.Version.String() != "1.2" || *m.Lossy[0].Lost != 12 {
		t.Errorf("%+v", m)
	}
}

// TestJSONUnderYAMLName has what JSON allows and YAML doesn't.
func TestJSONUnderYAMLName(t *testing.T) {
	m, err := ParseManifest([]byte("\n{\t\"version\": 1,\n\t\"recorders\": [],\n\t\"bundle_id\": \"\\ud83d\\ude00 \\/\", \"created_at\": \"2025-01-03T12:34:56Z\",\n\t\"inputs\": {\"random_seed\": 18446744073709551615}}\n"))
	must(t, err)
	if m.BundleID != "😀 /" || *m.Inputs.RandomSeed != 1<<64-1 || !m.CreatedAt.Equal(when) {
		t.Errorf("%+v", m)
	}
}

func TestManifestErrors(t *testing.T) {
	hash := strings.Repeat("a", 64)
	tests := []struct{ name, text, want string }{
		{"empty", "", "need a manifest, found an empty document"},
		{"list", "- 1", "need a mapping, found a list"},
		{"no version", "recorders: []", "version: need a version such as 1, found none"},
		{"odd version", "version: one", `trace_bundle.yaml:1: version: need a version such as 1, found "one"`},
		{"version zero", "version: 0", `found "0"`},
		{"syntax", "version: 1\norigin: {", "trace_bundle.yaml:"},
		{"two documents", "version: 1\n---\nversion: 1", "need one YAML document"},
		{"type", "version: 1\nrecorders: 5", "trace_bundle.yaml:2: need a well-formed manifest"},
		{"twice", "version: 1\nversion: 1", "already defined"},
		{"json twice", `{"version": 1, "env": {"a": "1", "a": "2"}}`, "already defined"},
		{"file field twice", "version: 1\nfiles: [{path: a, path: b}]", "need each field once"},
		{"recorder", "version: 1\nrecorders: [{}]", "recorders[0].kind: need the recorder's name"},
		{"seed", "version: 1\ninputs: {random_seed: -5}", "cannot unmarshal"},
		{"path", "version: 1\nfiles: [{path: ../a, size: 1}]", `files[0].path: need a safe relative path, found "../a"`},
		{"self", "version: 1\nfiles: [{path: trace_bundle.yaml, size: 1}]", "need a file other than the manifest"},
		{"same path", "version: 1\nfiles: [{path: a, size: 1}, {path: a, size: 1}]", "files[1].path: need a path of its own"},
		{"size", "version: 1\nfiles: [{path: a, size: -1}]", "files[0].size: need a size, found -1"},
		{"size text", "version: 1\nfiles: [{path: a, size: big}]", `need a number of bytes, found "big"`},
		{"hash", "version: 1\nfiles: [{path: a, size: 1, sha256: abc}]", "need 64 lower-case hexadecimal digits"},
		{"upper hash", "version: 1\nfiles: [{path: a, size: 1, sha256: " + strings.ToUpper(hash) + "}]", "need 64 lower-case"},
		{"class", "version: 1\nfiles: [{path: a, size: 1, class: secret}]", "need public, internal or restricted"},
		{"key", "version: 1\nfiles: [{path: a, size: 1, encryption: k}]", "need the id of an entry of keys"},
		{"keys", "version: 1\nkeys: [{id: k}, {id: k}]", "keys[1].id: need an id of its own"},
		{"rr outside", "version: 1\nrecorders: [{kind: rr, rr_trace_dir: ../../home}]", `recorders[0].rr_trace_dir: need a path in the bundle, found "../../home"`},
		{"cassette outside", "version: 1\ninputs: {network_cassette: /etc/}", "inputs.network_cassette: need a path in the bundle"},
		{"other cassette outside", "version: 1\ninputs: {redis_cassette: ../x}", "inputs.redis_cassette: need a path in the bundle"},
		{"attestation outside", "version: 1\nattestations: [{type: sbom, file: /x}]", "attestations[0].file: need a path in the bundle"},
		{"report outside", "version: 1\nprivacy: {report: a/../../b}", "privacy.report: need a path in the bundle"},
		{"alias", "version: 1\nenv: &e {a: b}\ntoolchain: *e", "found a YAML anchor or alias"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseManifest([]byte(tt.text))
			var bad *ManifestError
			if !errors.As(err, &bad) || !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestNewerManifest(t *testing.T) {
	// All else may have changed: only the version counts.
	for _, text := range []string{"version: 2\nrecorders: {rr: 1}\nfiles: none", `{"version": "2.1", "recorders": 7}`} {
		_, err := ParseManifest([]byte(text))
		var newer *NewerError
		if !errors.As(err, &newer) || newer.Found.Major != 2 || errors.Is(err, ErrDamaged) {
			t.Errorf("got %v", err)
		}
	}
}

// TestManifestBombs: small texts that could take much memory or stack.
func TestManifestBombs(t *testing.T) {
	laughs := "version: 1\na: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'j'; c++ {
		laughs += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 9))
	}
	tests := map[string]string{
		"aliases":    laughs,
		"self":       "version: 1\na: &a [*a]\n",
		"depth":      "version: 1\na: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"endless":    "version: 1\na: " + strings.Repeat("[", 100_000),
		"json depth": `{"version": 1, "a": ` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}",
		"tokens":     "version: 1\na: [" + strings.Repeat("a,", 3_000_000) + "]",
		"indents":    "version: 1\na: \n" + strings.Repeat("- ", 100_000),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseManifest([]byte(text)); !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestExtraMayNotShadow: the YAML library panics on what we refuse.
func TestExtraMayNotShadow(t *testing.T) {
	m := testManifest()
	m.Version.Major = 1
	m.Extra = map[string]any{"version": 2}
	if _, err := m.Encode(); err == nil {
		t.Error("no error")
	}
	m.Extra = nil
	m.Files = []File{{Path: "a", Extra: map[string]any{"path": "b"}}}
	if _, err := json.Marshal(m); err == nil {
		t.Error("no error")
	}
}

// TestOddStrings: text that YAML would take for something else comes back.
func TestOddStrings(t *testing.T) {
	m := testManifest()
	m.Version.Major = 1
	for i, s := range []string{"true", "null", "~", "1e3", "0x10", "2025-01-03", " lead", "trail ", "a: b", "# c", "multi\nline", "- x", "'", `"`, "{", "\t", "é", "\u2028", "=", "<<", "yes"} {
		m.Recorders = append(m.Recorders, Recorder{"kind": s, "x": s})
		m.Files = append(m.Files, File{Path: fmt.Sprintf("f%d", i), MediaType: s})
	}
	text, err := m.Encode()
	must(t, err)
	again, err := ParseManifest(text)
	must(t, err)
	if !reflect.DeepEqual(again, m) {
		t.Errorf("got  %+v\nwant %+v\nfrom %s", again, m, text)
	}
}

// TestShortWay: the list of files that is read by hand is what the YAML library
// reads, and texts that only look like one don't fool it.
func TestShortWay(t *testing.T) {
	list := "\nfiles:\n  - {path: a/b, size: 3, sha256: " + sumOfX + ", media_type: text/plain, class: public}\n  - {path: c, size: 0}\n"
	for _, text := range []string{
		"version: 1\nrecorders: []" + list,
		"version: 1\nrecorders: []\nfiles: []" + list,
		"version: 1\nfiles:" + list,
		"version: 1\nfiles: ~" + list,
		"version: 1\n\"files\": ~" + list,
		"version: 1\nbundle_id: \"x" + list + "\"\n",
		"version: 1\nbundle_id: \"x" + list,
		"version: 1\norigin: {service: a" + list,
		"version: 1\nbundle_id: |" + list,
		"version: 1\nbundle_id: x" + list,
		"version: 1\nbundle_id:" + list,
		"version: 1\n? x" + list,
		"version: 1\n---" + list,
		"version: 1\nx: &a" + list, // an anchor of nothing, and refused as such
		"# x" + list,
		"version: 1" + list + "extra: 1\n",
		"version: 1" + list + "  - {path: 'it''s', size: 1}\n",
		"version: 1" + list + "  - {path: d, size: 1, x: 1}\n",
		"version: 1" + list + "  - {path: null, size: 1}\n",
		"version: 1" + list + "  - {path: d, size: 010}\n",
		"version: 1" + list + "  - {path: d, size: 1, }\n",
		"version: 1" + list + "  - {path: d, size: 1, class: public, class: internal}\n",
		"version: 1" + list + "  - {path: d, size: 1, class: public, sha256: " + sumOfX + "}\n",
	} {
		fast, fastErr := ParseManifest([]byte(text))
		slow, slowErr := parseManifest([]byte(text), nil)
		if slowErr == nil {
			slowErr = slow.Check()
		}
		if fmt.Sprint(fastErr) != fmt.Sprint(slowErr) || slowErr == nil && !reflect.DeepEqual(fast, slow) {
			t.Errorf("%q\nshort way: %+v, %v\nlong way:  %+v, %v", text, fast, fastErr, slow, slowErr)
		}
	}
	m := testManifest()
	path := write(t, m, file("traces/vm/replay.log", "x"), file("a+b-c_d.warc.gz", "x"))
	if _, files, ok := cutFiles(open(t, path).ManifestBytes()); !ok || !reflect.DeepEqual(files, m.Files) {
		t.Errorf("the manifest of a new bundle takes the long way: %v %+v", ok, files)
	}
}
