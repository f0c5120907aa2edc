package seal

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

// Sealer encrypts the files of one bundle. It is a [bundle.Sealer].
type Sealer struct {
	bind binding
	key  bundle.Key
	data streamKey

	mu  sync.Mutex
	enc *zstd.Encoder // nil while a file uses it
}

// NewSealer makes an id for a bundle that is going to be written, and a data
// key, and has it wrapped by each of the keys that refs name. Whatever can
// fail because of a key fails here, so call it before the run that is to be
// recorded.
func NewSealer(ctx context.Context, refs []string, opt Options) (*Sealer, error) {
	return NewSealerFor(ctx, newBundleID(), refs, opt)
}

// NewSealerFor is NewSealer for a bundle that has its id already.
func NewSealerFor(ctx context.Context, bundleID string, refs []string, opt Options) (*Sealer, error) {
	if len(refs) == 0 {
		return nil, errors.New("seal: need the reference of a key, found none")
	}
	dataKey := newSecret()
	s := &Sealer{bind: binding{tenant: tenant(refs, opt), bundle: bundleID, key: newKeyID()}}
	if err := s.bind.check(); err != nil {
		return nil, err
	}
	copies, err := wrapAll(ctx, refs, dataKey.bytes(), s.bind, opt)
	if err != nil {
		return nil, err
	}
	s.key = bundle.Key{ID: s.bind.key, Scheme: Scheme, Tenant: s.bind.tenant}
	setCopies(&s.key, copies)
	s.data = streamKey{dataKey}
	s.enc, err = newEncoder()
	return s, err
}

// BundleID is the id of the bundle.
func (s *Sealer) BundleID() string { return s.bind.bundle }

// Key is the manifest's entry of the data key.
func (s *Sealer) Key() bundle.Key { return s.key }

// Seal encrypts a file.
func (s *Sealer) Seal(path string, plain io.Reader) (io.Reader, error) {
	s.mu.Lock()
	enc := s.enc
	s.enc = nil
	s.mu.Unlock()
	if enc == nil { // another file is under way
		var err error
		if enc, err = newEncoder(); err != nil {
			return nil, err
		}
	}
	r, err := encrypt(s.data, enc, s.bind.file(path), plain)
	if err != nil {
		return nil, err
	}
	return &handsBack{r, s, enc}, nil
}

// handsBack gives the compressor back when the file is at its end.
type handsBack struct {
	io.Reader
	s   *Sealer
	enc *zstd.Encoder
}

func (h *handsBack) Read(b []byte) (int, error) {
	n, err := h.Reader.Read(b)
	if err == io.EOF && h.enc != nil {
		h.s.mu.Lock()
		h.s.enc, h.enc = h.enc, nil
		h.s.mu.Unlock()
	}
	return n, err
}

// Format keeps the data key out of whatever prints a Sealer.
func (s *Sealer) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "sealer of bundle %s", s.bind.bundle) }

// wrapAll wraps a data key with several keys, each once.
func wrapAll(ctx context.Context, refs []string, dataKey []byte, bind binding, opt Options) ([]bundle.WrappedKey, error) {
	var list []bundle.WrappedKey
	seen := map[string]bool{}
	for _, ref := range refs {
		w, err := OpenKey(ctx, ref, opt)
		if err != nil {
			return nil, err
		}
		if seen[w.Ref()] {
			continue
		}
		seen[w.Ref()] = true
		wrapped, err := w.Wrap(ctx, dataKey, bind.wrap())
		if err != nil {
			return nil, err
		}
		list = append(list, bundle.WrappedKey{KeyRef: w.Ref(), WrappedKey: base64.StdEncoding.EncodeToString(wrapped)})
	}
	return list, nil
}

// copiesOf lists all copies of a data key; setCopies is the reverse.
func copiesOf(k bundle.Key) []bundle.WrappedKey {
	var list []bundle.WrappedKey
	if k.WrappedKey != "" {
		list = append(list, bundle.WrappedKey{KeyRef: k.KeyRef, WrappedKey: k.WrappedKey})
	}
	return append(list, k.Copies...)
}

func setCopies(k *bundle.Key, list []bundle.WrappedKey) {
	k.KeyRef, k.WrappedKey, k.Copies = list[0].KeyRef, list[0].WrappedKey, list[1:]
}

func tenant(refs []string, opt Options) string {
	if opt.Tenant != "" {
		return opt.Tenant
	}
	for _, ref := range refs {
		if r, err := parseLocal(ref); err == nil {
			return r.name
		}
	}
	return "default"
}

// newBundleID is a UUID, version 4.
func newBundleID() string {
	var id [16]byte
	rand.Read(id[:])
	id[6] = id[6]&0x0F | 0x40
	id[8] = id[8]&0x3F | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

func newKeyID() string {
	var id [4]byte
	rand.Read(id[:])
	return "dk" + hex.EncodeToString(id[:])
}
