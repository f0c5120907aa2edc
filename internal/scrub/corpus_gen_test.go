package scrub

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
)

// corpusSeed makes the same documents on every machine.
const corpusSeed = 20250103

// labelled is a value, and the class that it has to be found as; "" for what
// has to stay.
type labelled struct {
	class Class
	value string
}

type document struct {
	kind   string
	text   string
	json   bool // goes through JSON
	fields []labelled
}

type corpus struct{ *rand.Rand }

func (c corpus) pick(list ...string) string { return list[c.IntN(len(list))] }

func (c corpus) from(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[c.IntN(len(alphabet))]
	}
	return string(b)
}

const (
	digitChars = "0123456789"
	hexChars   = "0123456789abcdef"
	lowerChars = "abcdefghijklmnopqrstuvwxyz"
	upperChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	alnumChars = lowerChars + upperChars + digitChars
)

// key has digits for sure: one in a million drawn at random has none.
func (c corpus) key(n int) string { return c.from(alnumChars, n-2) + c.from(digitChars, 2) }

func checkDigit(s string) string {
	d := []byte(s + "0")
	fixLuhn(d)
	return string(d)
}

func grouped(s, sep string, sizes ...int) string {
	var parts []string
	for _, n := range sizes {
		if n >= len(s) {
			break
		}
		parts = append(parts, s[:n])
		s = s[n:]
	}
	return strings.Join(append(parts, s), sep)
}

func (c corpus) pan() string {
	head := c.pick("4", "51", "55", "2221", "2720", "34", "37", "6011", "65", "3530", "36", "62", "5019", "6759", "2200", "9792")
	n := 16
	if head == "34" || head == "37" {
		n = 15
	}
	s := checkDigit(head + c.from(digitChars, n-1-len(head)))
	if strings.Count(s, s[:1]) == len(s) {
		return c.pan()
	}
	sep := c.pick("", "", " ", "-")
	if sep == "" {
		return s
	}
	if n == 15 {
		return grouped(s, sep, 4, 6)
	}
	return grouped(s, sep, 4, 4, 4)
}

func (c corpus) iban() string {
	type country struct {
		code, alphabet string
		n              int
	}
	list := []country{{"DE", digitChars, 18}, {"FR", digitChars, 23}, {"ES", digitChars, 20}, {"NL", "", 14}, {"GB", "", 18}, {"CH", digitChars, 17},
		{"IT", digitChars, 23}, {"PL", digitChars, 24}, {"NO", digitChars, 11}, {"MT", "", 27}, {"AT", digitChars, 16}, {"SE", digitChars, 20}}
	k := list[c.IntN(len(list))]
	body := c.from(digitChars, k.n)
	if k.alphabet == "" {
		body = c.from(upperChars, 4) + c.from(digitChars, k.n-4)
	}
	b := []byte("AA00" + body)
	fixIBANOf(b, k.code)
	return c.pick(string(b), string(b), grouped(string(b), " ", 4, 4, 4, 4, 4, 4, 4))
}

// fixIBANOf computes check digits with big steps, apart from the code tested.
func fixIBANOf(b []byte, country string) {
	copy(b, country+"00")
	var digits strings.Builder
	for _, x := range string(b[4:]) + country + "00" {
		if x >= 'A' {
			fmt.Fprint(&digits, x-'A'+10)
		} else {
			digits.WriteRune(x)
		}
	}
	mod := 0
	for _, x := range digits.String() {
		mod = (mod*10 + int(x-'0')) % 97
	}
	copy(b[2:], fmt.Sprintf("%02d", 98-mod))
}

