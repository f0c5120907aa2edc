package privacy

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

const mail = "ann@mail.example.org"

func options(t testing.TB) Options {
	t.Helper()
	rules, err := scrub.Builtin("secrets", "gdpr_default")
	if err != nil {
		t.Fatal(err)
	}
	salt, err := scrub.NewSalt("local:test", []byte("a salt of tests, of 32 bytes 0123"))
	if err != nil {
		t.Fatal(err)
	}
	return Options{Rules: rules, Salt: salt, SaltField: "hkdf:local:test"}
}

// reversing stands for encryption: what it makes is not what went in.
type reversing struct{}

func (reversing) BundleID() string { return "01890a5d-ac96-774b-bcce-b302099a8057" }
func (reversing) Key() bundle.Key {
	return bundle.Key{ID: "k1", Scheme: "reversing", KeyRef: "local:test", WrappedKey: base64.StdEncoding.EncodeToString([]byte("wrapped"))}
}

func (reversing) Seal(_ string, plain io.Reader) (io.Reader, error) {
	b, err := io.ReadAll(plain)
	slices.Reverse(b)
	return bytes.NewReader(b), err
}

// pack writes a bundle and reads it again.
func pack(t testing.TB, opt Options, s bundle.Sealer, m *bundle.Manifest, fill func(p *Packer)) (*bundle.Reader, *Report) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "a.tar.zst")
	w, err := bundle.WriterOptions{Sealer: s}.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Abort)
	p, err := NewPacker(w, opt)
	if err != nil {
		t.Fatal(err)
	}
	fill(p)
	if err := p.Finish(m); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(m); err != nil {
		t.Fatal(err)
	}
	r, err := bundle.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	b, err := r.ReadFile(ReportPath, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var rep Report
	if err := json.Unmarshal(b, &rep); err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{b, r.ManifestBytes()} {
		if !opt.Raw && bytes.Contains(b, []byte(mail)) {
			t.Errorf("an address is in the report or the manifest:\n%s", b)
		}
	}
	return r, &rep
}

func manifest() *bundle.Manifest {
	return &bundle.Manifest{Version: bundle.Version{Major: 1}, CreatedAt: time.Unix(1_700_000_000, 0).UTC(), Recorders: []bundle.Recorder{{"kind": "rr", "rr_trace_dir": "traces/rr"}}}
}

func (r *Report) of(path string) File {
	for _, f := range r.Files {
		if f.Path == path {
			return f
		}
	}
	return File{}
}

