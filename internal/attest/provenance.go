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
	s := &Statement{Type: StatementType, PredicateType: PredicateType, Predicate: provenance(m, run)}
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
		if c := r["command"]; c != nil && def.ExternalParameters["command"] == nil {
			def.ExternalParameters["command"] = c
		}
		for _, k := range []string{"seed", "chaos", "attempts", "memory_mib"} {
			if v := r[k]; v != nil {
				def.InternalParameters[k] = v
			}
		}
		add := func(name, field string) {
			if v := r.String(field); v != "" {
				def.ResolvedDependencies = append(def.ResolvedDependencies, generic(name, v))
			}
		}
		add("linux", "kernel")
		add("qemu", "qemu_version")
		add("rr", "rr_version")
	}
	def.ExternalParameters["recorders"] = kinds
	if run.Tapedeck != "" {
		def.ResolvedDependencies = append(def.ResolvedDependencies, Resource{Name: "tapedeck",
			URI: "pkg:golang/github.com/tapedeck-dev/tapedeck@" + url.QueryEscape(run.Tapedeck)})
	}
	if run.ProgramSHA256 != "" {
		def.ResolvedDependencies = append(def.ResolvedDependencies, Resource{Name: "program", Digest: map[string]string{"sha256": run.ProgramSHA256},
			Annotations: map[string]any{"path": run.Program}})
	}
	if hash, ok := strings.CutPrefix(m.Origin.Revision, "git:"); ok {
		def.ResolvedDependencies = append(def.ResolvedDependencies, Resource{Name: "source", Digest: map[string]string{"gitCommit": hash}})
	}
	p := Provenance{BuildDefinition: def, RunDetails: RunDetails{Builder: Builder{ID: RecorderBuilder}, Metadata: &Metadata{}}}
	if run.Tapedeck != "" {
		p.RunDetails.Builder.Version = map[string]string{"tapedeck": run.Tapedeck}
	}
	p.RunDetails.Metadata.StartedOn, p.RunDetails.Metadata.FinishedOn = moment(run.Started), moment(run.Finished)
	return p
}

func generic(name, version string) Resource {
	return Resource{Name: name, URI: "pkg:generic/" + name + "@" + url.QueryEscape(version)}
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

// Subject is the statement that a signature of the bundle signs: about its
// manifest, with the provenance that the bundle has; or if it has none, what
// the manifest says. A provenance about other files is an error. builder, if
// not "", is who vouches now.
func Subject(r *bundle.Reader, builder string) (*Statement, error) {
	m := r.Manifest()
	if err := covered(m); err != nil {
		return nil, err
	}
	s := &Statement{Type: StatementType, PredicateType: PredicateType}
	s.Subject = []Resource{{Name: bundle.ManifestName, Digest: map[string]string{"sha256": digest(r.ManifestBytes())}}}
	recorded, err := provenanceOf(r)
	switch {
	case err != nil:
		return nil, err
	case recorded != nil:
		s.Predicate = recorded.Predicate
	default:
		s.Predicate = provenance(m, Run{Finished: m.CreatedAt})
	}
	if s.Predicate.RunDetails.Metadata == nil {
		s.Predicate.RunDetails.Metadata = &Metadata{}
	}
	s.Predicate.RunDetails.Metadata.InvocationID = m.BundleID
	if builder != "" {
		s.Predicate.RunDetails.Builder.ID = builder
	}
	return s, nil
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