func (c corpus) phone() string {
	d := func(n int) string { return c.from(digitChars, n) }
	x := func(n int) string { return c.from("23456789", 1) + d(n-1) }
	return c.pick(
		"+1"+x(3)+x(3)+d(4), "+1 "+x(3)+" "+x(3)+" "+d(4), "+1-"+x(3)+"-"+x(3)+"-"+d(4), "+1 ("+x(3)+") "+x(3)+"-"+d(4),
		"("+x(3)+") "+x(3)+"-"+d(4), x(3)+"-"+x(3)+"-"+d(4), x(3)+"."+x(3)+"."+d(4), "1-"+x(3)+"-"+x(3)+"-"+d(4),
		"+44 20 "+x(4)+" "+d(4), "+44 7"+d(3)+" "+d(6), "020 "+x(4)+" "+d(4), "07"+d(3)+" "+d(6), "+44 (0)20 "+x(4)+" "+d(4),
		"+49 30 "+x(6), "+4930"+x(6), "+49 (0)30 "+x(6), "030/"+x(7), "0171 "+x(7), "(030) "+x(7), "0049 30 "+x(7),
		"+33 1 "+d(2)+" "+d(2)+" "+d(2)+" "+d(2), "01 "+x(2)+" "+d(2)+" "+d(2)+" "+d(2), "06."+x(2)+"."+d(2)+"."+d(2)+"."+d(2),
		"+34 6"+d(2)+" "+d(3)+" "+d(3), "+91 9"+d(4)+" "+d(5), "+86 138 "+d(4)+" "+d(4), "+81 3-"+x(4)+"-"+d(4), "+61 2 "+x(4)+" "+d(4),
		"+55 11 9"+d(4)+"-"+d(4), "+7 495 "+d(3)+"-"+d(2)+"-"+d(2), "tel: "+x(10), "mobile 0"+x(9))
}

func (c corpus) apiKey() string {
	return c.pick(
		c.pick("AKIA", "ASIA")+c.from(upperChars+"234567", 16), "AIza"+c.key(35), "ghp_"+c.key(36), "gho_"+c.key(36), "github_pat_"+c.key(22)+"_"+c.key(59),
		"glpat-"+c.key(20), "xoxb-"+c.from(digitChars, 12)+"-"+c.from(digitChars, 12)+"-"+c.key(24), "sk_live_"+c.key(24), "rk_test_"+c.key(24),
		"npm_"+c.key(36), "hf_"+c.key(34), "SG."+c.key(22)+"."+c.key(43), "sk-"+c.key(48), "sk-ant-api03-"+c.key(90)+"AA", "sk-proj-"+c.key(48),
		"SK"+c.from(hexChars, 32), "dop_v1_"+c.from(hexChars, 62)+"00", "shpat_"+c.from(hexChars, 30)+"11", "pypi-"+c.key(100), "hvs."+c.key(24),
		"GOCSPX-"+c.key(28), "whsec_"+c.key(32), "AGE-SECRET-KEY-1"+c.from(upperChars, 56)+"23", "ya29."+c.key(60))
}

func (c corpus) jwt() string {
	part := func(v string) string { return base64.RawURLEncoding.EncodeToString([]byte(v)) }
	return part(`{"alg":"HS256","typ":"JWT"}`) + "." + part(fmt.Sprintf(`{"sub":"%d","iat":%d}`, c.IntN(1e6), 1735907696+c.IntN(1e6))) + "." + c.from(alnumChars+"-_", 43)
}

