package attest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

// clockSkew is how far ahead of ours a recorder's clock may be.
const clockSkew = 5 * time.Minute

// Check compares a bundle with the policy. It takes the manifest's word for
// the digests of the files: [bundle.Reader.Verify] looks at those. The error
// is for a bundle that can't be read.
func (p *Policy) Check(r *bundle.Reader, now time.Time) (*Verdict, error) {
	v := &Verdict{SignedBy: []string{}, Violations: []Violation{}, Ignored: []string{}}
	m := r.Manifest()
	if p.Threshold > 0 {
		if err := covered(m); err != nil {
			v.refuse("signatures", "a digest of every file, for them to cover", "files without")
		}
		if err := p.checkSignatures(r, v); err != nil {
			return nil, err
		}
	}
	p.checkRecorders(m, v)
	p.checkAge(m, now, v)
	p.checkRedaction(r, v)
	p.checkEncryption(r, v)
	if err := p.checkAttestations(r, v); err != nil {
		return nil, err
	}
	v.OK = len(v.Violations) == 0
	return v, nil
}

func (v *Verdict) refuse(rule, need, found string) {
	v.Violations = append(v.Violations, Violation{rule, need, found})
}

func (p *Policy) checkSignatures(r *bundle.Reader, v *Verdict) error {
	var keys []*PublicKey
	names := map[*PublicKey]string{}
	for _, s := range p.Signers {
		keys = append(keys, s.Key)
		names[s.Key] = s.Name
		if s.Name == "" {
			names[s.Key] = s.Key.ID()
		}
	}
	want := digest(r.ManifestBytes())
	signed := map[*PublicKey]bool{}
	files := r.Signatures()
	if len(files) > maxSignatures {
		v.refuse("signatures", fmt.Sprintf("at most %d of them", maxSignatures), fmt.Sprint(len(files)))
		return nil
	}
	for _, name := range files {
		by, s, err := opened(r, name, keys)
		if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, bundle.ErrDamaged) {
			return err
		}
		reason := ""
		switch {
		case err != nil:
			reason = err.Error()
		case len(by) == 0:
			reason = "signed by none of the policy's keys"
		case len(s.Subject) != 1 || s.Subject[0].Name != bundle.ManifestName || s.Subject[0].Digest["sha256"] != want:
			reason = "is about another bundle"
		case len(p.Builders) > 0 && !slices.Contains(p.Builders, s.Predicate.RunDetails.Builder.ID):
			reason = "names the builder " + quote(s.Predicate.RunDetails.Builder.ID) + ", which the policy doesn't"
		}
		if reason != "" {
			v.Ignored = append(v.Ignored, name+": "+reason)
			continue
		}
		for _, k := range by {
			signed[k] = true
		}
	}
	for _, k := range keys {
		if signed[k] {
			v.SignedBy = append(v.SignedBy, names[k])
		}
	}
	if len(v.SignedBy) < p.Threshold {
		found := "none"
		if len(v.SignedBy) > 0 {
			found = "only " + strings.Join(v.SignedBy, ", ")
		}
		if len(v.Ignored) > 0 {
			found += fmt.Sprintf(" (%s)", strings.Join(v.Ignored, "; "))
		}
		v.refuse("signatures", fmt.Sprintf("signatures of %d of the policy's %d keys", p.Threshold, len(keys)), found)
	}
	return nil
}

// opened reads one signature. What isn't signed by any of keys isn't parsed.
func opened(r *bundle.Reader, name string, keys []*PublicKey) (by []*PublicKey, s *Statement, err error) {
	text, err := r.ReadFile(name, maxEnvelope)
	if err != nil {
		return nil, nil, err
	}
	e, err := ParseEnvelope(text)
	if err != nil {
		return nil, nil, err
	}
	if by = e.SignedBy(keys); len(by) == 0 {
		return nil, nil, nil
	}
	s, err = e.Statement()
	return by, s, err
}

func (p *Policy) checkRecorders(m *bundle.Manifest, v *Verdict) {
	if len(p.Recorders) == 0 {
		return
	}
	need := "only " + strings.Join(p.Recorders, ", ")
	if len(m.Recorders) == 0 {
		v.refuse("recorders", need, "none")
	}
	for _, r := range m.Recorders {
		if !slices.Contains(p.Recorders, r.Kind()) {
			v.refuse("recorders", need, quote(r.Kind()))
		}
	}
}

