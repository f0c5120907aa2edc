package attest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// The formats, by the names that their specifications give them.
const (
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "https://slsa.dev/provenance/v1"
	PayloadType   = "application/vnd.in-toto+json"
)

// What a parser is ready to read. A bundle has at most 100,000 files.
const (
	maxStatement = 64 << 20
	maxSubjects  = 100_000
)

// Statement is an in-toto statement v1 with a SLSA provenance v1.
type Statement struct {
	Type          string     `json:"_type"`
	Subject       []Resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     Provenance `json:"predicate"`
}

// Resource is an in-toto resource descriptor. It has a URI or a digest.
type Resource struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"` // sha256, gitCommit…: lower-case hex
	MediaType   string            `json:"mediaType,omitempty"`
	Annotations map[string]any    `json:"annotations,omitempty"`
}

// Provenance is the predicate of SLSA provenance v1.
type Provenance struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildDefinition says what was run, and with what.
type BuildDefinition struct {
	BuildType            string         `json:"buildType"`
	ExternalParameters   map[string]any `json:"externalParameters"`           // what the user asked for
	InternalParameters   map[string]any `json:"internalParameters,omitempty"` // what the recorder chose
	ResolvedDependencies []Resource     `json:"resolvedDependencies,omitempty"`
}

// RunDetails says who ran it, and when.
type RunDetails struct {
	Builder  Builder   `json:"builder"`
	Metadata *Metadata `json:"metadata,omitempty"`
}

// Builder is who vouches for the provenance.
type Builder struct {
	ID      string            `json:"id"` // a URI
	Version map[string]string `json:"version,omitempty"`
}

// Metadata is about this one run.
type Metadata struct {
	InvocationID string     `json:"invocationId,omitempty"`
	StartedOn    *time.Time `json:"startedOn,omitempty"`
	FinishedOn   *time.Time `json:"finishedOn,omitempty"`
}

// ParseStatement reads a statement and checks it. Fields that it doesn't know
// are passed over, as the specifications ask for; fields that occur twice or
// in another spelling are refused, since two readers could differ about them.
// The error wraps [ErrMalformed].
func ParseStatement(b []byte) (*Statement, error) {
	var s Statement
	if err := decode("statement", b, maxStatement, &s); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	return &s, nil
}

func (s *Statement) check() error {
	switch {
	case s.Type != StatementType:
		return malformed("statement", "_type", StatementType, quote(s.Type))
	case s.PredicateType != PredicateType:
		return malformed("statement", "predicateType", PredicateType, quote(s.PredicateType))
	case len(s.Subject) == 0:
		return malformed("statement", "subject", "one or more files", "none")
	case len(s.Subject) > maxSubjects:
		return malformed("statement", "subject", fmt.Sprintf("at most %d files", maxSubjects), fmt.Sprint(len(s.Subject)))
	case s.Predicate.RunDetails.Builder.ID == "":
		return malformed("statement", "predicate.runDetails.builder.id", "a URI", "none")
	case s.Predicate.BuildDefinition.BuildType == "":
		return malformed("statement", "predicate.buildDefinition.buildType", "a URI", "none")
	case s.Predicate.BuildDefinition.ExternalParameters == nil:
		return malformed("statement", "predicate.buildDefinition.externalParameters", "a map", "none")
	}
	seen := make(map[string]bool, len(s.Subject))
	for i, r := range s.Subject {
		at := fmt.Sprintf("subject[%d]", i)
		if seen[r.Name] {
			return malformed("statement", at+".name", "a name of its own", quote(r.Name)+" again")
		}
		seen[r.Name] = true
		if !isSHA256(r.Digest["sha256"]) {
			return malformed("statement", at+".digest.sha256", "64 lower-case hexadecimal digits", quote(r.Digest["sha256"]))
		}
	}
	for i, r := range s.Predicate.BuildDefinition.ResolvedDependencies {
		if r.URI == "" && len(r.Digest) == 0 {
			return malformed("statement", fmt.Sprintf("predicate.buildDefinition.resolvedDependencies[%d]", i), "a uri or a digest", "neither")
		}
	}
	return nil
}

// Encode returns the statement as JSON.
func (s *Statement) Encode() ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return encode(s)
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// decode reads one JSON value of at most limit bytes into v.
func decode(what string, b []byte, limit int, v any) error {
	if len(b) > limit {
		return malformed(what, "", fmt.Sprintf("at most %d bytes", limit), fmt.Sprint(len(b)))
	}
	if !utf8.Valid(b) {
		return malformed(what, "", "UTF-8", "other bytes")
	}
	if err := checkKeys(b); err != nil {
		return malformed(what, "", "JSON in which every field occurs once", err.Error())
	}
	if err := json.Unmarshal(b, v); err != nil {
		var t *json.UnmarshalTypeError
		if errors.As(err, &t) {
			return malformed(what, t.Field, "a "+t.Type.Kind().String(), "a "+t.Value)
		}
		return malformed(what, "", "the fields that it has to have", err.Error())
	}
	return nil
}

// maxDepth keeps JSON from filling the stack.
const maxDepth = 64

// checkKeys refuses objects in which a key occurs twice, also in another case:
// encoding/json takes the last of them and doesn't mind the case, other
// readers take the first, or mind.
func checkKeys(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := checkValue(d, 0); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something behind the value")
	}
	return nil
}

func checkValue(d *json.Decoder, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("more than %d levels", maxDepth)
	}
	t, err := d.Token()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	delim, ok := t.(json.Delim)
	if err != nil || !ok {
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		if delim == '{' {
			t, err := d.Token()
			if err != nil {
				return err
			}
			key, _ := t.(string)
			if fold := strings.ToLower(key); seen[fold] {
				return fmt.Errorf("%.40q twice", key)
			} else {
				seen[fold] = true
			}
		}
		if err := checkValue(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

func isSHA256(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 64 && strings.ToLower(s) == s
}

func quote(s string) string {
	if s == "" {
		return "none"
	}
	return fmt.Sprintf("%.80q", s)
}
