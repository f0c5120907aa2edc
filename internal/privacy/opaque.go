package privacy

import (
	"strings"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/scrubfile"
)

// opaque tells why a file can't be scrubbed field by field, "" if it can.
// Recordings of instructions hold the program's memory and its inputs; to
// change a byte of them is to change what a replay does.
func opaque(path string, form scrubfile.Form) string {
	if recording(path) {
		return "a recording of instructions: changed, it would not replay"
	}
	if form == scrubfile.Opaque {
		return "it has no format that can be scrubbed field by field"
	}
	return ""
}

// free tells of the guest's boot snapshot, which is made before the program
// is there.
func free(path string, class bundle.Class) bool {
	return path == "traces/vm/base.qcow2.zst" && class == bundle.Public
}

// recording tells whether a file is part of a recording of instructions.
func recording(path string) bool {
	return strings.HasPrefix(path, "traces/rr/") || strings.HasPrefix(path, "traces/vm/")
}
