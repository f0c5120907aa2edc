package attest

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

// What tapedeck's own statements say of themselves.
const (
	BuildType       = "https://github.com/tapedeck-dev/tapedeck/blob/main/docs/attestations.md#record-v1"
	RecorderBuilder = "https://github.com/tapedeck-dev/tapedeck/record" // somebody's machine, by hand
)

// Where a recording's own attestations are in its bundle, and their types in
// the manifest.
const (
	ProvenanceFile = "attestations/slsa.json"
	ProvenanceKind = "slsa_provenance"
	SBOMFile       = "attestations/sbom.spdx.json"
	SBOMKind       = "sbom"
)

// Run is what the manifest doesn't say of a recording.
type Run struct {
	Program           string // path of the executable, "" if unknown
	ProgramSHA256     string // "" if unknown
	Tapedeck          string // version
	Started, Finished time.Time
}

// Recorded makes the statement that stands in the bundle itself: about each of
// files, by digest.
func Recorded(m *bundle.Manifest, files []bundle.File, run Run) *Statement {
	return about(files, provenance(m, run))
}

func about(files []bundle.File, p Provenance) *Statement {
	s := &Statement{Type: StatementType, PredicateType: PredicateType, Predicate: p}
	for _, f := range files {
		s.Subject = append(s.Subject, Resource{Name: f.Path, Digest: map[string]string{"sha256": f.SHA256}})
	}
	return s
}

// provenance tells the run's story. All text is the manifest's: what had to be
// scrubbed from it has been.
func provenance(m *bundle.Manifest, run Run) Provenance {
	def := BuildDefinition{BuildType: BuildType, ExternalParameters: map[string]any{}, InternalParameters: map[string]any{}}
	kinds := []string{}
	for _, r := range m.Recorders {
		kinds = append(kinds, r.Kind())
		pick(def.ExternalParameters, r, "command", "cwd")
		pick(def.InternalParameters, r, "seed", "chaos", "attempts", "memory_mib", "options")
		def.add(Resource{Name: "kernel", URI: purl("generic", "linux", r.String("kernel"))})
		def.add(Resource{Name: "qemu", URI: purl("generic", "qemu", r.String("qemu_version")), Digest: sha256Of(m.Toolchain["qemu_sha256"])})
		def.add(Resource{Name: "rr", URI: purl("generic", "rr", r.String("rr_version"))})
	}
	def.ExternalParameters["recorders"] = kinds
	def.add(Resource{Name: "tapedeck", URI: purl("golang", "github.com/tapedeck-dev/tapedeck", run.Tapedeck)})
	program := Resource{Name: "program", Digest: sha256Of(run.ProgramSHA256)}
	if run.Program != "" {
		program.Annotations = map[string]any{"path": run.Program}
	}
	def.add(program)
	if hash, ok := strings.CutPrefix(m.Origin.Revision, "git:"); ok {
		def.add(Resource{Name: "source", Digest: map[string]string{"gitCommit": hash}})
	}
	p := Provenance{BuildDefinition: def, RunDetails: RunDetails{Builder: Builder{ID: RecorderBuilder}, Metadata: &Metadata{}}}
	if run.Tapedeck != "" {
		p.RunDetails.Builder.Version = map[string]string{"tapedeck": run.Tapedeck}
	}
	p.RunDetails.Metadata.StartedOn, p.RunDetails.Metadata.FinishedOn = moment(run.Started), moment(run.Finished)
	return p
}

// pick copies fields of a recorder; the first recorder that has one wins.
func pick(into map[string]any, r bundle.Recorder, fields ...string) {
	for _, k := range fields {
		if v := r[k]; v != nil && into[k] == nil {
			into[k] = v
		}
	}
}

// add leaves out what isn't known.
func (d *BuildDefinition) add(r Resource) {
	if r.URI != "" || r.Digest != nil {
		d.ResolvedDependencies = append(d.ResolvedDependencies, r)
	}
}

// purl is a package URL, or "" without a version.
func purl(kind, name, version string) string {
	if version == "" {
		return ""
	}
	return "pkg:" + kind + "/" + name + "@" + strings.ReplaceAll(url.QueryEscape(version), "+", "%20")
}

