package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// maxTokens bounds what a parsed manifest takes in memory, about 200 bytes
	// a token. A file entry has some thirteen.
	maxTokens = 2_000_000
	// maxDepth is how deep a manifest may nest.
	maxDepth = 64
)

// ParseManifest reads a manifest, YAML or JSON. It checks the version first and
// then that everything is of the right type and consistent, see
// [Manifest.Check].
func ParseManifest(data []byte) (*Manifest, error) {
	if head, files, ok := cutFiles(data); ok {
		// What is wrong is better said with the whole text at hand.
		if m, err := parseManifest(head, files); err == nil {
			return m, m.Check()
		}
	}
	m, err := parseManifest(data, nil)
	if err != nil {
		return nil, err
	}
	return m, m.Check()
}

// parseManifest reads a manifest whose list of files was read before, if files
// is not nil.
func parseManifest(data []byte, files []File) (*Manifest, error) {
	root, err := parseNode(data)
	if err != nil {
		return nil, err
	}
	if root.Kind != yaml.MappingNode {
		return nil, &ManifestError{Line: root.Line, Need: "a mapping", Found: describe(root)}
	}
	if err := checkVersion(root); err != nil {
		return nil, err
	}
	m := &Manifest{}
	if err := root.Decode(m); err != nil {
		return nil, typeError(err)
	}
	if files != nil {
		if child(root, "files") != nil {
			return nil, &ManifestError{Field: "files", Need: "one list", Found: "two"}
		}
		m.Files = files
	}
	return m, nil
}

func parseNode(data []byte) (*yaml.Node, error) {
	if n := countTokens(data); n > maxTokens {
		return nil, &LimitError{Path: ManifestName, What: "values", Limit: maxTokens, Found: int64(n)}
	}
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' && json.Valid(data) {
		// Not every JSON text is YAML: tabs, and characters escaped in pairs.
		return parseJSON(data)
	}
	return parseYAML(data)
}

func parseYAML(data []byte) (*yaml.Node, error) {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, &ManifestError{Need: "a manifest", Found: "an empty document"}
		}
		return nil, typeError(err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, &ManifestError{Need: "one YAML document", Found: "more behind it"}
	}
	root := doc.Content[0]
	if err := checkTree(root, 0); err != nil {
		return nil, err
	}
	return root, nil
}

// checkTree refuses aliases, since a few lines of them stand for any amount of
// data and no writer of manifests needs them, and nesting without end.
func checkTree(n *yaml.Node, depth int) error {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return &ManifestError{Line: n.Line, Need: "plain values", Found: "a YAML anchor or alias"}
	}
	if depth > maxDepth {
		return &LimitError{Path: ManifestName, What: "levels of nesting", Limit: maxDepth, Found: int64(depth)}
	}
	for _, c := range n.Content {
		if err := checkTree(c, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// countTokens gives an upper bound of the number of values in a manifest
// without building any.
func countTokens(data []byte) int {
	n := 1
	for _, c := range data {
		switch c {
		case '\n', ',', ':', '[', '{', '-', '?':
			n++
		}
	}
	return n
}

func checkVersion(root *yaml.Node) error {
	n := child(root, "version")
	if n == nil {
		return &ManifestError{Field: "version", Need: "a version such as 1", Found: "none"}
	}
	var v Version
	if err := v.UnmarshalYAML(n); err != nil {
		return err
	}
	if v.Major > MajorVersion {
		return &NewerError{Found: v}
	}
	return nil
}

// child returns a field of a mapping, or nil.
func child(n *yaml.Node, field string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == field {
			return n.Content[i+1]
		}
	}
	return nil
}

// typeError brings what the YAML library says into our form. Its messages
// start with "line 12: " or "yaml: line 12: ".
func typeError(err error) error {
	var own *ManifestError
	if errors.As(err, &own) {
		return own
	}
	msg := err.Error()
	var types *yaml.TypeError
	if errors.As(err, &types) && len(types.Errors) > 0 {
		msg = types.Errors[0]
	}
	msg = strings.TrimPrefix(msg, "yaml: ")
	e := &ManifestError{Need: "a well-formed manifest", Found: msg}
	if rest, ok := strings.CutPrefix(msg, "line "); ok {
		if num, rest, ok := strings.Cut(rest, ": "); ok {
			e.Line, _ = strconv.Atoi(num)
			e.Found = rest
		}
	}
	return e
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		return fmt.Sprintf("%.40q", n.Value)
	}
	return "nothing"
}
