package tapedeck

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// deps is the import policy. A line reads "package: the packages of ours it
// may import". Change it in its own commit, with the reason in the message.
const deps = `
.: internal/session
httptape: . internal/cassette internal/match internal/session internal/wire
internal/session: internal/cassette internal/match internal/order internal/scrub internal/seal internal/spool internal/wire internal/wire/http
bundle:
internal/exttool:
internal/ui:
internal/record: internal/exttool internal/scrub
internal/typo:
internal/coding:
internal/scrub: internal/coding internal/typo
internal/spool: internal/scrub
internal/record/rr: internal/record internal/exttool
internal/record/vm: internal/record internal/exttool internal/sites internal/vm internal/watch
internal/sites:
internal/sweep:
internal/jfr:
internal/scrubfile: internal/jfr internal/scrub internal/warc
internal/privacy: bundle internal/scrub internal/scrubfile
internal/watch:
internal/record/inputs: internal/cassette internal/record internal/sandbox internal/scrub internal/spool internal/tap internal/trust internal/vtime internal/wire/http
internal/warc:
internal/cassette: internal/warc
internal/har:
internal/importer: internal/cassette internal/har internal/match internal/scrub internal/warc
internal/exporter: internal/cassette internal/coding internal/har internal/warc
internal/wire: internal/cassette
internal/wire/http: internal/cassette internal/scrub internal/spool internal/wire
internal/trust:
internal/tap: internal/trust internal/wire internal/cassette
internal/order: internal/cassette
internal/volatile: internal/typo
internal/match: internal/cassette internal/order internal/volatile
internal/play: internal/cassette internal/match internal/order internal/wire internal/wire/http
internal/sandbox:
internal/vtime: internal/sandbox internal/watch
internal/vm: internal/exttool internal/record
internal/replay: bundle internal/cassette internal/exttool internal/match internal/order internal/play internal/record internal/record/rr internal/sandbox internal/scrub internal/trust internal/vm internal/vtime internal/watch
internal/nondet: internal/cassette internal/match internal/volatile
internal/rewind: internal/exttool
internal/seal: bundle
internal/seal/cloudkms: internal/seal
internal/seal/hsm: internal/exttool internal/seal
internal/seal/pkcs11: internal/seal/hsm
internal/attest: bundle internal/typo
internal/sbom:
cmd/tapedeck: *
cmd/tapedeck-pkcs11: internal/seal/hsm internal/seal/pkcs11
`

// TestDeps parses the files itself, rather than run go list: so it sees every
// GOOS and build tag, and the test cache knows which files it read.
func TestDeps(t *testing.T) {
	const mod = "github.com/tapedeck-dev/tapedeck"
	allowed := map[string][]string{}
	for line := range strings.Lines(strings.TrimSpace(deps)) {
		name, list, _ := strings.Cut(line, ":")
		allowed[name] = strings.Fields(list)
	}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case "testdata", "examples", "bench", ".git":
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		from := path.Dir(filepath.ToSlash(file))
		may, ok := allowed[from]
		if !ok {
			t.Errorf("%s: package has no line in the import policy", from)
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range f.Imports {
			p, _ := strconv.Unquote(imp.Path.Value)
			to, ours := strings.CutPrefix(p, mod)
			if to = strings.TrimPrefix(to, "/"); to == "" {
				to = "."
			}
			if ours && !slices.Contains(may, "*") && !slices.Contains(may, to) {
				t.Errorf("%s: %s may not import %s", file, from, to)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
