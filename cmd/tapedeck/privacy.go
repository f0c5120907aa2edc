package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/privacy"
	"github.com/tapedeck-dev/tapedeck/internal/rewind"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/seal"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
	"github.com/tapedeck-dev/tapedeck/internal/volatile"
)

// ruleFlags choose what is taken for private, and whose tokens stand for it.
type ruleFlags struct {
	rules []string
	salt  string
}

func (o *ruleFlags) add(f *pflag.FlagSet) {
	f.StringArrayVar(&o.rules, "rules", nil, "what is private: a rule `SET` ("+strings.Join(scrub.BuiltinNames(), ", ")+
		") or a rule file; repeatable (default "+strings.Join(scrub.Defaults(), ", ")+")")
	f.StringVar(&o.salt, "salt", seal.DefaultSalt, "`REF` of the salt that tokens are made with; see tapedeck key --help")
}

// load reads the rules. What has a slash or ends in .yaml is a file.
func (o *ruleFlags) load() (*scrub.Rules, error) {
	names := o.rules
	if len(names) == 0 {
		names = scrub.Defaults()
	}
	if len(names) == 1 && isRuleFile(names[0]) {
		return scrub.LoadRules(names[0])
	}
	if slices.ContainsFunc(names, isRuleFile) {
		return nil, usageError("need sets by name, or one rule file that extends them, found %s", strings.Join(names, ", "))
	}
	return scrub.Builtin(names...)
}

// takeVolatile takes the file of volatile fields out of the rules, if there is
// one among them; nil if there is none.
func (o *ruleFlags) takeVolatile() (*volatile.Rules, error) {
	var found *volatile.Rules
	var rest []string
	for _, name := range o.rules {
		text, err := os.ReadFile(name)
		if !isRuleFile(name) || err != nil || !volatile.Is(text) {
			rest = append(rest, name) // whatever is wrong with it, load says
			continue
		}
		if found != nil {
			return nil, usageError("need one file of volatile fields, found %s and %s", found.File, name)
		}
		if found, err = volatile.Parse(name, text); err != nil {
			return nil, err
		}
	}
	o.rules = rest
	return found, nil
}

