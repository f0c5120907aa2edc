// Package privacy makes the files of a bundle fit to be kept: it scrubs what
// has fields, marks what can't be scrubbed as restricted, and writes down for
// each file what was done ([Report]). A [Packer] stands between whoever has
// files and the bundle's writer, so that no file gets by it.
package privacy

import "github.com/tapedeck-dev/tapedeck/internal/scrub"

// ReportPath is where the report is in a bundle.
const ReportPath = "attestations/scrub-report.json"

// Treatment is what was done with a file.
type Treatment string

const (
	// Scrubbed files went through the rules field by field.
	Scrubbed Treatment = "scrubbed"
	// Encrypted files are opaque, and sealed to the keys of the bundle.
	Encrypted Treatment = "encrypted"
	// Allowed files are opaque and in clear, as the report's policy allows.
	Allowed Treatment = "allowed"
	// Withheld files are not in the bundle.
	Withheld Treatment = "withheld"
	// Free files were made without data of the recorded program.
	Free Treatment = "free"
)

// Report says what was done about private data, file by file. It holds counts
// and never a value.
type Report struct {
	Version  int      `json:"version"`
	Rulesets []string `json:"rulesets"`
	Salt     string   `json:"salt"`             // reference of the tokens' secret
	Policy   string   `json:"policy,omitempty"` // what allowed the files in clear
	Files    []File   `json:"files"`
}

// File is what was done with one file.
type File struct {
	Path      string        `json:"path"`
	Treatment Treatment     `json:"treatment"`
	Form      string        `json:"form,omitempty"`   // the format that was scrubbed
	Reason    string        `json:"reason,omitempty"` // why it was not
	Keys      []string      `json:"keys,omitempty"`   // references of what it is encrypted to
	Counts    []scrub.Count `json:"counts,omitempty"` // by rule, class and action
}

const reportVersion = 1

// Counts of each treatment.
func (r *Report) Counts() map[Treatment]int {
	n := map[Treatment]int{}
	for _, f := range r.Files {
		n[f.Treatment]++
	}
	return n
}
