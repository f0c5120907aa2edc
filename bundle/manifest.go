package bundle

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// ManifestName is where the manifest is in a bundle.
const ManifestName = "trace_bundle.yaml"

// MajorVersion is the newest format version that this package reads, and the
// one that it writes.
const MajorVersion = 1

// Manifest says what a bundle holds. The Extra fields keep what this version
// of the format doesn't know, so that reading and writing loses nothing;
// [Manifest.Unknown] lists them.
type Manifest struct {
	Version      Version           `yaml:"version"`
	BundleID     string            `yaml:"bundle_id,omitempty"`
	CreatedAt    time.Time         `yaml:"created_at,omitempty"`
	Origin       Origin            `yaml:"origin,omitempty"`
	Recorders    []Recorder        `yaml:"recorders"`
	Inputs       Inputs            `yaml:"inputs,omitempty"`
	Env          map[string]string `yaml:"env,omitempty"`
	Privacy      Privacy           `yaml:"privacy,omitempty"`
	Attestations []Attestation     `yaml:"attestations,omitempty"`
	Toolchain    map[string]any    `yaml:"toolchain,omitempty"`
	Lossy        []Loss            `yaml:"lossy,omitempty"`
	Keys         []Key             `yaml:"keys,omitempty"`
	Files        []File            `yaml:"files,omitempty"`
	Extra        map[string]any    `yaml:",inline"`
}

// Version is the version of the manifest's format: 1, or 1.2 for a later
// one that readers of version 1 can still use.
type Version struct {
	Major, Minor int
}

func (v Version) String() string {
	if v.Minor == 0 {
		return strconv.Itoa(v.Major)
	}
	return fmt.Sprintf("%d.%d", v.Major, v.Minor)
}

// UnmarshalYAML reads the text of the number, since 1.10 is not 1.1.
func (v *Version) UnmarshalYAML(n *yaml.Node) error {
	major, minor, _ := strings.Cut(n.Value, ".")
	x, err := strconv.ParseUint(major, 10, 31)
	y := uint64(0)
	if err == nil && minor != "" {
		y, err = strconv.ParseUint(minor, 10, 31)
	}
	if err != nil || n.Kind != yaml.ScalarNode || x == 0 {
		return &ManifestError{Field: "version", Line: n.Line, Need: "a version such as 1", Found: describe(n)}
	}
	v.Major, v.Minor = int(x), int(y)
	return nil
}

// MarshalYAML writes a number.
func (v Version) MarshalYAML() (any, error) {
	tag := "!!int"
	if v.Minor != 0 {
		tag = "!!float"
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: v.String()}, nil
}

// Origin is where the recorded program ran.
type Origin struct {
	Env         string         `yaml:"env,omitempty"`
	Region      string         `yaml:"region,omitempty"`
	Service     string         `yaml:"service,omitempty"`
	Revision    string         `yaml:"revision,omitempty"` // git:3c1ab73
	OCIImage    string         `yaml:"oci_image,omitempty"`
	OTelTraceID string         `yaml:"otel_trace_id,omitempty"`
	Extra       map[string]any `yaml:",inline"`
}

// Recorder is what one recorder left. It is an open map: each kind has its own
// fields. rr_trace_dir, jfr_file and bpf_profile are known to be paths in the
// bundle; whoever takes another field for one asks [Recorder.Path].
type Recorder map[string]any

// Kind is the recorder's name: rr, vm, jfr, ebpf…
func (r Recorder) Kind() string { return r.String("kind") }

// String returns a field that is text, or "".
func (r Recorder) String(field string) string {
	s, _ := r[field].(string)
	return s
}

// Path returns a field that is the path of a file or folder in the bundle, or
// an error if it can't be one.
func (r Recorder) Path(field string) (string, error) {
	p := strings.TrimSuffix(r.String(field), "/")
	return p, CheckPath(p)
}

// UnmarshalYAML goes by the plain type: the YAML library gives maps within a
// map the type of the outer one, and they are no recorders.
func (r *Recorder) UnmarshalYAML(n *yaml.Node) error { return n.Decode((*map[string]any)(r)) }

// MarshalYAML puts the kind first and the other fields in the order of their
// names.
func (r Recorder) MarshalYAML() (any, error) {
	rest := make(map[string]any, len(r))
	for k, v := range r {
		if k != "kind" {
			rest[k] = v
		}
	}
	var n yaml.Node
	if err := n.Encode(rest); err != nil {
		return nil, err
	}
	n.Style = 0 // an empty map comes as {}
	kind := []*yaml.Node{text("kind"), text(r.Kind())}
	n.Content = append(kind, n.Content...)
	return &n, nil
}

