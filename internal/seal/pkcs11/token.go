//go:build cgo

package pkcs11

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/miekg/pkcs11"

	"github.com/tapedeck-dev/tapedeck/internal/seal/hsm"
)

// Config says how to reach tokens.
type Config struct {
	Module string // path of the token's library; the usual places are searched if it is ""
	PIN    string
}

// usual are the libraries that are tried, in this order.
var usual = []string{
	"/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so", "/usr/lib64/p11-kit-proxy.so", "/usr/lib/p11-kit-proxy.so",
	"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so",
}

// token is an open session with a token.
type token struct {
	ctx     *pkcs11.Ctx
	session pkcs11.SessionHandle
	ref     uri
}

// Do answers a request. The error of the answer has no key and no PIN in it.
func Do(c Config, r hsm.Request) hsm.Answer {
	data, err := do(c, r)
	if err == nil {
		return hsm.Answer{Data: data}
	}
	var told *told
	if errors.As(err, &told) {
		return hsm.Answer{Error: &told.why}
	}
	return hsm.Answer{Error: &hsm.Error{Need: "a token that does what it is asked for", Found: err.Error()}}
}

// told is an error that says what to do.
type told struct{ why hsm.Error }

func (t *told) Error() string { return t.why.Need + ": " + t.why.Found }

func do(c Config, r hsm.Request) ([]byte, error) {
	u, err := parseURI(r.Ref)
	if err != nil {
		return nil, &told{hsm.Error{Need: "a reference of a key in a token", Found: err.Error()}}
	}
	t, err := open(c, u)
	if err != nil {
		return nil, err
	}
	defer t.close()
	if r.Op == "new" {
		return nil, t.make()
	}
	key, err := t.find()
	if err != nil {
		return nil, err
	}
	switch r.Op {
	case "wrap":
		return t.encrypt(key, r.Data, r.AAD)
	case "unwrap":
		return t.decrypt(key, r.Data, r.AAD)
	case "destroy":
		return nil, t.ctx.DestroyObject(t.session, key)
	}
	return nil, fmt.Errorf("need wrap, unwrap, new or destroy, found %.20q", r.Op)
}

func open(c Config, u uri) (*token, error) {
	module := c.Module
	for _, p := range usual {
		if _, err := os.Stat(p); module == "" && err == nil {
			module = p
		}
	}
	if module == "" {
		return nil, &told{hsm.Error{Setup: true, Need: "the PKCS#11 library of a token", Found: "none in the usual places",
			Fix: "TAPEDECK_PKCS11_MODULE=/path/of/library.so; apt-get install softhsm2 is a token in software"}}
	}
	p := pkcs11.New(module)
	if p == nil {
		return nil, &told{hsm.Error{Setup: true, Need: "a PKCS#11 library that can be loaded", Found: module, Fix: "TAPEDECK_PKCS11_MODULE names another"}}
	}
	t := &token{ctx: p, ref: u}
	if err := p.Initialize(); err != nil {
		p.Destroy()
		return nil, &told{hsm.Error{Setup: true, Need: "a PKCS#11 library that starts", Found: fmt.Sprintf("%s: %v", module, err)}}
	}
	if err := t.login(c.PIN); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *token) close() {
	_ = t.ctx.Finalize() // ends sessions too
	t.ctx.Destroy()
}

