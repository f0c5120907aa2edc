package attest

import (
	"fmt"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

// Policy is what a bundle must prove. A zero field asks for nothing.
type Policy struct {
	Signers      []Signer       // who may sign
	Threshold    int            // how many of them must have
	Builders     []string       // builder ids that the signed provenance may name
	Recorders    []string       // kinds that may have recorded it
	MaxAge       time.Duration  // since created_at
	Redaction    []Redaction    // rule sets that paths must have gone through
	Encrypted    []bundle.Class // classes of files that must be encrypted
	Attestations []string       // types that must be there and fit
}

// Signer is a key and whose it is.
type Signer struct {
	Name string
	Key  *PublicKey
}

// Redaction asks that every file at Path went through each of Rulesets.
type Redaction struct {
	Path     string // ** stands for any number of folders, * for part of a name
	Rulesets []string
}

// PolicyError is a policy file that can't be meant so.
type PolicyError struct {
	File   string
	Line   int // 1 is the first; 0 if unknown
	Column int
	Field  string // e.g. "signatures.keys[1].file"
	Need   string
	Found  string
	Fix    string
}

func (e *PolicyError) Error() string {
	where := e.File
	if e.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
	}
	if e.Field != "" {
		where += ": " + e.Field
	}
	return fmt.Sprintf("%s: need %s, found %s", where, e.Need, e.Found)
}

// Hint is the second line that the command line prints below the error.
func (e *PolicyError) Hint() string { return e.Fix }

// Verdict is what a policy says of a bundle.
type Verdict struct {
	OK         bool        `json:"ok"`
	SignedBy   []string    `json:"signed_by"`  // names of the keys, or their ids
	Violations []Violation `json:"violations"` // why it isn't OK
	Ignored    []string    `json:"ignored"`    // signatures that didn't count, and why
}

// Violation is one thing that a policy asks for and a bundle hasn't.
type Violation struct {
	Rule  string `json:"rule"` // the field of the policy
	Need  string `json:"need"`
	Found string `json:"found"`
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: need %s, found %s", v.Rule, v.Need, v.Found)
}
