package privacy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/scrubfile"
)

// Options say what is done with the files of one bundle.
type Options struct {
	Rules     *scrub.Rules
	Salt      scrub.Salt
	SaltField string // how the manifest refers to the salt
	// Keys are the references of the keys that the bundle's writer seals
	// restricted files to. Without any they are in clear, or withheld.
	Keys []string
	// Policy names what allows restricted files in clear; "" withholds them.
	Policy string
	// Raw leaves out the scrubbing: files go in as they are, and the report
	// says so.
	Raw bool
}

// Packer brings files into a bundle, each made fit for it first.
type Packer struct {
	w      *bundle.Writer
	opt    Options
	report Report
}

// NewPacker returns a packer for w. It is for one goroutine, as w is.
func NewPacker(w *bundle.Writer, opt Options) (*Packer, error) {
	if opt.Rules == nil {
		return nil, errors.New("need rules to scrub by, found none")
	}
	return &Packer{w: w, opt: opt, report: Report{Version: reportVersion, Rulesets: opt.Rules.Names(), Salt: opt.Salt.Ref,
		Policy: opt.Policy, Files: []File{}}}, nil
}

// Add scrubs the file and puts it into the bundle, or treats it as opaque.
func (p *Packer) Add(ctx context.Context, name string, r io.Reader, info bundle.FileInfo) error {
	if info.Encryption != "" { // by whoever made it: nobody can look into it
		return p.put(name, r, info, File{Treatment: Encrypted, Reason: "encrypted before it came here"})
	}
	if free(name, info.Class) {
		return p.AddFree(name, r, info)
	}
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(scrubfile.Peek)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if info.Media == "" {
		info.Media = bundle.MediaType(name)
	}
	form := scrubfile.FormOf(name, info.Media, head)
	why := opaque(name, form)
	if !p.opt.Raw {
		if name, err = p.cleanName(name); err != nil {
			return err
		}
	}
	switch {
	case why != "":
		return p.addOpaque(name, b, info, why)
	case p.opt.Raw:
		return p.put(name, b, info, File{Treatment: Allowed, Reason: "not scrubbed, as was asked"})
	}
	return p.addScrubbed(ctx, name, form, b, info)
}

// cleanName scrubs the name that a file has in the bundle. The names in a
// recording of instructions stay: a replay looks for them.
func (p *Packer) cleanName(name string) (string, error) {
	if recording(name) {
		return name, nil
	}
	s, err := scrub.New(p.opt.Rules, p.opt.Salt)
	if err != nil {
		return "", err
	}
	return string(s.Text([]byte(name)).Bytes()), nil
}

// AddFile is Add with a file of this machine.
func (p *Packer) AddFile(ctx context.Context, name, host string, info bundle.FileInfo) error {
	f, err := os.Open(host)
	if err != nil {
		return err
	}
	defer f.Close()
	return p.Add(ctx, name, f, info)
}

// AddFree puts a file into the bundle that was made without the program's data.
func (p *Packer) AddFree(name string, r io.Reader, info bundle.FileInfo) error {
	return p.put(name, r, info, File{Treatment: Free})
}

// AddFreeFile is AddFree with a file of this machine.
func (p *Packer) AddFreeFile(name, host string, info bundle.FileInfo) error {
	f, err := os.Open(host)
	if err != nil {
		return err
	}
	defer f.Close()
	return p.AddFree(name, f, info)
}

// AddScrubbed puts a file into the bundle that was scrubbed by the same rules
// before it reached a disk; counts are what was found then.
func (p *Packer) AddScrubbed(name, host string, info bundle.FileInfo, counts []scrub.Count) error {
	f, err := os.Open(host)
	if err != nil {
		return err
	}
	defer f.Close()
	if info.Media == "" {
		info.Media = bundle.MediaType(name)
	}
	form := scrubfile.FormOf(name, info.Media, nil)
	return p.put(name, f, info, File{Treatment: Scrubbed, Form: string(form), Counts: counts})
}

func (p *Packer) addOpaque(name string, r io.Reader, info bundle.FileInfo, why string) error {
	info.Class = bundle.Restricted
	switch {
	case len(p.opt.Keys) > 0:
		return p.put(name, r, info, File{Treatment: Encrypted, Reason: why, Keys: p.opt.Keys})
	case p.opt.Policy != "":
		return p.put(name, r, info, File{Treatment: Allowed, Reason: why})
	}
	p.report.Files = append(p.report.Files, File{Path: name, Treatment: Withheld, Reason: why})
	return nil
}

func (p *Packer) put(name string, r io.Reader, info bundle.FileInfo, f File) error {
	if err := p.w.Add(name, r, info); err != nil {
		return err
	}
	f.Path = name
	p.report.Files = append(p.report.Files, f)
	return nil
}

