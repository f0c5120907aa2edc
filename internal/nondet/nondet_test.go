package nondet

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/match"
	"github.com/tapedeck-dev/tapedeck/internal/volatile"
)

var began = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func asked(t testing.TB, id int, method, target, body string) Asked {
	t.Helper()
	head := method + " " + target + " HTTP/1.1\r\nHost: api\r\n"
	if strings.HasPrefix(body, "{") {
		head += "Content-Type: application/json\r\n"
	}
	r, err := match.Of("http", "api", &cassette.Message{Head: []byte(head + "\r\n"), Body: cassette.Bytes(body)})
	if err != nil {
		t.Fatal(err)
	}
	return Asked{ID: fmt.Sprint("http:", id), Request: r}
}

func uuid(r *rand.Rand) string {
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Int64N(1<<48))
}

// run is what a program might ask: it begins at a time, with a seed.
func run(t testing.TB, name string, seed uint64, at time.Time, change func(i int, a []Asked) []Asked) *Run {
	r := rand.New(rand.NewPCG(seed, 1))
	out := &Run{Name: name, Began: at}
	base := 1000 + r.IntN(1_000_000)
	for i := range 4 {
		now := at.Add(time.Duration(i) * time.Second)
		items := []string{`"a"`, `"b"`, `"c"`, `"d"`}
		r.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
		if seed == 1 {
			items = []string{`"a"`, `"b"`, `"c"`, `"d"`}
		}
		out.Asked = append(out.Asked,
			asked(t, 2*i+1, "POST", fmt.Sprintf("/orders/%d?ts=%d&n=%d", i, now.Unix(), base+i),
				fmt.Sprintf(`{"id":%q,"at":%q,"items":[%s],"nonce":"%016x","ref":"ref-%s-x","lines":[{"key":%q,"qty":%d}]}`,
					uuid(r), now.Format(time.RFC3339Nano), strings.Join(items, ","), r.Uint64(), uuid(r), uuid(r), i)),
			asked(t, 2*i+2, "GET", "/status", ""))
	}
	if change != nil {
		out.Asked = change(0, out.Asked)
	}
	return out
}

// TestCompare finds each kind of field, and the rules that it proposes make the
// requests of the other run match.
func TestCompare(t *testing.T) {
	first := run(t, "recording", 1, began, nil)
	others := []*Run{run(t, "replay 1", 2, began, nil), run(t, "replay 2", 3, began.Add(1000*time.Hour), nil)}
	rep := Compare(first, others...)
	got := map[string]string{}
	for _, f := range rep.Findings {
		got[f.Field] = f.Kind
		if f.Method != "POST" || f.Authority != "api" || f.Path != "/orders/*" || len(f.Evidence) == 0 || f.Evidence[0].First == "" || f.Evidence[0].Other == "" {
			t.Errorf("%+v", f)
		}
	}
	want := map[string]string{"query.ts": "time", "query.n": "counter", "body.id": "uuid", "body.at": "time", "body.items": "order", "body.nonce": "nonce", "body.ref": "uuid", "body.lines[*].key": "uuid"}
	for field, kind := range want {
		if got[field] != kind {
			t.Errorf("%s is %q, want %s", field, got[field], kind)
		}
		delete(got, field)
	}
	if len(got) > 0 {
		t.Errorf("found %v, too", got)
	}
	if rep.Runs[1].Differ != 4 || rep.Runs[2].Differ != 4 || rep.Runs[0].Requests != 8 {
		t.Errorf("%+v", rep.Runs)
	}
	file, err := rep.RuleFile()
	if err != nil {
		t.Fatal(err)
	}
	rules, err := volatile.Parse("proposed.yaml", file)
	if err != nil {
		t.Fatalf("%v\n%s", err, file)
	}
	if len(rules.List) != 7 || !strings.Contains(string(file), "No rule for: POST api/orders/* body.items (order") {
		t.Errorf("%s", file)
	}
	for _, r := range rules.List {
		if r.Field.String() == "body.ref" && (!r.Fits("ref-0188c2a4-1111-7222-8333-444455556661-x") || r.Fits("0188c2a4-1111-7222-8333-444455556661")) {
			t.Errorf("shape %s", r.Shape)
		}
	}
}

func TestSame(t *testing.T) {
	rep := Compare(run(t, "a", 1, began, nil), run(t, "b", 1, began, nil))
	if rep.Differs() || rep.Runs[1].Differ != 0 {
		t.Errorf("%+v", rep.Findings)
	}
	if file, err := rep.RuleFile(); err != nil || !strings.Contains(string(file), "volatile: []") {
		t.Errorf("%s %v", file, err)
	}
}

