package bundle

import (
	_ "embed" // the schema
	"slices"
)

//go:embed manifest.schema.json
var schema []byte

// Schema is the JSON Schema (draft 2020-12) of the manifest.
func Schema() []byte { return slices.Clone(schema) }