func (t *token) login(pin string) error {
	slots, err := t.ctx.GetSlotList(true)
	if err != nil {
		return err
	}
	var found []uint
	var labels []string
	for _, s := range slots {
		info, err := t.ctx.GetTokenInfo(s)
		if err != nil {
			return err
		}
		if label := strings.TrimRight(info.Label, " \x00"); label == t.ref.token {
			found = append(found, s)
		} else if info.Flags&pkcs11.CKF_TOKEN_INITIALIZED != 0 {
			labels = append(labels, fmt.Sprintf("%q", label))
		}
	}
	if len(found) != 1 {
		return &told{hsm.Error{Setup: true, Need: fmt.Sprintf("one token with the label %q", t.ref.token), Found: fmt.Sprintf("%d, and others: [%s]", len(found), strings.Join(labels, " "))}}
	}
	if t.session, err = t.ctx.OpenSession(found[0], pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION); err != nil {
		return err
	}
	if pin == "" {
		return &told{hsm.Error{Need: "the PIN of the token", Found: "none", Fix: "TAPEDECK_PKCS11_PIN_FILE names a file that has it; TAPEDECK_PKCS11_PIN is it"}}
	}
	switch err := t.ctx.Login(t.session, pkcs11.CKU_USER, pin); {
	case errors.Is(err, pkcs11.Error(pkcs11.CKR_PIN_INCORRECT)):
		return &told{hsm.Error{Need: "the PIN of the token", Found: "a wrong one", Fix: "check it before you try again: tokens lock themselves after a few wrong ones"}}
	case err != nil && !errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)):
		return err
	}
	return nil
}

func (t *token) list() ([]pkcs11.ObjectHandle, error) {
	err := t.ctx.FindObjectsInit(t.session, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_LABEL, t.ref.object),
	})
	if err != nil {
		return nil, err
	}
	list, _, err := t.ctx.FindObjects(t.session, 2)
	return list, errors.Join(err, t.ctx.FindObjectsFinal(t.session))
}

func (t *token) find() (pkcs11.ObjectHandle, error) {
	list, err := t.list()
	if err != nil {
		return 0, err
	}
	switch len(list) {
	case 0:
		return 0, &told{hsm.Error{Need: fmt.Sprintf("a secret key with the label %q in the token", t.ref.object), Found: "none; if it was destroyed, what it wrapped is lost",
			Fix: "tapedeck key new 'pkcs11:token=…;object=…' makes a new one"}}
	case 1:
		return list[0], nil
	}
	return 0, &told{hsm.Error{Need: fmt.Sprintf("one secret key with the label %q in the token", t.ref.object), Found: "several"}}
}

// make makes an AES key that the token never lets out.
func (t *token) make() error {
	list, err := t.list()
	if err != nil {
		return err
	}
	if len(list) > 0 {
		return &told{hsm.Error{Need: "a label that no key of the token has", Found: fmt.Sprintf("%q, which one has", t.ref.object)}}
	}
	_, err = t.ctx.GenerateKey(t.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, t.ref.object), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, true), pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, true), pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32),
	})
	return err
}

const (
	nonceSize = 12
	tagBits   = 128
)

// encrypt returns the nonce and what AES-GCM makes of data.
func (t *token) encrypt(key pkcs11.ObjectHandle, data, aad []byte) ([]byte, error) {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	p := pkcs11.NewGCMParams(nonce, aad, tagBits)
	defer p.Free()
	if err := t.ctx.EncryptInit(t.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, p)}, key); err != nil {
		return nil, err
	}
	out, err := t.ctx.Encrypt(t.session, data)
	if err != nil {
		return nil, err
	}
	if iv := p.IV(); len(iv) == nonceSize { // some tokens insist on one of their own
		nonce = iv
	}
	return append(nonce, out...), nil
}

func (t *token) decrypt(key pkcs11.ObjectHandle, data, aad []byte) ([]byte, error) {
	bad := &told{hsm.Error{Need: "a data key that it wrapped for this bundle", Found: "one that is damaged, or of another key, bundle or tenant"}}
	if len(data) <= nonceSize {
		return nil, bad
	}
	p := pkcs11.NewGCMParams(data[:nonceSize], aad, tagBits)
	defer p.Free()
	if err := t.ctx.DecryptInit(t.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, p)}, key); err != nil {
		return nil, err
	}
	out, err := t.ctx.Decrypt(t.session, data[nonceSize:])
	if err != nil {
		// Libraries differ in the code that a wrong tag has.
		bad.why.Found += fmt.Sprintf(" (%v)", err)
		return nil, bad
	}
	return out, nil
}
