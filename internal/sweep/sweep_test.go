package sweep

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
)

func scan(t testing.TB, b []byte) []Finding {
	t.Helper()
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	var got []Finding
	if err := s.Scan(bytes.NewReader(b), func(f Finding) { got = append(got, f) }); err != nil {
		t.Fatal(err)
	}
	return got
}

// planted has one of each class, which no issuer gave out.
var planted = map[string]string{
	"email":       "fatima.vijaya+shop@mail.example.org",
	"pan":         "4111 1111 1111 1111",
	"iban":        "DE89 3704 0044 0532 0130 00",
	"ssn":         "536-22-8726",
	"jwt":         "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
	"private_key": "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY/PuoAoGCCqGSM49\n",
	"api_key":     "AKIA" + "QWERTYUIOPASDFGH",
	"bearer":      "Bearer 9f86d081884c7d659a2feaa0c55ad015",
	"basic":       "Basic " + "Y2hlY2tvdXQ6aHVudGVyMi0x",
	"conn_string": "postgres://shop:hunter2x@db:5432/shop",
}

func TestEachClass(t *testing.T) {
	for class, secret := range planted {
		got := scan(t, []byte("at 12:30 we saw "+secret+" pass\n"))
		if !slices.ContainsFunc(got, func(f Finding) bool { return f.Class == class }) {
			t.Errorf("%s: found %v", class, got)
		}
	}
}

func TestHidden(t *testing.T) {
	secret := "call me under " + planted["email"] + " any time"
	packed := func(text string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write([]byte(text))
		z.Close()
		return b.Bytes()
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	var wide []byte
	for _, u := range utf16.Encode([]rune(secret)) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	escaped := strings.ReplaceAll(secret, "@", `\u0040`)
	inJSON, _ := json.Marshal(map[string]string{"body": base64.StdEncoding.EncodeToString([]byte(secret))})
	for name, c := range map[string]struct {
		text []byte
		via  string
	}{
		"base64":            {[]byte("user:" + base64.StdEncoding.EncodeToString([]byte(secret)) + " end"), "base64"},
		"base64, other key": {[]byte("data=" + base64.RawURLEncoding.EncodeToString([]byte("?>"+secret)) + "&x=1"), "base64"},
		"base64 in JSON":    {inJSON, "base64"},
		"percent":           {[]byte("GET /find?who=" + url.QueryEscape(secret)), "percent"},
		"escapes":           {[]byte(`{"who":"` + escaped + `"}`), "escapes"},
		"gzip":              {append([]byte("HTTP/1.1 200 OK\r\n\r\n"), packed(secret)...), "gzip"},
		"gzip, the whole":   {packed(secret), "gzip"},
		"zstd, the whole":   {enc.EncodeAll([]byte(secret), nil), "zstd"},
		"gzip in base64":    {[]byte("b " + base64.StdEncoding.EncodeToString(packed(secret))), "base64"},
		"UTF-16":            {append([]byte("x\x00\x01"), wide...), "utf16"},
	} {
		got := scan(t, c.text)
		if !slices.ContainsFunc(got, func(f Finding) bool { return f.Class == "email" && f.Via == c.via }) {
			t.Errorf("%s: found %v, want an email in %s", name, got, c.via)
		}
	}
}

// Near misses must not cry wolf: who is alarmed for nothing stops looking.
func TestNearMisses(t *testing.T) {
	for _, text := range []string{
		"order 4111111111111112 was paid", // Luhn
		"id 1234567812345670123 is no card",
		"trace 8f2d67e7a61234567890abcdef123456",
		"550e8400-e29b-41d4-a716-446655440000",
		"2025-01-03T12:34:56.540Z took 120000000 ns",
		"getty@tty1.service loaded", "git@github", "a@b",
		"DE00 3704 0044 0532 0130 00", // checksum
		"000-12-3456", "666-12-3456", "2025-10-1234",
		"Bearer realm=api", "Basic realm-of-the-coin",
		"Authorization: Bearer tok_bearer_mfrggzdfmztwq2lk23mfrggzdf",
		"postgres://shop:tok_password_mfrggzdfmztwq2lk@db/shop", "postgres://shop:tok_password_mfrggzdfmztwq2lk@db.internal/shop", "postgres://shop:****@db/shop", "http://%s:%s@%s/",
		"tok_email_mfrggzdfmztwq2lk tok_pan_nbswy3dpnbswy3dp",
		"sk-something-that-is-a-css-class-name",
		"4444444444444444 4242", "1.4111111111111111",
	} {
		if got := scan(t, []byte(text)); len(got) > 0 {
			t.Errorf("%s: found %v", text, got)
		}
	}
}

// Wherever the windows end, each finding is told once, at its place.
func TestWindows(t *testing.T) {
	secret := planted["conn_string"]
	for _, at := range []int{0, window - 20, window, window + overlap - 20, window + overlap, 2*window - 3} {
		text := bytes.Repeat([]byte("."), 3*window)
		copy(text[at:], " "+secret+" ")
		got := scan(t, text)
		if len(got) != 1 || got[0].Class != "conn_string" || got[0].Offset != int64(at)+1 {
			t.Errorf("at %d: found %v", at, got)
		}
	}
}

func TestClasses(t *testing.T) {
	s, err := New("email")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	text := planted["ssn"] + " " + planted["email"]
	if err := s.Scan(strings.NewReader(text), func(f Finding) { got = append(got, f.Class) }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != "[email]" {
		t.Errorf("found %v", got)
	}
	if _, err := New("shoe_size"); err == nil {
		t.Error("an unknown class is no error")
	}
}

func FuzzScan(f *testing.F) {
	for _, secret := range planted {
		f.Add([]byte(secret))
		f.Add([]byte(url.QueryEscape(secret)))
		f.Add([]byte(base64.StdEncoding.EncodeToString([]byte(secret))))
	}
	s, err := New()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := s.Scan(bytes.NewReader(b), func(f Finding) {
			if f.Offset < 0 || f.Offset >= int64(len(b)) && f.Via == "" {
				t.Errorf("offset %d of %d bytes", f.Offset, len(b))
			}
		})
		_ = err // of damaged gzip and zstd
	})
}

func BenchmarkScan(b *testing.B) {
	line := `{"ts":"2025-01-03T12:34:56.540Z","level":"info","msg":"request done","path":"/api/v1/orders/123456","status":200,"dur_ms":12.5,"trace":"8f2d67e7a61234567890abcdef123456"}` + "\n"
	text := bytes.Repeat([]byte(line), 20000)
	s, err := New()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if err := s.Scan(bytes.NewReader(text), func(Finding) {}); err != nil {
			b.Fatal(err)
		}
	}
}
