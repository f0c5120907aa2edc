package seal

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
)

// TestNothingIsPrinted: no way of printing what this package hands out shows a
// key, and no error cites one.
func TestNothingIsPrinted(t *testing.T) {
	ctx := context.Background()
	opt := local(t)
	s, err := NewSealer(ctx, []string{DefaultKey}, opt)
	must(t, err)
	x := sealWith(t, s, "a", []byte("plain"))
	o := NewOpener(ctx, nil, opt)
	_, err = x.open(o)
	must(t, err)
	w, err := OpenKey(ctx, DefaultKey, opt)
	must(t, err)
	f, err := Keys{opt.KeyFile}.load()
	must(t, err)
	list, err := Keys{opt.KeyFile}.List()
	must(t, err)

	key := f.entries[0].versions[0].key
	needles := []string{}
	for _, k := range []secret{key, s.data.key} {
		b := k.bytes()
		needles = append(needles, string(b), k.text(), hex.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b),
			fmt.Sprintf("%v", b)[1:40], fmt.Sprintf("%#v", b)[7:40], fmt.Sprintf("% x", b), fmt.Sprintf("%X", b))
	}
	clean := func(where, text string) {
		t.Helper()
		for _, n := range needles {
			if strings.Contains(text, n) {
				t.Errorf("%s shows a key: %.100q", where, text)
			}
		}
	}
	for _, v := range []any{s, struct{ s *Sealer }{s}, struct{ Data streamKey }{s.data}, o, w, key, &key, f, *f, f.entries[0], *f.entries[0], f.entries[0].versions, list, Keys{opt.KeyFile}, s.Key(), s.data, opt, struct{ k secret }{key}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			clean(fmt.Sprintf("%T with %s", v, verb), fmt.Sprintf(verb, v))
		}
		if b, err := json.Marshal(v); err == nil {
			clean(fmt.Sprintf("JSON of %T", v), string(b))
		}
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		clean("slog", log.String())
	}

	// A key file that is damaged around the key, and one where the key is of
	// another type: errors say where, never what.
	text, err := os.ReadFile(opt.KeyFile)
	must(t, err)
	for i := range text {
		for _, c := range []byte{'"', '{', '1', 'x', 0xFF} {
			bad := bytes.Clone(text)
			bad[i] = c
			if _, err := parseKeyFile(bad); err != nil {
				clean("parse error", err.Error())
			}
			if _, err := parseKeyFile(bad[:i]); err != nil {
				clean("parse error", err.Error())
			}
		}
	}
	for _, ref := range []string{"AGE-SECRET-KEY-1PQQQQ", "base64key://c2VjcmV0c2VjcmV0", "hunter2"} {
		if _, err := OpenKey(ctx, ref, opt); err == nil || strings.Contains(err.Error(), ref) || strings.Contains(err.Error(), "c2Vj") {
			t.Errorf("%v", err)
		}
	}
}
