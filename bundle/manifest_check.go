package bundle

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Check tells whether the manifest is consistent: safe paths that occur once,
// digests that can be digests, known classes, keys that exist. A manifest
// without an id, a date or digests is fine here, since others write such; a
// [Writer] asks for more.
func (m *Manifest) Check() error {
	if m.Version.Major < 1 || m.Version.Major > MajorVersion {
		return &ManifestError{Field: "version", Need: fmt.Sprint(MajorVersion), Found: m.Version.String()}
	}
	for i, r := range m.Recorders {
		if r.Kind() == "" {
			return &ManifestError{Field: item("recorders", i) + "kind", Need: "the recorder's name", Found: "none"}
		}
	}
	if err := m.checkPlaces(); err != nil {
		return err
	}
	keys := map[string]bool{"": true}
	for i, k := range m.Keys {
		if keys[k.ID] {
			return &ManifestError{Field: item("keys", i) + "id", Need: "an id of its own", Found: fmt.Sprintf("%.40q", k.ID)}
		}
		keys[k.ID] = true
	}
	seen := make(map[string]bool, len(m.Files))
	for i, f := range m.Files {
		if err := f.check(); err != nil {
			err.Field = item("files", i) + err.Field
			return err
		}
		if f.Path == ManifestName {
			return &ManifestError{Field: item("files", i) + "path", Need: "a file other than the manifest", Found: ManifestName}
		}
		if seen[f.Path] {
			return &ManifestError{Field: item("files", i) + "path", Need: "a path of its own", Found: fmt.Sprintf("%.80q again", f.Path)}
		}
		seen[f.Path] = true
		if !keys[f.Encryption] {
			return &ManifestError{Field: item("files", i) + "encryption", Need: "the id of an entry of keys", Found: fmt.Sprintf("%.40q", f.Encryption)}
		}
	}
	return nil
}

func (f *File) check() *ManifestError {
	if err := CheckPath(f.Path); err != nil {
		return &ManifestError{Field: "path", Need: "a safe relative path", Found: fmt.Sprintf("%.80q", f.Path)}
	}
	if f.Size < 0 {
		return &ManifestError{Field: "size", Need: "a size", Found: fmt.Sprint(f.Size)}
	}
	if f.PlainSize != nil && *f.PlainSize < 0 {
		return &ManifestError{Field: "plain_size", Need: "a size", Found: fmt.Sprint(*f.PlainSize)}
	}
	if f.SHA256 != "" {
		if _, err := hex.DecodeString(f.SHA256); err != nil || len(f.SHA256) != 64 || strings.ToLower(f.SHA256) != f.SHA256 {
			return &ManifestError{Field: "sha256", Need: "64 lower-case hexadecimal digits", Found: fmt.Sprintf("%.80q", f.SHA256)}
		}
	}
	switch f.Class {
	case "", Public, Internal, Restricted:
	default:
		return &ManifestError{Field: "class", Need: "public, internal or restricted", Found: fmt.Sprintf("%.40q", f.Class)}
	}
	return nil
}

// checkPlaces looks at the fields that say where in the bundle something is,
// for the sake of whoever joins them with the folder that it was unpacked to.
func (m *Manifest) checkPlaces() error {
	places := map[string]string{
		"inputs.time_stream": m.Inputs.TimeStream, "inputs.order_stream": m.Inputs.OrderStream,
		"inputs.network_cassette": m.Inputs.NetworkCassette, "inputs.db_cassette": m.Inputs.DBCassette,
		"privacy.report": m.Privacy.Report,
	}
	for k, v := range m.Inputs.Extra {
		if s, ok := v.(string); ok && isPlace(k) {
			places["inputs."+k] = s
		}
	}
	for i, a := range m.Attestations {
		places[item("attestations", i)+"file"] = a.File
	}
	for i, r := range m.Recorders {
		for _, k := range []string{"rr_trace_dir", "jfr_file", "bpf_profile"} {
			places[item("recorders", i)+k] = r.String(k)
		}
	}
	for _, field := range slices.Sorted(maps.Keys(places)) {
		if place := places[field]; place != "" && CheckPath(strings.TrimSuffix(place, "/")) != nil {
			return &ManifestError{Field: field, Need: "a path in the bundle", Found: fmt.Sprintf("%.80q", place)}
		}
	}
	return nil
}

// isPlace tells whether a field of inputs is one that other protocols have.
func isPlace(field string) bool {
	return strings.HasSuffix(field, "_cassette") || strings.HasSuffix(field, "_stream")
}