func sha256Of(v any) map[string]string {
	if s, _ := v.(string); isSHA256(s) {
		return map[string]string{"sha256": s}
	}
	return nil
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

// Subject is the statement that a signature of the bundle signs: about its
// manifest and every file, with the provenance that the bundle has; or if it
// has none, what the manifest says. A provenance about other files is an error.
// builder, if not "", is who vouches now.
//
// The digests of the files stand in the manifest too, whose digest would do.
// They are repeated since that is where other tools look for them.
func Subject(r *bundle.Reader, builder string) (*Statement, error) {
	m := r.Manifest()
	if err := covered(m); err != nil {
		return nil, err
	}
	s, err := told(r)
	if err != nil {
		return nil, err
	}
	manifest := bundle.File{Path: bundle.ManifestName, SHA256: digest(r.ManifestBytes())}
	s = about(append([]bundle.File{manifest}, m.Files...), s.Predicate)
	s.Predicate.RunDetails.Metadata.InvocationID = m.BundleID
	if builder != "" {
		s.Predicate.RunDetails.Builder.ID = builder
	}
	return s, nil
}

// told is the statement in a bundle, or one of what the manifest tells.
func told(r *bundle.Reader) (*Statement, error) {
	s, err := provenanceOf(r)
	if err != nil {
		return nil, err
	}
	if m := r.Manifest(); s == nil {
		version, _ := m.Toolchain["tapedeck"].(string)
		s = &Statement{Predicate: provenance(m, Run{Tapedeck: version, Finished: m.CreatedAt})}
	}
	if s.Predicate.RunDetails.Metadata == nil {
		s.Predicate.RunDetails.Metadata = &Metadata{}
	}
	return s, nil
}

// signs tells why the statement isn't one that signs this bundle, or "". The
// manifest's digest is the proof: it covers the files, and all that the
// manifest says of them. Files named besides it must be the bundle's.
func (s *Statement) signs(r *bundle.Reader) string {
	digests := make(map[string]string, len(s.Subject))
	for _, f := range r.Manifest().Files {
		digests[f.Path] = f.SHA256
	}
	digests[bundle.ManifestName] = digest(r.ManifestBytes())
	named := false
	for _, sub := range s.Subject {
		named = named || sub.Name == bundle.ManifestName
		switch want, ok := digests[sub.Name]; {
		case !ok:
			return "is about another bundle: it names " + quote(sub.Name)
		case want != sub.Digest["sha256"]:
			return "is about another bundle: it has another digest of " + sub.Name
		}
	}
	if !named {
		return "doesn't name " + bundle.ManifestName + ", which it would have to sign"
	}
	return ""
}

// provenanceOf reads the statement in the bundle and compares it with the
// manifest. nil is none.
func provenanceOf(r *bundle.Reader) (*Statement, error) {
	for _, a := range r.Manifest().Attestations {
		if a.Type != ProvenanceKind {
			continue
		}
		text, err := r.ReadFile(a.File, maxStatement)
		if err != nil {
			return nil, err
		}
		s, err := ParseStatement(text)
		if err == nil {
			err = s.covers(r.Manifest().Files, a.File)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.File, err)
		}
		return s, nil
	}
	return nil, nil
}

// covers tells whether the statement is about just these files, apart from
// the one that it is in.
func (s *Statement) covers(files []bundle.File, self string) error {
	left := make(map[string]string, len(s.Subject))
	for _, r := range s.Subject {
		left[r.Name] = r.Digest["sha256"]
	}
	for _, f := range files {
		if f.Path == self {
			continue
		}
		got, ok := left[f.Path]
		if !ok || got != f.SHA256 {
			return malformed("statement", "subject", "sha256 "+f.SHA256+" of "+f.Path, quote(got))
		}
		delete(left, f.Path)
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		return malformed("statement", "subject", "files of this bundle", quote(name))
	}
	return nil
}

// covered tells whether a signature of the manifest says anything about all files.
func covered(m *bundle.Manifest) error {
	if len(m.Files) == 0 {
		return malformed(bundle.ManifestName, "files", "a list of all files with digests, for a signature to cover", "none")
	}
	for _, f := range m.Files {
		if f.SHA256 == "" {
			return malformed(bundle.ManifestName, "files", "a digest of every file, for a signature to cover", "none of "+f.Path)
		}
	}
	return nil
}