func (c corpus) private(class Class) string {
	switch class {
	case Email:
		name := c.pick("ada", "Grace.Hopper", "linus+lists", "m_o", "o-k", "jörg", "x.y.z") + c.from(digitChars, c.IntN(3))
		return name + "@" + c.pick("example.org", "Mail.Example.CO.UK", "sub.domain.travel", "bücher.example", "x1.io")
	case PAN:
		return c.pan()
	case IBAN:
		return c.iban()
	case SSN:
		return fmt.Sprintf("%03d%s%02d%s%04d", 1+c.IntN(665), "-", 1+c.IntN(99), "-", 1+c.IntN(9999))
	case Phone:
		return c.phone()
	case IP:
		v4 := fmt.Sprintf("%d.%d.%d.%d", 1+c.IntN(126), c.IntN(256), c.IntN(256), c.IntN(256))
		v6 := fmt.Sprintf("2001:db8:%x::%x", c.IntN(1<<16), 1+c.IntN(1<<16))
		full := fmt.Sprintf("fe80:%x:1:2:3:%x:5:%x", c.IntN(1<<16), c.IntN(1<<16), 1+c.IntN(1<<16))
		return c.pick(v4, v4, v6, full)
	case JWT:
		return c.jwt()
	case PrivateKey:
		label := c.pick("RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
		return "-----BEGIN " + label + "-----\n" + c.from(alnumChars+"+/", 64) + "\n" + c.from(alnumChars+"+/", 64) + "\n" + c.key(40) + "==\n-----END " + label + "-----"
	case APIKey:
		return c.apiKey()
	case Bearer:
		return c.pick("Bearer ", "bearer ", "BEARER ") + c.key(32)
	case Basic:
		return "Basic " + base64.StdEncoding.EncodeToString([]byte("user"+c.from(digitChars, 3)+":"+c.from(alnumChars, 9+c.IntN(5))))
	case ConnString:
		return c.pick("postgres", "mysql", "redis", "amqp", "mongodb+srv", "https") + "://" + c.pick("app", "", "svc_1") + ":" + c.from(alnumChars, 12) + "@db" + c.pick("", ".internal", ".example.com:5432") + "/app"
	}
	panic(class)
}

// secretPart is what of a value must be gone.
func secretPart(l labelled) string {
	switch l.class {
	case Bearer, Basic:
		return l.value[strings.IndexByte(l.value, ' ')+1:]
	case ConnString:
		_, rest, _ := strings.Cut(l.value, "://")
		_, rest, _ = strings.Cut(rest, ":")
		rest, _, _ = strings.Cut(rest, "@")
		return rest
	case Phone:
		return strings.TrimPrefix(strings.TrimPrefix(l.value, "tel: "), "mobile ")
	}
	return l.value
}

// wrong changes the last digit, so that a checksum fails.
func wrong(s string) string {
	b := []byte(s)
	for i := len(b) - 1; i >= 0; i-- {
		if isDigit(b[i]) {
			b[i] = '0' + (b[i]-'0'+1)%10
			break
		}
	}
	return string(b)
}

// harmless values look like something, and are nothing.
func (c corpus) harmless() string {
	uuid := fmt.Sprintf("%s-%s-4%s-a%s-%s", c.from(hexChars, 8), c.from(hexChars, 4), c.from(hexChars, 3), c.from(hexChars, 3), c.from(hexChars, 12))
	return c.pick(
		wrong(c.pan()), wrong(strings.ReplaceAll(c.pan(), " ", "")), uuid, strings.ToUpper(uuid), c.from(hexChars, 40), c.from(hexChars, 64), c.from(hexChars, 32),
		fmt.Sprintf("2025-%02d-%02dT%02d:%02d:%02d.%03dZ", 1+c.IntN(12), 1+c.IntN(28), c.IntN(24), c.IntN(60), c.IntN(60), c.IntN(1000)),
		fmt.Sprintf("%02d.%02d.2025 %02d:%02d", 1+c.IntN(28), 1+c.IntN(12), c.IntN(24), c.IntN(60)),
		fmt.Sprintf("%02d/%02d/2025 %02d:%02d:%02d", 1+c.IntN(12), 1+c.IntN(28), c.IntN(24), c.IntN(60), c.IntN(60)),
		fmt.Sprint(1735907696000+c.Int64N(1e9)), fmt.Sprint(1735907696000000000+c.Int64N(1e15)), fmt.Sprint(1735907696+c.IntN(1e6)),
		fmt.Sprintf("v%d.%d.%d", c.IntN(20), c.IntN(99), c.IntN(99)), fmt.Sprintf("%d.%d.%d-rc%d", c.IntN(20), c.IntN(99), c.IntN(99), c.IntN(9)), "v"+fmt.Sprintf("%d.%d.%d.%d", c.IntN(20), c.IntN(99), c.IntN(99), c.IntN(99)),
		"sha256:"+c.from(hexChars, 64), "0x"+c.from(hexChars, 12), "java.lang.Object@"+c.from(hexChars, 8), "lodash@4.17."+c.from(digitChars, 2), "git@github.com:org/repo", "icon@2x.png",
		fmt.Sprintf("ORD-2025-%06d", c.IntN(1e6)), fmt.Sprintf("#%d", c.IntN(1e7)), fmt.Sprintf("%.6f", c.Float64()*100), fmt.Sprintf("%d ms", c.IntN(1e5)), fmt.Sprintf("%d bytes", c.IntN(1e9)),
		"00:1a:2b:3c:4d:"+c.from(hexChars, 2), "127.0.0.1:8080", "::1", "std::vector", "A::B", "sk-loading-spinner-circle-2", "npm_config_registry", "ghp_", "AKIA", "Bearer token required", "basic auth",
		"http://localhost:8080/a/b@c", "https://example.com/path?x=1&y=2", "text/html; charset=utf-8", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)", "10/10", "3.14159", "1,234,567.89",
		base64.StdEncoding.EncodeToString([]byte(c.from("\x00\x01\x80\xff\x10\x90", 48))), "com.acme.payment.Checkout", "/var/lib/app/data-"+c.from(digitChars, 4), "TODO: fix", "00000000-0000-0000-0000-000000000000",
		"666-12-3456", "000-12-3456", wrong(c.iban()), "DE00 0000", "9780306406157", "978-0-306-40615-7", "1Z999AA10123456784", "W/\"33a64df551425fcc55e4d42a148795d9f25f89d4\"", "300x250", "16:9", "+5%", "-17", "1e10", "10.0.0", "2025-W03", "T+48h")
}

