package bundle

import (
	"strconv"

	"go.yaml.in/yaml/v3"
)

// The YAML of a [File] is made and read by hand: by reflection, writing the
// manifest of a thousand files took half as long again.

// MarshalYAML writes one file on one line: a manifest of a thousand files
// stays one that a person can read.
func (f File) MarshalYAML() (any, error) {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Style: yaml.FlowStyle}
	add := func(name string, value *yaml.Node) { n.Content = append(n.Content, text(name), value) }
	add("path", text(f.Path))
	add("size", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(f.Size, 10)})
	for _, s := range []struct{ name, value string }{
		{"sha256", f.SHA256}, {"media_type", f.MediaType}, {"class", string(f.Class)}, {"encryption", f.Encryption},
	} {
		if s.value != "" {
			add(s.name, text(s.value))
		}
	}
	if f.PlainSize != nil {
		add("plain_size", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(*f.PlainSize, 10)})
	}
	if len(f.Extra) > 0 {
		var rest yaml.Node
		if err := rest.Encode(f.Extra); err != nil {
			return nil, err
		}
		n.Content = append(n.Content, rest.Content...)
	}
	return n, nil
}

// UnmarshalYAML is the reverse of [File.MarshalYAML].
func (f *File) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return &ManifestError{Field: "files", Line: n.Line, Need: "a mapping for each file", Found: describe(n)}
	}
	fields := map[string]*string{
		"path": &f.Path, "sha256": &f.SHA256, "media_type": &f.MediaType, "class": (*string)(&f.Class), "encryption": &f.Encryption,
	}
	seen := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i].Value, n.Content[i+1]
		if seen[name] {
			return &ManifestError{Field: "files: " + name, Line: n.Line, Need: "each field once", Found: "it twice"}
		}
		seen[name] = true
		switch field := fields[name]; {
		case name == "size", name == "plain_size":
			size, err := strconv.ParseInt(value.Value, 10, 64)
			if err != nil || value.Kind != yaml.ScalarNode {
				return &ManifestError{Field: "files: " + name, Line: value.Line, Need: "a number of bytes", Found: describe(value)}
			}
			if name == "size" {
				f.Size = size
			} else {
				f.PlainSize = &size
			}
		case field != nil:
			if value.Kind != yaml.ScalarNode {
				return &ManifestError{Field: "files: " + name, Line: value.Line, Need: "text", Found: describe(value)}
			}
			if value.ShortTag() != "!!null" {
				*field = value.Value
			}
		default:
			var v any
			if err := value.Decode(&v); err != nil {
				return err
			}
			if f.Extra == nil {
				f.Extra = map[string]any{}
			}
			f.Extra[name] = v
		}
	}
	return nil
}

func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}
