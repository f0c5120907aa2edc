package bundle

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// validate checks a manifest against the published schema, by a library that
// isn't ours. It goes through JSON, as any user of the schema would.
func validate(t *testing.T, m *Manifest) error {
	t.Helper()
	doc, err := json.Marshal(m)
	must(t, err)
	return validateJSON(t, doc)
}

func validateJSON(t *testing.T, doc []byte) error {
	t.Helper()
	s, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	must(t, err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	must(t, c.AddResource("manifest.json", s))
	sch, err := c.Compile("manifest.json")
	must(t, err)
	inst, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	must(t, err)
	return sch.Validate(inst)
}

func TestSchemaAccepts(t *testing.T) {
	example, err := os.ReadFile("testdata/manifest-example.yaml")
	must(t, err)
	for _, text := range []string{string(example), futureManifest, smallManifest} {
		m, err := ParseManifest([]byte(text))
		must(t, err)
		if err := validate(t, m); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
	m := testManifest()
	write(t, m, file("traces/vm/log", "x"), file("inputs/a b", ""))
	if err := validate(t, m); err != nil {
		t.Errorf("of a bundle just written: %v", err)
	}
}

// TestSchemaAndParserAgree: what the one refuses, the other does too.
func TestSchemaAndParserAgree(t *testing.T) {
	hash := strings.Repeat("a", 64)
	for _, text := range []string{
		`[]`,
		`{"recorders": []}`,
		`{"version": "x", "recorders": []}`,
		`{"version": 0, "recorders": []}`,
		`{"version": 2, "recorders": []}`,
		`{"version": 1, "recorders": {}}`,
		`{"version": 1, "recorders": [{}]}`,
		`{"version": 1, "recorders": [{"kind": ""}]}`,
		`{"version": 1, "recorders": [], "created_at": "yesterday"}`,
		`{"version": 1, "recorders": [], "origin": 1}`,
		`{"version": 1, "recorders": [], "inputs": {"random_seed": -1}}`,
		`{"version": 1, "recorders": [], "inputs": {"random_seed": 18446744073709551616}}`,
		`{"version": 1, "recorders": [{"kind": "rr", "rr_trace_dir": "/tmp/rr"}]}`,
		`{"version": 1, "recorders": [], "inputs": {"redis_cassette": "../x"}}`,
		`{"version": 1, "recorders": [], "env": {"a": {}}}`,
		`{"version": 1, "recorders": [], "env": []}`,
		`{"version": 1, "recorders": [], "files": [{"path": "", "size": 1}]}`,
		`{"version": 1, "recorders": [], "files": [{"path": "/a", "size": 1}]}`,
		`{"version": 1, "recorders": [], "files": [{"path": "a/../b", "size": 1}]}`,
		`{"version": 1, "recorders": [], "files": [{"path": "a/", "size": 1}]}`,
		`{"version": 1, "recorders": [], "files": [{"path": "a\\b", "size": 1}]}`,
		`{"version": 1, "recorders": [], "files": [{"path": "a\nb", "size": 1}]}`,
		`{"version": 1, "recorders": [], "files": [{"path": "a", "size": -1}]}`,
		`{"version": 1, "recorders": [], "files": [{"path": "a", "size": "1x"}]}`,
		`{"version": 1, "recorders": [], "files": [{"path": "a", "size": 1, "sha256": "` + hash[1:] + `"}]}`,
		`{"version": 1, "recorders": [], "files": [{"path": "a", "size": 1, "sha256": "` + strings.ToUpper(hash) + `"}]}`,
		`{"version": 1, "recorders": [], "files": [{"path": "a", "size": 1, "class": "secret"}]}`,
		`{"version": 1, "recorders": [], "files": [{"path": "a", "size": 1, "plain_size": -1}]}`,
		`{"version": 1, "recorders": [], "keys": [{"id": "a", "scheme": "s", "key_ref": "r", "copies": "b"}]}`,
	} {
		if err := validateJSON(t, []byte(text)); err == nil {
			t.Errorf("the schema takes %s", text)
		}
		if _, err := ParseManifest([]byte(text)); err == nil {
			t.Errorf("the parser takes %s", text)
		}
	}
}