// Inputs are the recorded inputs. A cassette of a protocol not named here is
// in Extra, as "<protocol>_cassette".
type Inputs struct {
	TimeStream      string         `yaml:"time_stream,omitempty"`
	OrderStream     string         `yaml:"order_stream,omitempty"`
	RandomSeed      *uint64        `yaml:"random_seed,omitempty"`
	NetworkCassette string         `yaml:"network_cassette,omitempty"`
	DBCassette      string         `yaml:"db_cassette,omitempty"`
	Extra           map[string]any `yaml:",inline"`
}

// UnmarshalYAML refuses a seed that isn't an integer of 64 bits; the YAML
// library would round it.
func (in *Inputs) UnmarshalYAML(n *yaml.Node) error {
	type plain Inputs // without this method
	if err := n.Decode((*plain)(in)); err != nil {
		return err
	}
	if v := child(n, "random_seed"); v != nil && v.ShortTag() != "!!int" && v.ShortTag() != "!!null" {
		return &ManifestError{Field: "inputs.random_seed", Line: v.Line, Need: "an integer from 0 to 2^64-1", Found: describe(v)}
	}
	return nil
}

// Privacy is what was done about personal data before anything reached a disk.
type Privacy struct {
	Schema         string         `yaml:"schema,omitempty"`
	PIIHashSaltKDF string         `yaml:"pii_hash_salt_kdf,omitempty"`
	Redaction      []Redaction    `yaml:"redaction,omitempty"`
	Report         string         `yaml:"report,omitempty"` // path of the scrubber's report
	Extra          map[string]any `yaml:",inline"`
}

// Redaction is a rule set and the paths that went through it.
type Redaction struct {
	Path    string         `yaml:"path"` // ** stands for any number of folders
	Ruleset string         `yaml:"ruleset"`
	Extra   map[string]any `yaml:",inline"`
}

// Attestation is a signed or unsigned statement about the bundle.
type Attestation struct {
	Type  string         `yaml:"type"` // slsa_provenance, sbom…
	File  string         `yaml:"file"`
	Extra map[string]any `yaml:",inline"`
}

// Loss is a window in which a recorder may have missed events. Nobody may claim
// that an event is absent from it.
type Loss struct {
	Source string         `yaml:"source"` // the recorder's kind
	From   time.Time      `yaml:"from,omitempty"`
	To     time.Time      `yaml:"to,omitempty"`
	Lost   *int64         `yaml:"lost,omitempty"` // events; nil if nobody counted
	Reason string         `yaml:"reason"`
	Extra  map[string]any `yaml:",inline"`
}

// Key is a data key that encrypted files refer to. The key itself is never in
// the bundle in clear: WrappedKey is encrypted with the key that KeyRef names.
type Key struct {
	ID         string         `yaml:"id"`
	Scheme     string         `yaml:"scheme"`
	KeyRef     string         `yaml:"key_ref"`
	WrappedKey string         `yaml:"wrapped_key,omitempty"` // base64
	Tenant     string         `yaml:"tenant,omitempty"`      // whose it is; the encryption binds it
	Copies     []WrappedKey   `yaml:"copies,omitempty"`      // the same data key, wrapped by other keys
	Extra      map[string]any `yaml:",inline"`
}

// WrappedKey is a data key, encrypted with the key that KeyRef names.
type WrappedKey struct {
	KeyRef     string         `yaml:"key_ref"`
	WrappedKey string         `yaml:"wrapped_key"` // base64
	Extra      map[string]any `yaml:",inline"`
}

// Class says who may see a file.
type Class string

// The classes, from the one for all to the one for few.
const (
	Public     Class = "public"
	Internal   Class = "internal"
	Restricted Class = "restricted"
)

// File is one file of a bundle.
type File struct {
	Path       string         `yaml:"path"`
	Size       int64          `yaml:"size"`
	SHA256     string         `yaml:"sha256,omitempty"` // lower-case hex, of the bytes in the bundle; "" if nobody said
	MediaType  string         `yaml:"media_type,omitempty"`
	Class      Class          `yaml:"class,omitempty"`
	Encryption string         `yaml:"encryption,omitempty"` // the ID of a Key; "" is not encrypted
	PlainSize  *int64         `yaml:"plain_size,omitempty"` // of an encrypted file before encryption; without it nobody decrypts it
	Extra      map[string]any `yaml:",inline"`
}