func (p *Policy) checkAge(m *bundle.Manifest, now time.Time, v *Verdict) {
	if p.MaxAge == 0 {
		return
	}
	need := fmt.Sprintf("a recording of the last %v", p.MaxAge)
	switch age := now.Sub(m.CreatedAt); {
	case m.CreatedAt.IsZero():
		v.refuse("max_age", need, "no created_at")
	case age > p.MaxAge || age < -clockSkew:
		v.refuse("max_age", need, m.CreatedAt.UTC().Format(time.RFC3339))
	}
}

func (p *Policy) checkRedaction(r *bundle.Reader, v *Verdict) {
	done := newRedactions(r.Manifest().Privacy.Redaction)
	for _, rule := range p.Redaction {
		for _, set := range rule.Rulesets {
			var missing []string
			for _, f := range r.Files() {
				if matchPath(rule.Path, f.Path) && !done.has(set, f.Path) {
					missing = append(missing, f.Path)
				}
			}
			if len(missing) > 0 {
				v.refuse("redaction", "rule set "+set+" applied to "+rule.Path, "not to "+some(missing))
			}
		}
	}
}

// redactions answers quickly, since a manifest may have an entry for each of
// its files.
type redactions struct {
	exact    map[redacted]bool
	patterns map[string][]string // by rule set
}

type redacted struct{ ruleset, path string }

// What counts of a manifest's patterns, for one rule set and in length: whoever
// wrote the manifest must not make the check long.
const (
	maxPatterns = 100
	maxPattern  = 1024
)

func newRedactions(list []bundle.Redaction) redactions {
	d := redactions{map[redacted]bool{}, map[string][]string{}}
	for _, e := range list {
		d.exact[redacted{e.Ruleset, e.Path}] = true
		if strings.ContainsAny(e.Path, `*?[\`) && len(e.Path) <= maxPattern && len(d.patterns[e.Ruleset]) < maxPatterns {
			d.patterns[e.Ruleset] = append(d.patterns[e.Ruleset], e.Path)
		}
	}
	return d
}

func (d redactions) has(ruleset, path string) bool {
	return d.exact[redacted{ruleset, path}] || slices.ContainsFunc(d.patterns[ruleset], func(p string) bool { return matchPath(p, path) })
}

func (p *Policy) checkEncryption(r *bundle.Reader, v *Verdict) {
	for _, class := range p.Encrypted {
		var clear []string
		for _, f := range r.Files() {
			// A file of which nobody said who may see it may be of any class.
			if (f.Class == class || f.Class == "") && f.Encryption == "" {
				clear = append(clear, f.Path)
			}
		}
		if len(clear) > 0 {
			v.refuse("encrypted", "files of class "+string(class)+" to be encrypted", some(clear)+" in clear")
		}
	}
}

func (p *Policy) checkAttestations(r *bundle.Reader, v *Verdict) error {
	for _, kind := range p.Attestations {
		found := "none"
		for _, a := range r.Manifest().Attestations {
			if a.Type != kind {
				continue
			}
			err := checkAttestation(r, a)
			if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, bundle.ErrDamaged) && !isMissing(err) {
				return err
			}
			if found = ""; err != nil {
				found = err.Error()
			}
			break
		}
		if found != "" {
			v.refuse("attestations", "a "+kind+" that fits the bundle", found)
		}
	}
	return nil
}

func checkAttestation(r *bundle.Reader, a bundle.Attestation) error {
	switch a.Type {
	case ProvenanceKind:
		_, err := provenanceOf(r)
		return err
	case SBOMKind:
		text, err := r.ReadFile(a.File, maxStatement)
		if err != nil {
			return err
		}
		var doc struct {
			Version  string            `json:"spdxVersion"`
			Packages []json.RawMessage `json:"packages"`
		}
		if err := decode(a.File, text, maxStatement, &doc); err != nil {
			return err
		}
		if doc.Version != "SPDX-2.3" || len(doc.Packages) == 0 {
			return malformed(a.File, "", "an SPDX-2.3 document with packages", quote(doc.Version))
		}
		return nil
	}
	f, err := r.Open(a.File)
	if err != nil {
		return err
	}
	return f.Close()
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// some names the first few of a list.
func some(list []string) string {
	const few = 3
	if len(list) <= few {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:few], ", "), len(list)-few)
}