func TestOrderAndAlone(t *testing.T) {
	a := &Run{Name: "a", Asked: []Asked{asked(t, 1, "GET", "/one", ""), asked(t, 2, "GET", "/two", ""), asked(t, 3, "GET", "/three?fields=x,y,z", "")}}
	b := &Run{Name: "b", Asked: []Asked{asked(t, 1, "GET", "/two", ""), asked(t, 2, "GET", "/one", ""), asked(t, 3, "GET", "/three?fields=z,x,y", ""), asked(t, 4, "PUT", "/four", "")}}
	rep := Compare(a, b)
	var got []string
	for _, f := range rep.Findings {
		got = append(got, f.Kind+" "+f.Where())
		if f.Rule != "" {
			t.Errorf("a rule for %s: %s", f.Where(), f.Rule)
		}
	}
	want := "order GET api/three query.fields; other PUT api/four request; order sequence"
	if strings.Join(got, "; ") != want {
		t.Errorf("%s, want %s", strings.Join(got, "; "), want)
	}
	if e := rep.Findings[2].Evidence[0]; e.First != "http:1" || e.Value != "before http:2" || e.Other != "http:2" || e.Differs != "behind http:1" {
		t.Errorf("%+v", e)
	}
	// A segment that no one would take for a number is one that differs all the same.
	rep = Compare(&Run{Name: "a", Asked: []Asked{asked(t, 1, "GET", "/files/qwertyuiop1/x", "")}}, &Run{Name: "b", Asked: []Asked{asked(t, 1, "GET", "/files/zxcvbnmasd2/x", "")}})
	if len(rep.Findings) != 1 || rep.Findings[0].Rule != "GET api /files/*/x path[2] is nonce" {
		t.Errorf("%+v", rep.Findings[0])
	}
}

// TestClassify are values of which it is not sure: it does not guess.
func TestClassify(t *testing.T) {
	o := &Run{Name: "b"}
	for _, c := range []struct {
		gap    time.Duration
		values []string // of both runs, by turns
		want   string
	}{
		{0, []string{"pending", "complete"}, Other},
		{0, []string{"version1", "version2"}, Other},
		{0, []string{"1764072032", "1893456000"}, Other}, // times, if the clocks were years apart
		{40000 * time.Hour, []string{"1764072032", "1908072032"}, "time"},
		{time.Hour, []string{"1764072032123", "1764075632200"}, "time"},
		{0, []string{"Wed, 25 Nov 2026 12:00:00 GMT", "Thu, 26 Nov 2026 12:00:00 GMT"}, "time"},
		{0, []string{"report-2026-01-02.csv", "report-2026-01-03.csv"}, "time"},
		{0, []string{"17", "19"}, "counter"},
		{0, []string{"17", "482113"}, Other},
		{0, []string{"17", "48211", "18", "48212", "19", "48213"}, "counter"},
		{0, []string{"17", "48211", "18", "48200", "19", "48213"}, Other},
		{0, []string{"tok_email_aa11", "tok_email_bb22"}, Other},
		{0, []string{"", "x"}, Other},
		{0, []string{"8f2d11aa90bc", "17c40b5e66d1"}, "nonce"},
		{0, []string{"0188c2a4-1111-7222-8333-444455556661", "none"}, Other},
	} {
		f := &Finding{Field: "query.x"}
		for i := 0; i < len(c.values); i += 2 {
			f.pairs = append(f.pairs, pair{run: o, gap: int64(c.gap), x: c.values[i], y: c.values[i+1]})
		}
		if classify(f); f.Kind != c.want || f.Why == "" {
			t.Errorf("%v: %s (%s), want %s", c.values, f.Kind, f.Why, c.want)
		}
	}
}

func TestDrift(t *testing.T) {
	r := asked(t, 1, "GET", "/hello", "").Request
	rep := Compare(&Run{Name: "a"}, &Run{Name: "b", Drift: []Drift{
		{ID: "http:1", Request: r, Fields: []match.Field{{Name: "body.at", Recorded: "2026-01-02T03:04:05Z", Live: "2026-01-03T03:04:05Z"}}},
		{ID: "tcp:1", Fields: []match.Field{{Name: "bytes from 0 on", Recorded: "a", Live: "b"}}},
	}})
	if len(rep.Findings) != 2 || rep.Findings[0].Where() != "GET api/hello answer body.at" || rep.Findings[0].Kind != "time" || rep.Findings[0].Rule != "" || rep.Findings[1].Where() != "stream bytes from 0 on" {
		t.Errorf("%+v %+v", rep.Findings[0], rep.Findings[1])
	}
}

func BenchmarkCompare(b *testing.B) {
	var x, y Run
	for i := range 2000 {
		x.Asked = append(x.Asked, asked(b, i, "POST", "/a", fmt.Sprintf(`{"n":%d,"v":"%d"}`, i, i*7919)))
		y.Asked = append(y.Asked, asked(b, i, "POST", "/a", fmt.Sprintf(`{"n":%d,"v":"%d"}`, i, i*7907)))
	}
	for b.Loop() {
		Compare(&x, &y)
	}
}
