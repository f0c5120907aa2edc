package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/testscript"
)

// canaries are made-up secrets, ten of each kind, always the same. A test
// plants them wherever a recorder looks, and then looks for them wherever
// tapedeck wrote.
func canaries() map[string][]string {
	r := rand.New(rand.NewPCG(20, 200))
	text := func(alphabet string, n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		return string(b)
	}
	const (
		digit = "0123456789"
		upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		lower = "abcdefghijklmnopqrstuvwxyz"
		alnum = upper + lower + digit
	)
	part := func(v any) string {
		b, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	kinds := map[string]func() string{
		"email": func() string { return text(lower, 8) + "." + text(lower, 6) + "@" + text(lower, 9) + ".example" },
		"pan":   func() string { return luhn("4" + text(digit, 14)) },
		"iban":  func() string { return iban("DE", text("123456789", 18)) },
		"ssn": func() string {
			return "5" + text("123456789", 2) + "-" + text("123456789", 2) + "-" + text("123456789", 4)
		},
		"phone": func() string { return "+4930" + text("123456789", 8) },
		"jwt": func() string {
			return part(map[string]string{"alg": "HS256"}) + "." + part(map[string]string{"sub": text(alnum, 12)}) + "." + text(alnum, 43)
		},
		"aws":         func() string { return "AKIA" + text(upper+"234567", 16) },
		"github":      func() string { return "ghp_" + text(alnum, 36) },
		"gitlab":      func() string { return "glpat-" + text(alnum, 20) },
		"slack":       func() string { return "xoxb-" + text(digit, 12) + "-" + text(digit, 12) + "-" + text(alnum, 24) },
		"stripe":      func() string { return "sk_live_" + text(alnum, 24) },
		"google":      func() string { return "AIza" + text(alnum, 35) },
		"openai":      func() string { return "sk-" + text(alnum, 48) },
		"npm":         func() string { return "npm_" + text(alnum, 36) },
		"sendgrid":    func() string { return "SG." + text(alnum, 22) + "." + text(alnum, 43) },
		"bearer":      func() string { return "Bearer " + text(alnum, 32) },
		"basic":       func() string { return "Basic " + base64.StdEncoding.EncodeToString([]byte("shop:"+text(alnum, 13))) },
		"conn_string": func() string { return "postgres://shop:" + text(alnum, 14) + "@db.internal:5432/shop" },
		"private_key": func() string {
			return "-----BEGIN PRIVATE KEY-----\n" + text(alnum, 64) + "\n" + text(alnum, 64) + "\n-----END PRIVATE KEY-----"
		},
		"password": func() string { return "password=" + text(alnum, 16) },
	}
	all := map[string][]string{}
	for _, kind := range sortedKeys(kinds) {
		for range 10 {
			all[kind] = append(all[kind], kinds[kind]())
		}
	}
	return all
}

// needles are what must be found nowhere: of a canary the part that is secret,
// which scrubbing may leave the words around of.
func needles() []string {
	var list []string
	for kind, values := range canaries() {
		for _, v := range values {
			switch kind {
			case "bearer", "basic":
				_, v, _ = strings.Cut(v, " ")
			case "password":
				_, v, _ = strings.Cut(v, "=")
			case "conn_string":
				_, v, _ = strings.Cut(v, "shop:")
				v, _, _ = strings.Cut(v, "@")
			case "private_key":
				v = strings.Split(v, "\n")[1]
			case "jwt":
				v = v[strings.LastIndexByte(v, '.')+1:]
			}
			list = append(list, v)
		}
	}
	return list
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

func luhn(n string) string {
	sum := 0
	for i := range n {
		d := int(n[len(n)-1-i] - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return n + string(rune('0'+(10-sum%10)%10))
}

func iban(country, bban string) string {
	rest := 0
	for _, c := range bban + country + "00" {
		v := int(c - '0')
		if c >= 'A' {
			v = int(c-'A') + 10
			rest = rest * 10 % 97
		}
		rest = (rest*10 + v) % 97
	}
	return fmt.Sprintf("%s%02d%s", country, 98-rest, bban)
}

// noleak PATH... looks for every canary in everything below the paths: in the
// bytes as they are, and in what gzip, zstd, base64, percent signs and UTF-16
// hide. It has no code of the product's in it.
func noleak(ts *testscript.TestScript, neg bool, args []string) {
	list := needles()
	found := map[string]int{}
	for _, root := range args {
		err := filepath.WalkDir(ts.MkAbs(root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for where, text := range layers(b) {
				for _, n := range list {
					if bytes.Contains(text, []byte(n)) {
						found[path+" ("+where+"): "+n]++
					}
				}
			}
			return nil
		})
		ts.Check(err)
	}
	if neg && len(found) == 0 {
		ts.Fatalf("found no secret: the search itself doesn't work")
	}
	if !neg && len(found) > 0 {
		ts.Fatalf("found secrets, with how many of each place: %v", found)
	}
}

// layers are the bytes and what they hide.
func layers(b []byte) map[string][]byte {
	all := map[string][]byte{"as it is": b}
	if z, err := zstd.NewReader(bytes.NewReader(b)); err == nil {
		if plain, err := io.ReadAll(z); err == nil && len(plain) > 0 {
			all["zstd"] = plain
		}
		z.Close()
	}
	for name, text := range all {
		for i := 0; ; i++ {
			j := bytes.Index(text[i:], []byte{0x1f, 0x8b, 8})
			if j < 0 {
				break
			}
			i += j
			if z, err := gzip.NewReader(bytes.NewReader(text[i:])); err == nil {
				plain, _ := io.ReadAll(z)
				all[name+", gzip"] = append(all[name+", gzip"], plain...)
			}
		}
	}
	for name, text := range all {
		all[name+", base64"] = unbase64(text)
		if plain, err := url.PathUnescape(strings.ReplaceAll(string(text), "%%", "%25%25")); err == nil {
			all[name+", percent"] = []byte(plain)
		}
		all[name+", UTF-16"] = bytes.ReplaceAll(text, []byte{0}, nil)
	}
	return all
}

// unbase64 decodes every long run of the alphabet at each phase.
func unbase64(b []byte) []byte {
	var out []byte
	in := func(c byte) bool {
		return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '+' || c == '/' || c == '-' || c == '_'
	}
	for i := 0; i < len(b); i++ {
		j := i
		for j < len(b) && in(b[j]) {
			j++
		}
		if j-i >= 16 {
			text := strings.NewReplacer("-", "+", "_", "/").Replace(string(b[i:j]))
			for phase := range 4 {
				plain, _ := base64.RawStdEncoding.DecodeString(text[phase : phase+(len(text)-phase)/4*4])
				out = append(append(out, plain...), '\n')
			}
		}
		i = j
	}
	return out
}