var corpusClasses = []Class{Email, PAN, IBAN, SSN, Phone, IP, JWT, PrivateKey, APIKey, Bearer, Basic, ConnString}

func (c corpus) fields() []labelled {
	list := make([]labelled, 0, 10)
	for range 4 + c.IntN(6) {
		list = append(list, labelled{"", c.harmless()})
	}
	for range 1 + c.IntN(2) {
		class := corpusClasses[c.IntN(len(corpusClasses))]
		i := c.IntN(len(list) + 1)
		list = append(list[:i], append([]labelled{{class, c.private(class)}}, list[i:]...)...)
	}
	return list
}

func quoteJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// document makes one of a kind; the kinds take turns.
func (c corpus) document(n int) document {
	d := document{fields: c.fields()}
	names := []string{"note", "ref", "value", "detail", "x", "item", "extra", "tag", "label", "data"}
	var parts []string
	each := func(kind, sep string, render func(i int, v string) string) {
		d.kind = kind
		for i, f := range d.fields {
			parts = append(parts, render(i, f.value))
		}
		d.text = strings.Join(parts, sep)
	}
	name := func(i int) string { return names[i%len(names)] + fmt.Sprint(i) }
	object := func() string {
		each("", ",", func(i int, v string) string {
			if strings.Trim(v, digitChars) == "" && v[0] != '0' {
				return fmt.Sprintf("%q:%s", name(i), v)
			}
			return fmt.Sprintf("%q:%s", name(i), quoteJSON(v))
		})
		return "{" + d.text + "}"
	}
	switch n % 9 {
	case 0:
		d.text, d.kind, d.json = object(), "json", true
	case 1:
		d.text, d.kind = object()+"\n", "json log"
	case 2:
		each("form", "&", func(i int, v string) string { return name(i) + "=" + url.QueryEscape(v) })
	case 3:
		each("log", "\n", func(i int, v string) string {
			return fmt.Sprintf("2025-01-03 12:34:%02d INFO worker-%d handled %s: %s", i, c.IntN(32), name(i), v)
		})
	case 4:
		each("sql", ", ", func(i int, v string) string { return "'" + strings.ReplaceAll(v, "'", "''") + "'" })
		d.text = "INSERT INTO t VALUES (" + d.text + ");"
	case 5:
		each("headers", "\r\n", func(i int, v string) string {
			return fmt.Sprintf("X-Thing-%d: %s", i, v)
		})
	case 6:
		d.text, d.kind, d.json = `{"body":`+quoteJSON(object())+`}`, "json in json", true
	case 7:
		d.text, d.kind, d.json = `{"body":"`+base64.StdEncoding.EncodeToString([]byte(object()))+`"}`, "base64", true
	case 8:
		d.text, d.kind, d.json = `{"body":"`+base64.StdEncoding.EncodeToString(gzipped([]byte(object())))+`"}`, "gzip", true
	}
	return d
}
