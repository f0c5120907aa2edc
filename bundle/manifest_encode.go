package bundle

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Encode writes the manifest as YAML. The same manifest always gives the same
// bytes.
func (m *Manifest) Encode() ([]byte, error) {
	if err := m.checkExtra(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(m); err != nil {
		return nil, err
	}
	err := enc.Close()
	return b.Bytes(), err
}

// node is the manifest as a tree, for what isn't YAML.
func (m *Manifest) node() (*yaml.Node, error) {
	if err := m.checkExtra(); err != nil {
		return nil, err
	}
	var n yaml.Node
	if err := n.Encode(m); err != nil {
		return nil, err
	}
	return &n, nil
}

// Unknown lists the fields that this version of the format doesn't know, such
// as "origin.cluster". They are kept and mean nothing to this program.
func (m *Manifest) Unknown() []string {
	var list []string
	m.eachExtra(func(at string, known reflect.Type, extra map[string]any) {
		for _, k := range slices.Sorted(maps.Keys(extra)) {
			if at == "inputs." && isPlace(k) {
				continue // other protocols: the manifest is open for them
			}
			list = append(list, at+k)
		}
	})
	return list
}

// checkExtra refuses Extra keys that are fields already; the YAML library
// would panic on them.
func (m *Manifest) checkExtra() error {
	var bad error
	m.eachExtra(func(at string, known reflect.Type, extra map[string]any) {
		for i := range known.NumField() {
			name, _, _ := strings.Cut(known.Field(i).Tag.Get("yaml"), ",")
			if _, twice := extra[name]; twice && name != "" && bad == nil {
				bad = &ManifestError{Field: at + name, Need: "the field itself", Found: "a key of Extra"}
			}
		}
	})
	return bad
}

func (m *Manifest) eachExtra(visit func(at string, known reflect.Type, extra map[string]any)) {
	visit("", reflect.TypeFor[Manifest](), m.Extra)
	visit("origin.", reflect.TypeFor[Origin](), m.Origin.Extra)
	visit("inputs.", reflect.TypeFor[Inputs](), m.Inputs.Extra)
	visit("privacy.", reflect.TypeFor[Privacy](), m.Privacy.Extra)
	for i, r := range m.Privacy.Redaction {
		visit(item("privacy.redaction", i), reflect.TypeFor[Redaction](), r.Extra)
	}
	for i, a := range m.Attestations {
		visit(item("attestations", i), reflect.TypeFor[Attestation](), a.Extra)
	}
	for i, l := range m.Lossy {
		visit(item("lossy", i), reflect.TypeFor[Loss](), l.Extra)
	}
	for i, k := range m.Keys {
		visit(item("keys", i), reflect.TypeFor[Key](), k.Extra)
		for j, c := range k.Copies {
			visit(item(item("keys", i)+"copies", j), reflect.TypeFor[WrappedKey](), c.Extra)
		}
	}
	for i, f := range m.Files {
		visit(item("files", i), reflect.TypeFor[File](), f.Extra)
	}
}

func item(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]." }