func isRuleFile(name string) bool {
	return strings.ContainsRune(name, '/') || strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

// open returns the rules and the salt. Without a salt nothing is scrubbed, and
// then nothing is written.
func (o *ruleFlags) open(ctx context.Context) (*scrub.Rules, scrub.Salt, error) {
	rules, err := o.load()
	if err != nil {
		return nil, scrub.Salt{}, err
	}
	salt, err := openSalt(ctx, o.salt)
	return rules, salt, err
}

// outputFlags say how what comes out of a recording is shown.
type outputFlags struct {
	unscrubbed bool
	private    ruleFlags
}

func (o *outputFlags) add(f *pflag.FlagSet) {
	f.BoolVar(&o.unscrubbed, "unscrubbed", false, "print what the recording holds as it is, secrets and all")
	o.private.add(f)
	f.Lookup("salt").DefValue = "the bundle's own, if it is here, or else " + seal.DefaultSalt
	o.private.salt = ""
}

// scrubber returns what the output of a recording goes through, or nil if none
// is asked for. With the bundle's salt, its tokens are those in the bundle.
// Where no salt can be kept one is drawn for this output alone.
func (o *outputFlags) scrubber(ctx context.Context, m *bundle.Manifest, term *ui.Term) (*scrub.Scrubber, error) {
	if o.unscrubbed {
		return nil, nil
	}
	rules, err := o.private.load()
	if err != nil {
		return nil, err
	}
	salt, err := o.saltFor(ctx, m)
	if err != nil && o.private.salt != "" {
		return nil, err
	}
	if err != nil {
		term.Say(fmt.Sprintf("warning: %v; tokens in this output are its own", err))
		key := make([]byte, 32)
		rand.Read(key) // never fails
		if salt, err = scrub.NewSalt("none", key); err != nil {
			return nil, err
		}
	}
	return scrub.New(rules, salt)
}

func (o *outputFlags) saltFor(ctx context.Context, m *bundle.Manifest) (scrub.Salt, error) {
	refs := []string{seal.DefaultSalt}
	if own, ok := seal.SaltRef(m.Privacy.PIIHashSaltKDF); ok {
		refs = []string{own, seal.DefaultSalt}
	}
	if o.private.salt != "" {
		refs = []string{o.private.salt}
	}
	var first error
	for _, ref := range refs {
		salt, err := openSalt(ctx, ref)
		if err == nil {
			return salt, nil
		}
		first = cmp.Or(first, err)
	}
	return scrub.Salt{}, first
}

func openSalt(ctx context.Context, ref string) (scrub.Salt, error) {
	ref, key, err := seal.Salt(ctx, ref, seal.Options{KeyFile: seal.DefaultKeyFile()})
	if err != nil {
		return scrub.Salt{}, err
	}
	return scrub.NewSalt(ref, key)
}

// sayScrubbed tells that what was shown is not what there is.
func sayScrubbed(s *scrub.Scrubber, term *ui.Term) {
	if s == nil {
		return
	}
	n := int64(0)
	for _, c := range s.Report().Counts {
		n += c.Count
	}
	if n > 0 {
		term.Say(fmt.Sprintf("%s in this output scrubbed; --unscrubbed shows what was recorded", count(int(n), "value")))
	}
}

// cleanText scrubs text; a nil scrubber leaves it.
func cleanText(s *scrub.Scrubber, text string) string {
	if s == nil || text == "" {
		return text
	}
	return string(s.Text([]byte(text)).Bytes())
}

// scrub takes private data out of the values that a debugger read. Names,
// places and positions are of the program's source.
func (a *answers) scrub(s *scrub.Scrubber) {
	if s == nil {
		return
	}
	for i := range a.Values {
		a.Values[i].Value = cleanValue(s, a.Values[i].Expr, a.Values[i].Value)
	}
	if a.Stack != nil {
		scrubFrames(s, a.Stack.Frames)
	}
	for _, t := range a.Threads {
		scrubFrames(s, t.Frames)
	}
	for i := range a.Writes {
		w := &a.Writes[i]
		w.Old, w.New = cleanValue(s, w.Expr, w.Old), cleanValue(s, w.Expr, w.New)
		scrubFrames(s, w.Frames)
	}
}

func scrubFrames(s *scrub.Scrubber, frames []rewind.Frame) {
	for _, f := range frames {
		for i := range f.Args {
			f.Args[i].Value = cleanValue(s, f.Args[i].Name, f.Args[i].Value)
		}
	}
}

// cleanValue scrubs a value as a debugger prints it. The name decides for texts
// alone: a number called token is a count, most likely.
func cleanValue(s *scrub.Scrubber, name, value string) string {
	if strings.ContainsRune(value, '"') {
		return s.Field(scrub.Attr, name, value)
	}
	return cleanText(s, value)
}

// guard is what stands between a program's data and a bundle.
type guard struct {
	rules  *scrub.Rules
	salt   scrub.Salt
	clean  *scrub.Scrubber
	sealer bundle.Sealer // nil if no key was named
	raw    bool          // leave everything as it is
}

// newGuard finds out before the first byte is recorded whether it can be made
// safe: what is wrong with a rule or a salt comes up here.
func newGuard(ctx context.Context, o ruleFlags, s bundle.Sealer) (*guard, error) {
	rules, salt, err := o.open(ctx)
	if err != nil {
		return nil, err
	}
	clean, err := scrub.New(rules, salt)
	if err != nil {
		return nil, err
	}
	return &guard{rules: rules, salt: salt, clean: clean, sealer: s}, nil
}

// text scrubs what is said about a recording.
func (g *guard) text(s string) string { return cleanText(g.clean, s) }

// packer brings files into w. Without a key, restricted ones are in clear if
// policy says why they may, and withheld if it is "".
func (g *guard) packer(w *bundle.Writer, policy string) (*privacy.Packer, error) {
	opt := privacy.Options{Rules: g.rules, Salt: g.salt, SaltField: seal.SaltField(g.salt.Ref), Policy: policy, Raw: g.raw}
	if g.sealer != nil {
		opt.Keys = g.sealer.Key().Refs()
	}
	return privacy.NewPacker(w, opt)
}