func add(t testing.TB, p *Packer, name, text string, info bundle.FileInfo) {
	t.Helper()
	if err := p.Add(t.Context(), name, strings.NewReader(text), info); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func content(t testing.TB, r *bundle.Reader, name string) string {
	t.Helper()
	b, err := r.ReadFile(name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func fill(t testing.TB) func(*Packer) {
	return func(p *Packer) {
		add(t, p, "logs/app.log", "from "+mail+"\n", bundle.FileInfo{})
		add(t, p, "inputs/a.json", `{"password":"hunter2"}`, bundle.FileInfo{})
		add(t, p, "traces/rr/trace-0/data", "memory of "+mail, bundle.FileInfo{Class: bundle.Internal})
		add(t, p, "inputs/broken.sqlite", "SQLite format 3\x00 "+mail, bundle.FileInfo{})
		add(t, p, "inputs/cut.har", `{"log": "`+mail, bundle.FileInfo{})
		add(t, p, "traces/vm/base.qcow2.zst", "a snapshot", bundle.FileInfo{Class: bundle.Public})
		if err := p.AddFree("index/a", strings.NewReader("made here"), bundle.FileInfo{}); err != nil {
			t.Fatal(err)
		}
		p.Announce("attestations/later.json", "made afterwards")
	}
}

func TestTreatments(t *testing.T) {
	opaque := []string{"traces/rr/trace-0/data", "inputs/broken.sqlite", "inputs/cut.har"}
	keyed, allowed := options(t), options(t)
	keyed.Keys, allowed.Policy = []string{"local:test"}, "--keep-restricted"
	for _, test := range []struct {
		opt  Options
		s    bundle.Sealer
		want Treatment
	}{{options(t), nil, Withheld}, {keyed, reversing{}, Encrypted}, {allowed, nil, Allowed}} {
		t.Run(string(test.want), func(t *testing.T) {
			r, rep := pack(t, test.opt, test.s, manifest(), fill(t))
			for _, name := range opaque {
				f := rep.of(name)
				if f.Treatment != test.want || f.Reason == "" || f.Counts != nil || f.Form != "" {
					t.Errorf("%s: %+v", name, f)
				}
				i := slices.IndexFunc(r.Files(), func(f bundle.File) bool { return f.Path == name })
				if (i < 0) != (test.want == Withheld) {
					t.Fatalf("%s is at %d of the bundle", name, i)
				}
				if i >= 0 {
					if f := r.Files()[i]; f.Class != bundle.Restricted || (f.Encryption != "") != (test.want == Encrypted) {
						t.Errorf("%+v", f)
					}
				}
			}
			for _, name := range []string{"logs/app.log", "inputs/a.json", bundle.ManifestName} {
				if f := rep.of(name); f.Treatment != Scrubbed || f.Form == "" {
					t.Errorf("%s: %+v", name, f)
				}
				for _, set := range []string{"secrets", "gdpr_default"} {
					if !slices.ContainsFunc(r.Manifest().Privacy.Redaction, func(r bundle.Redaction) bool { return r.Path == name && r.Ruleset == set }) {
						t.Errorf("%s went through %s, and the manifest does not say so: %v", name, set, r.Manifest().Privacy.Redaction)
					}
				}
			}
			for _, red := range r.Manifest().Privacy.Redaction {
				if rep.of(red.Path).Treatment != Scrubbed {
					t.Errorf("the manifest says that %s was scrubbed", red.Path)
				}
			}
			for _, name := range []string{"traces/vm/base.qcow2.zst", "index/a", "attestations/later.json"} {
				if f := rep.of(name); f.Treatment != Free {
					t.Errorf("%s: %+v", name, f)
				}
			}
			if text := content(t, r, "logs/app.log"); !strings.HasPrefix(text, "from tok_email_") {
				t.Errorf("the log is %q", text)
			}
			if text := content(t, r, "inputs/a.json"); !strings.HasPrefix(text, `{"password":"tok_password_`) {
				t.Errorf("the document is %q", text)
			}
			if rep.of("logs/app.log").Counts == nil {
				t.Error("the report has no counts")
			}
			if rep.Salt != "local:test" || r.Manifest().Privacy.PIIHashSaltKDF != "hkdf:local:test" || r.Manifest().Privacy.Report != ReportPath {
				t.Errorf("salt %q, %+v", rep.Salt, r.Manifest().Privacy)
			}
			if n := rep.Counts(); n[Scrubbed] != 3 || n[test.want] != 3 || n[Free] != 3 {
				t.Errorf("counts %v", n)
			}
		})
	}
}

// A report must not claim encryption that nobody did.
func TestNoSealer(t *testing.T) {
	opt := options(t)
	opt.Keys = []string{"local:test"}
	w, err := bundle.Create(filepath.Join(t.TempDir(), "a.tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	p, err := NewPacker(w, opt)
	if err != nil {
		t.Fatal(err)
	}
	add(t, p, "traces/rr/data", "x", bundle.FileInfo{})
	if err := p.Finish(manifest()); err == nil || !strings.Contains(err.Error(), "encrypts") {
		t.Errorf("error %v", err)
	}
}

func TestRaw(t *testing.T) {
	opt := options(t)
	opt.Raw, opt.Policy = true, "--unscrubbed"
	r, rep := pack(t, opt, nil, manifest(), func(p *Packer) {
		add(t, p, "logs/of-"+mail+".log", "from "+mail, bundle.FileInfo{})
	})
	if f := rep.of("logs/of-" + mail + ".log"); f.Treatment != Allowed || f.Reason == "" {
		t.Errorf("%+v", rep.Files)
	}
	if content(t, r, "logs/of-"+mail+".log") != "from "+mail || r.Manifest().Privacy.Redaction != nil || r.Manifest().Privacy.PIIHashSaltKDF != "" {
		t.Error("the file was changed, or the manifest says so")
	}
}

// Names of files hold addresses too, and the manifest refers to them.
func TestNames(t *testing.T) {
	m := manifest()
	m.Inputs.NetworkCassette = "inputs/" + mail + "/"
	m.Recorders = append(m.Recorders, bundle.Recorder{"kind": "jfr", "jfr_file": "traces/" + mail + ".jfr"})
	r, rep := pack(t, options(t), nil, m, func(p *Packer) {
		add(t, p, "inputs/"+mail+"/a.json", "{}", bundle.FileInfo{})
		add(t, p, "mails/"+mail+".json", `{"n":1}`, bundle.FileInfo{})
		add(t, p, "mails/"+mail+".bin", "\x00", bundle.FileInfo{}) // withheld, and in the report
	})
	for _, f := range r.Files() {
		if f.Path == ReportPath {
			continue
		}
		if strings.HasPrefix(f.Path, "inputs/") && !strings.HasPrefix(f.Path, r.Manifest().Inputs.NetworkCassette) {
			t.Errorf("%s is not in %s", f.Path, r.Manifest().Inputs.NetworkCassette)
		}
		if !strings.Contains(f.Path, "/tok_email_") || !strings.HasSuffix(f.Path, ".json") || f.MediaType != "application/json" {
			t.Errorf("a file is called %s (%s)", f.Path, f.MediaType)
		}
	}
	if len(rep.Files) != 4 {
		t.Errorf("%+v", rep.Files)
	}
}

func TestManifest(t *testing.T) {
	m := manifest()
	m.Env = map[string]string{"MAIL": mail, "DB_PASSWORD": "hunter2-hunter2", "TZ": "UTC"}
	m.Origin.Service = "shop of " + mail
	m.Lossy = []bundle.Loss{{Source: "ebpf", Reason: "lost " + mail}}
	m.Extra = map[string]any{"note": mail, "list": []any{mail, map[string]any{"password": "hunter2-hunter2"}}}
	m.Recorders[0]["command"] = []any{"env", "PASSWORD=hunter2-hunter2", "./shop", "--password", "hunter2-hunter2", "-Ddb.password=hunter2-hunter2", "--password=hunter2-hunter2", "--level", "3"}
	m.Recorders[0]["rr_version"] = "5.7.0.1"
	r, _ := pack(t, options(t), nil, m, func(*Packer) {})
	if bytes.Contains(r.ManifestBytes(), []byte("hunter2")) {
		t.Errorf("a password is in the manifest:\n%s", r.ManifestBytes())
	}
	got := r.Manifest()
	if got.Env["TZ"] != "UTC" || got.Recorders[0]["rr_version"] != "5.7.0.1" || got.Recorders[0]["rr_trace_dir"] != "traces/rr" {
		t.Errorf("what is not private is another:\n%s", r.ManifestBytes())
	}
	args := got.Recorders[0]["command"].([]any)
	if len(args) != 9 || args[2] != "./shop" || args[3] != "--password" || args[8] != "3" || !strings.HasPrefix(args[5].(string), "-Ddb.password=tok_") {
		t.Errorf("the command is %q", args)
	}
}

// A file that unpacks for ever is opaque, and so is one that isn't what it says.
func TestHostileFiles(t *testing.T) {
	var damaged bytes.Buffer
	z := gzip.NewWriter(&damaged)
	if _, err := io.WriteString(z, strings.Repeat(mail+"\n", 1000)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	damaged.Truncate(damaged.Len() - 9)
	_, rep := pack(t, options(t), nil, manifest(), func(p *Packer) {
		add(t, p, "logs/a.log.gz", damaged.String(), bundle.FileInfo{})
		add(t, p, "a.parquet", "PAR1"+mail+"PAR1", bundle.FileInfo{})
		add(t, p, "a.jfr", "FLR\x00"+mail, bundle.FileInfo{})
		add(t, p, "a.warc", "WARC/1.1\r\nContent-Length: 99999999999999\r\n\r\n"+mail, bundle.FileInfo{})
		add(t, p, "a.har", strings.Repeat("[", 10_000), bundle.FileInfo{})
		add(t, p, "a.log", "\x00"+mail, bundle.FileInfo{})
		add(t, p, "a.bin", mail, bundle.FileInfo{})
	})
	for _, f := range rep.Files {
		if f.Path != bundle.ManifestName && (f.Treatment != Withheld || f.Reason == "") {
			t.Errorf("%+v", f)
		}
	}
}

var errFailing = errors.New("the disk fails")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errFailing }

func TestFailingReader(t *testing.T) {
	w, err := bundle.Create(filepath.Join(t.TempDir(), "a.tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	p, err := NewPacker(w, options(t))
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("text ", 100_000)
	for _, name := range []string{"a.log", "a.json", "a.ndjson", "a.har", "a.warc", "a.bin", "traces/rr/a"} {
		for _, head := range []string{"", long} {
			r := io.MultiReader(strings.NewReader(head), failing{})
			err := p.Add(t.Context(), name, r, bundle.FileInfo{})
			opaque := name == "a.bin" || name == "traces/rr/a"
			if !errors.Is(err, errFailing) && !(opaque && head != "") { // a withheld file is not read
				t.Errorf("%s behind %d bytes: error %v", name, len(head), err)
			}
		}
	}
	if p.Report().Counts()[Scrubbed] != 0 {
		t.Errorf("%+v", p.Report().Files)
	}
}

func TestCancelled(t *testing.T) {
	w, err := bundle.Create(filepath.Join(t.TempDir(), "a.tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	p, err := NewPacker(w, options(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, name := range []string{"a.log", "a.json"} {
		if err := p.Add(ctx, name, strings.NewReader("{}"), bundle.FileInfo{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestNewPacker(t *testing.T) {
	if _, err := NewPacker(nil, Options{}); err == nil {
		t.Error("no rules are no error")
	}
}