// addScrubbed has a scrubber of its own for each file, so that the report can
// say what was found where. A file that is not what it seems is opaque.
func (p *Packer) addScrubbed(ctx context.Context, name string, form scrubfile.Form, r io.Reader, info bundle.FileInfo) error {
	s, err := scrub.New(p.opt.Rules, p.opt.Salt)
	if err != nil {
		return err
	}
	if form.Streams() {
		clean, w := io.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.CloseWithError(scrubfile.Rewrite(ctx, s, form, w, r))
		}()
		err = p.put(name, clean, info, File{Treatment: Scrubbed, Form: string(form)})
		clean.CloseWithError(errors.New("the bundle can't be written")) // if it was not read to its end
		<-done                                                          // r is the caller's again
	} else {
		err = p.addWhole(ctx, s, name, form, r, info)
	}
	if err != nil {
		return fmt.Errorf("scrub as %s: %w", form, err)
	}
	// What was found in a file that turned out to be opaque is still in it.
	if f := &p.report.Files[len(p.report.Files)-1]; f.Treatment == Scrubbed {
		f.Counts = s.Report().Counts
	}
	return nil
}

// addWhole scrubs the file before any of it goes into the bundle.
func (p *Packer) addWhole(ctx context.Context, s *scrub.Scrubber, name string, form scrubfile.Form, r io.Reader, info bundle.FileInfo) error {
	raw, err := scrubfile.InMemory(r)
	if raw != nil {
		defer raw.Close()
	}
	if errors.Is(err, scrubfile.ErrTooLarge) {
		return p.addOpaque(name, io.MultiReader(raw, r), info, "it is too large to be scrubbed as "+string(form))
	}
	if err != nil {
		return err
	}
	clean, err := scrubfile.InMemory(bytes.NewReader(nil))
	if err != nil {
		return err
	}
	defer clean.Close()
	if err := scrubfile.Rewrite(ctx, s, form, clean, raw); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := raw.Seek(0, io.SeekStart); err != nil {
			return err
		}
		return p.addOpaque(name, raw, info, fmt.Sprintf("it could not be read as %s", form))
	}
	if _, err := clean.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return p.put(name, clean, info, File{Treatment: Scrubbed, Form: string(form)})
}

// Announce lists a file in the report that will be put into the bundle after
// it, and why there is nothing private in it.
func (p *Packer) Announce(name, why string) {
	p.report.Files = append(p.report.Files, File{Path: name, Treatment: Free, Reason: why})
}

// Finish scrubs the manifest, writes the report into the bundle, and says in
// the manifest what was done. Nothing can be added after it.
func (p *Packer) Finish(m *bundle.Manifest) error {
	if err := p.sealed(); err != nil {
		return err
	}
	m.Privacy.Redaction = nil
	if !p.opt.Raw {
		if err := p.manifest(m); err != nil {
			return err
		}
		m.Privacy.PIIHashSaltKDF = p.opt.SaltField
		p.redactions(m)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(&p.report); err != nil {
		return err
	}
	if m.Privacy.Schema == "" {
		m.Privacy.Schema = "v1"
	}
	m.Privacy.Report = ReportPath
	return p.w.Add(ReportPath, &b, bundle.FileInfo{Media: "application/json", Class: bundle.Internal})
}

// sealed makes sure that the writer encrypted what the report says it did.
func (p *Packer) sealed() error {
	sealed := map[string]bool{}
	for _, f := range p.w.Files() {
		sealed[f.Path] = f.Encryption != ""
	}
	for _, f := range p.report.Files {
		if f.Treatment == Encrypted && !sealed[f.Path] {
			return fmt.Errorf("%s: need a writer that encrypts, found one that does not", f.Path)
		}
	}
	return nil
}

// manifest scrubs what a manifest says of the program: its command, its
// environment, its outcome.
func (p *Packer) manifest(m *bundle.Manifest) error {
	s, err := scrub.New(p.opt.Rules, p.opt.Salt)
	if err != nil {
		return err
	}
	ScrubManifest(s, m)
	p.report.Files = append(p.report.Files, File{Path: bundle.ManifestName, Treatment: Scrubbed, Form: "manifest", Counts: s.Report().Counts})
	return nil
}

func (p *Packer) redactions(m *bundle.Manifest) {
	for _, f := range p.report.Files {
		if f.Treatment != Scrubbed {
			continue
		}
		for _, set := range p.report.Rulesets {
			m.Privacy.Redaction = append(m.Privacy.Redaction, bundle.Redaction{Path: f.Path, Ruleset: set})
		}
	}
}

// Report is what was done so far.
func (p *Packer) Report() *Report { return &p.report }
