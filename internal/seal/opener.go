package seal

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

// Opener decrypts the files of bundles. It is a [bundle.Opener].
//
// A bundle says by which keys it can be opened, and whoever made it can write
// anything there. So an Opener goes by itself only to the local key file and
// to identities; to a token or a service it turns only if its user named that
// very key.
type Opener struct {
	ctx  context.Context // of the command that reads the bundle: a key service is asked late
	opt  Options
	refs []string

	mu   sync.Mutex
	keys map[string]*unwrapped
}

// unwrapped is a data key that was tried to be unwrapped, once.
type unwrapped struct {
	sync.Once
	key secret
	err error
}

// NewOpener makes an Opener. refs are the keys of other providers than the
// local key file that may be asked. No key is touched before a file needs it.
func NewOpener(ctx context.Context, refs []string, opt Options) *Opener {
	return &Opener{ctx: ctx, opt: opt, refs: refs, keys: map[string]*unwrapped{}}
}

// Format keeps keys out of whatever prints an Opener.
func (o *Opener) Format(f fmt.State, _ rune) { fmt.Fprint(f, "opener of bundles") }

// Open decrypts a file.
func (o *Opener) Open(m *bundle.Manifest, f bundle.File, stored io.Reader) (io.Reader, error) {
	i := slices.IndexFunc(m.Keys, func(k bundle.Key) bool { return k.ID == f.Encryption })
	if i < 0 {
		return nil, damaged(f.Path, errors.New("no key of that id"))
	}
	k := m.Keys[i]
	u, err := o.unwrap(m.BundleID, k)
	if err != nil {
		var locked *bundle.LockedError
		if errors.As(err, &locked) {
			mine := *locked
			mine.Path = f.Path
			return nil, &mine
		}
		return nil, damaged(f.Path, err)
	}
	plain, err := decrypt(streamKey{u.key}, bindingOf(m.BundleID, k).file(f.Path), stored, f.Size)
	if err != nil {
		return nil, blame(f.Path, err)
	}
	return &opened{plain, f.Path}, nil
}

// opened says of an error in which file it is.
type opened struct {
	io.Reader
	path string
}

func (p *opened) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if err != nil && err != io.EOF {
		err = blame(p.path, err)
	}
	return n, err
}

// blame leaves errors of the layers below as they are.
func blame(path string, err error) error {
	var known *bundle.DamagedError
	if errors.As(err, &known) || !errors.Is(err, errForged) && !errors.Is(err, errGarbled) {
		return err
	}
	return damaged(path, err)
}

func damaged(path string, err error) error {
	return &bundle.DamagedError{Path: path, Offset: -1, Need: "what was encrypted for this file", Found: err.Error(), Err: err}
}

func bindingOf(bundleID string, k bundle.Key) binding {
	return binding{tenant: k.Tenant, bundle: bundleID, key: k.ID}
}

// unwrap finds a data key, once.
func (o *Opener) unwrap(bundleID string, k bundle.Key) (*unwrapped, error) {
	at := bundleID + "\n" + k.ID
	for _, c := range copiesOf(k) {
		at += "\n" + c.KeyRef + "\n" + c.WrappedKey
	}
	o.mu.Lock()
	u := o.keys[at]
	if u == nil {
		u = &unwrapped{}
		o.keys[at] = u
	}
	o.mu.Unlock()
	u.Do(func() { u.key, u.err = o.find(bundleID, k) })
	return u, u.err
}

// find tries the copies of a data key one after the other, those first for
// which nobody has to be asked.
func (o *Opener) find(bundleID string, k bundle.Key) (secret, error) {
	bind := bindingOf(bundleID, k)
	if err := bind.check(); err != nil {
		return secret{}, err
	}
	if k.Scheme != Scheme {
		return secret{}, &bundle.LockedError{Need: k.Refs(), Found: fmt.Sprintf("the encryption scheme %q, which this version doesn't know", shown(k.Scheme)), Fix: "a newer tapedeck may read it"}
	}
	list := slices.SortedStableFunc(slices.Values(copiesOf(k)), func(a, b bundle.WrappedKey) int { return rank(a.KeyRef) - rank(b.KeyRef) })
	var reasons []string
	var causes []error
	locked := &bundle.LockedError{}
	for _, c := range list {
		locked.Need = append(locked.Need, shown(c.KeyRef))
		key, err := o.try(c, bind.wrap())
		if err == nil {
			return key, nil
		}
		reasons, causes = append(reasons, err.Error()), append(causes, err)
		var hint interface{ Hint() string }
		if locked.Fix == "" && errors.As(err, &hint) {
			locked.Fix = hint.Hint()
		}
	}
	locked.Err = errors.Join(causes...)
	locked.Found = "none"
	if len(reasons) > 0 {
		locked.Found += ": " + strings.Join(reasons, "; ")
	}
	return secret{}, locked
}

func (o *Opener) try(c bundle.WrappedKey, aad []byte) (secret, error) {
	ref := c.KeyRef
	wrapped, err := base64.StdEncoding.Strict().DecodeString(c.WrappedKey)
	if err != nil || len(wrapped) > maxWrapped {
		return secret{}, &KeyError{Ref: shown(ref), Need: "a wrapped key, base64", Found: fmt.Sprintf("%d bytes of something else", len(c.WrappedKey))}
	}
	switch scheme(ref) {
	case "local":
		// Opening makes no keys: a reference without id is no manifest's.
		if r, err := parseLocal(ref); err != nil {
			return secret{}, err
		} else if r.id == "" {
			return secret{}, &KeyError{Ref: shown(ref), Need: "a reference with id and version", Found: "the name alone"}
		}
	case "age":
	default:
		if !slices.Contains(o.refs, ref) {
			return secret{}, &KeyError{Ref: shown(ref), Need: "your leave to ask it, since the bundle could name anybody's", Found: "none", Fix: fmt.Sprintf("--key '%s' gives it, or TAPEDECK_KEY", shown(ref))}
		}
	}
	w, err := OpenKey(o.ctx, ref, o.opt)
	if err != nil {
		return secret{}, err
	}
	b, err := w.Unwrap(o.ctx, wrapped, aad)
	if err != nil {
		return secret{}, err
	}
	key, err := secretOf(b)
	if err != nil {
		return secret{}, &KeyError{Ref: shown(ref), Need: "a data key of 32 bytes", Found: fmt.Sprintf("%d bytes", len(b))}
	}
	return key, nil
}

// rank orders kinds of keys by what it takes to ask them.
func rank(ref string) int {
	switch scheme(ref) {
	case "local":
		return 0
	case "age":
		return 1
	}
	return 2
}

// Rewrap has the data keys of a manifest wrapped by further keys, or instead
// of by those that wrapped them before. The files stay as they are: m is all
// that changes.
func (o *Opener) Rewrap(m *bundle.Manifest, refs []string, instead bool) error {
	if len(m.Keys) == 0 {
		return errors.New("need a bundle with encrypted files, found one without")
	}
	for i, k := range m.Keys {
		u, err := o.unwrap(m.BundleID, k)
		if err != nil {
			return err
		}
		list, err := wrapAll(o.ctx, refs, u.key.bytes(), bindingOf(m.BundleID, k), o.opt)
		if err != nil {
			return err
		}
		if !instead {
			fresh := map[string]bool{}
			for _, c := range list {
				fresh[c.KeyRef] = true
			}
			for _, c := range slices.Backward(copiesOf(k)) {
				if !fresh[c.KeyRef] {
					list = slices.Insert(list, 0, c)
				}
			}
		}
		setCopies(&m.Keys[i], list)
	}
	return nil
}
