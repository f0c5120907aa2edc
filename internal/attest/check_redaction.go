package attest

import (
	"slices"
	"strings"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

// maxCompared bounds the work that a manifest can ask for, in elements of
// paths held against elements of patterns. A second or so.
const maxCompared = 50_000_000

func (p *Policy) checkRedaction(r *bundle.Reader, v *Verdict) {
	if len(p.Redaction) > 0 {
		p.redacted(newApplied(r.Manifest().Privacy.Redaction), r.Files(), v)
	}
}

func (p *Policy) redacted(done *applied, files []bundle.File, v *Verdict) {
	for _, rule := range p.Redaction {
		missing := make([][]string, len(rule.Rulesets))
		for _, f := range files {
			if !done.fits(rule.Path, f.Path) {
				continue
			}
			sets := done.to(f.Path)
			for i, set := range rule.Rulesets {
				if !slices.Contains(sets, set) {
					missing[i] = append(missing[i], f.Path)
				}
			}
		}
		if done.left <= 0 {
			v.refuse("redaction", "a list that can be compared in a moment", "too many patterns in privacy.redaction, or too many files")
			return
		}
		for i, set := range rule.Rulesets {
			if len(missing[i]) > 0 {
				v.refuse("redaction", "rule set "+set+" applied to "+rule.Path, "not to "+some(missing[i]))
			}
		}
	}
}

// applied is what a manifest says was applied where.
type applied struct {
	paths    map[string][]string // rule sets by path
	patterns []bundle.Redaction
	left     int // of maxCompared
}

func newApplied(list []bundle.Redaction) *applied {
	a := &applied{paths: map[string][]string{}, left: maxCompared}
	for _, d := range list {
		if strings.ContainsAny(d.Path, `*?[\`) {
			a.patterns = append(a.patterns, d)
		} else {
			name := strings.TrimSuffix(d.Path, "/")
			a.paths[name] = append(a.paths[name], rulesets(d)...)
		}
	}
	return a
}

// to lists the rule sets that were applied to a file.
func (a *applied) to(path string) []string {
	sets := slices.Clone(a.paths[path])
	for _, d := range a.patterns {
		if a.left <= 0 {
			break
		}
		if a.fits(d.Path, path) {
			sets = append(sets, rulesets(d)...)
		}
	}
	return sets
}

func (a *applied) fits(pattern, path string) bool {
	a.left -= (1 + strings.Count(pattern, "/")) * (1 + strings.Count(path, "/"))
	return a.left > 0 && matchPath(pattern, path)
}

// rulesets are those that a manifest names together: "gdpr_default, pci".
func rulesets(d bundle.Redaction) []string {
	return strings.FieldsFunc(d.Ruleset, func(r rune) bool { return r == ',' || r == '+' || r == ' ' })
}
