package bundle

import (
	"path"
	"strings"
)

// MediaType guesses a media type from a name. The table is our own since the
// system's differs from machine to machine, and a bundle must not.
func MediaType(name string) string {
	base := path.Base(name)
	for {
		_, ext, ok := strings.Cut(base, ".")
		if !ok {
			return "application/octet-stream"
		}
		if m := byExtension(ext); m != "" {
			return m
		}
		base = ext // "incident.2025.jfr": the longest ending that is known
	}
}

func byExtension(ext string) string {
	switch ext {
	case "jfr":
		return "application/x-jfr"
	case "parquet":
		return "application/vnd.apache.parquet"
	case "sqlite", "db":
		return "application/vnd.sqlite3"
	case "ndjson", "jsonl":
		return "application/x-ndjson"
	case "json", "har":
		return "application/json"
	case "dsse.json":
		return "application/vnd.dsse.envelope.v1+json"
	case "spdx.json":
		return "application/spdx+json"
	case "warc":
		return "application/warc"
	case "warc.gz":
		return "application/warc+gzip"
	case "yaml", "yml":
		return "application/yaml"
	case "txt", "log":
		return "text/plain"
	case "gz":
		return "application/gzip"
	case "zst":
		return "application/zstd"
	}
	return ""
}
