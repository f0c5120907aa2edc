package match

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/order"
	"github.com/tapedeck-dev/tapedeck/internal/volatile"
)

const (
	uuid1 = "0188c2a4-1111-7222-8333-444455556661"
	uuid2 = "0188c2a4-1111-7222-8333-444455556662"
	uuid3 = "0188c2a4-1111-7222-8333-444455556663"
)

func rules(t testing.TB, lines ...string) *volatile.Rules {
	t.Helper()
	r, err := volatile.Parse("r.yaml", []byte("version: 1\nvolatile:\n- "+strings.Join(lines, "\n- ")+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func index(t testing.TB, o Options, list ...*cassette.Exchange) *Index {
	t.Helper()
	x, err := NewIndex(list, o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestRules: a declared field is left out on both sides, wherever it stands, as
// long as it looks as declared.
func TestRules(t *testing.T) {
	form, jsn := "application/x-www-form-urlencoded", "application/json"
	for name, c := range map[string]struct {
		rule           string
		recorded, live *cassette.Message
		want           bool
	}{
		"query":           {"{field: query.id, kind: uuid}", message("GET", "/?a=1&id="+uuid1, "", ""), message("GET", "/?id="+uuid2+"&a=1", "", ""), true},
		"query, no uuid":  {"{field: query.id, kind: uuid}", message("GET", "/?id="+uuid1, "", ""), message("GET", "/?id=none", "", ""), false},
		"query, encoded":  {"{field: query.at, kind: time}", message("GET", "/?at=2026-01-02T03%3A04%3A05Z", "", ""), message("GET", "/?at=2027-01-02T03:04:05Z", "", ""), true},
		"other differs":   {"{field: query.id, kind: uuid}", message("GET", "/?a=1&id="+uuid1, "", ""), message("GET", "/?id="+uuid2+"&a=2", "", ""), false},
		"form":            {"{field: form.csrf, kind: nonce}", message("POST", "/", form, "csrf=aaaaaaaa&x=1"), message("POST", "/", form, "x=1&csrf=bbbbbbbb"), true},
		"body":            {"{field: 'body.items[*].id', kind: uuid}", message("POST", "/", jsn, `{"items":[{"id":"`+uuid1+`"},{"id":"`+uuid2+`","n":1}]}`), message("POST", "/", jsn, `{"items":[{"id":"`+uuid2+`"},{"id":"`+uuid3+`","n":1}]}`), true},
		"body, fewer":     {"{field: 'body.items[*].id', kind: uuid}", message("POST", "/", jsn, `{"items":[{"id":"`+uuid1+`"}]}`), message("POST", "/", jsn, `{"items":[]}`), false},
		"body, a number":  {"{field: body.n, kind: counter}", message("POST", "/", jsn, `{"n":12345678901234567890}`), message("POST", "/", jsn, `{"n":12345678901234567891}`), true},
		"body, an object": {"{field: body.meta, kind: any}", message("POST", "/", jsn, `{"meta":{"a":[1]}}`), message("POST", "/", jsn, `{"meta":{"b":2}}`), true},
		"a uuid, no more": {"{field: body.meta, kind: uuid}", message("POST", "/", jsn, `{"meta":{"a":[1]}}`), message("POST", "/", jsn, `{"meta":{"b":2}}`), false},
		"a shape":         {"{field: body.r, kind: any, shape: 'r-[0-9]+'}", message("POST", "/", jsn, `{"r":"r-1"}`), message("POST", "/", jsn, `{"r":"r-2"}`), true},
		"not that shape":  {"{field: body.r, kind: any, shape: 'r-[0-9]+'}", message("POST", "/", jsn, `{"r":"r-1"}`), message("POST", "/", jsn, `{"r":"s-2"}`), false},
		"path":            {"{path: '/o/*/x', field: 'path[2]', kind: counter}", message("GET", "/o/17/x", "", ""), message("GET", "/o/18/x", "", ""), true},
		"another path":    {"{path: '/o/*/x', field: 'path[2]', kind: counter}", message("GET", "/o/17/y", "", ""), message("GET", "/o/18/y", "", ""), false},
		"another method":  {"{method: PUT, field: query.id, kind: uuid}", message("GET", "/?id="+uuid1, "", ""), message("GET", "/?id="+uuid2, "", ""), false},
		"another host":    {"{authority: 'b*', field: query.id, kind: uuid}", message("GET", "/?id="+uuid1, "", ""), message("GET", "/?id="+uuid2, "", ""), false},
		"this host":       {"{authority: 'A*', field: query.id, kind: uuid}", message("GET", "/?id="+uuid1, "", ""), message("GET", "/?id="+uuid2, "", ""), true},
	} {
		x := index(t, Options{Rules: rules(t, c.rule)}, exchange(1, 1, c.recorded, ""))
		_, miss := x.Take("s", request(t, c.live))
		counts := x.Counts()
		if (miss == nil) != c.want || (counts.ByRule == 1) != c.want || (len(counts.UnusedRules) == 0) != c.want {
			t.Errorf("%s: %v %+v", name, miss, counts)
		}
		if x := index(t, Options{}, exchange(1, 1, c.recorded, "")); true {
			if _, miss := x.Take("s", request(t, c.live)); miss == nil {
				t.Errorf("%s: matches without rules", name)
			}
		}
	}
	// A header is compared or not; a rule is for those that are.
	a, b := message("GET", "/", "", ""), message("GET", "/", "", "")
	a.Head = []byte("GET / HTTP/1.1\r\nIf-None-Match: aaaaaaaa\r\n\r\n")
	b.Head = []byte("GET / HTTP/1.1\r\nIf-None-Match: bbbbbbbb\r\n\r\n")
	x := index(t, Options{Rules: rules(t, "{field: header.If-None-Match, kind: nonce}")}, exchange(1, 1, a, ""))
	if _, miss := x.Take("s", request(t, b)); miss != nil {
		t.Error(miss)
	}
}

// TestRulesUse: what would have matched without a rule needed none, and of
// several requests that rules make equal, the one that is equal anyhow is meant.
func TestRulesUse(t *testing.T) {
	get := func(id string) *cassette.Message { return message("GET", "/?id="+id, "", "") }
	o := Options{Rules: rules(t, "{field: query.id, kind: uuid}", "{field: query.never, kind: any}")}
	x := index(t, o, exchange(1, 1, get(uuid1), "one"), exchange(2, 2, get(uuid2), "two"))
	e, miss := x.Take("s", request(t, get(uuid2)))
	if miss != nil || e.ID != 2 {
		t.Fatal(e, miss)
	}
	if c := x.Counts(); c.ByRule != 0 || len(c.UnusedRules) != 2 || c.Ambiguous != 0 {
		t.Errorf("%+v", c)
	}
	e, miss = x.Take("s", request(t, get(uuid3)))
	if miss != nil || e.ID != 1 {
		t.Fatal(e, miss)
	}
	if c := x.Counts(); c.ByRule != 1 || len(c.UnusedRules) != 1 || !strings.HasPrefix(c.UnusedRules[0], "r.yaml:4: query.never") {
		t.Errorf("%+v", c)
	}
	// A counter that stands at the same number is chance.
	o.Rules = rules(t, "{field: query.id, kind: counter}")
	x = index(t, o, exchange(1, 1, get("1"), "one"), exchange(2, 1, get("2"), "two"))
	for i, n := range []string{"2", "3"} {
		if e, miss := x.Take("s", request(t, get(n))); miss != nil || e.ID != i+1 {
			t.Error(n, e, miss)
		}
	}
	// What rules leave out is no difference of a miss.
	_, miss = x.Take("s", request(t, message("GET", "/?id=9&x=1", "", "")))
	if miss == nil || len(miss.Fields) != 1 || miss.Fields[0].Name != "query.x" {
		t.Errorf("%+v", miss)
	}
}

func TestLenient(t *testing.T) {
	post := func(path, body string) *cassette.Message { return message("POST", path, "application/json", body) }
	list := []*cassette.Exchange{
		exchange(1, 1, post("/a", `{"id":"a","n":1}`), "one"), exchange(2, 1, post("/a", `{"id":"b","n":2}`), "two"),
		exchange(3, 1, message("GET", "/b", "", ""), "three"), exchange(4, 1, post("/far", `{}`), "four"),
	}
	x := index(t, Options{Lenient: true}, list...)
	for i, c := range []struct {
		m      *cassette.Message
		served int // 0: none
		field  string
	}{
		{post("/a", `{"id":"c","n":2}`), 2, "body.id"},
		{post("/a", `{"id":"b","n":2}`), 2, ""}, // is recorded, and was given away: again
		{post("/a", `{"id":"a","n":1}`), 1, ""}, // exact
		{post("/a", `{"id":"d","n":1}`), 4, "path[1]"},
		{post("/a", `{"id":"d","n":1}`), 1, "body.id"}, // all were taken
		{message("GET", "/c", "", ""), 3, "path[1]"},
		{message("PUT", "/a", "", ""), 0, ""}, // another method
	} {
		e, miss := x.Take("s", request(t, c.m))
		switch {
		case c.served == 0 && (e != nil || miss == nil || miss.Served != ""),
			c.served != 0 && (e == nil || e.ID != c.served),
			miss != nil && e != nil && miss.Served != ID(e),
			c.field != "" && (miss == nil || len(miss.Fields) == 0 || miss.Fields[0].Name != c.field):
			t.Errorf("%d: %v %+v", i, e, miss)
		}
	}
	if c := x.Counts(); c.Matched != 1 || c.Missed != 6 || c.Guessed != 5 || len(c.Unused) != 0 {
		t.Errorf("%+v", c)
	}
	other, err := Of("http", "elsewhere", post("/a", `{"id":"a","n":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if e, miss := x.Take("s", other); e != nil || miss == nil {
		t.Error("another authority is answered")
	}
}

// TestOrders lets live connections that stand for recorded ones ask in a random
// interleaving what differs by nothing: by session, each gets the answers of one
// recorded connection, in their order.
func TestOrders(t *testing.T) {
	for round := range 200 {
		r := rand.New(rand.NewPCG(uint64(round), 7))
		conns, each := 1+r.IntN(5), 1+r.IntN(8)
		m := message("GET", "/next", "", "")
		var conn []int
		for c := range conns {
			conn = append(conn, slices.Repeat([]int{c + 1}, each)...)
		}
		r.Shuffle(len(conn), func(i, j int) { conn[i], conn[j] = conn[j], conn[i] })
		var list []*cassette.Exchange
		for i, c := range conn {
			list = append(list, exchange(i+1, c, m, fmt.Sprint(i)))
		}
		asks := slices.Clone(conn) // by live connections, of which each asks as often
		r.Shuffle(len(asks), func(i, j int) { asks[i], asks[j] = asks[j], asks[i] })
		x := index(t, Options{Order: order.Session}, list...)
		got := map[int][]int{}
		stands := map[int]int{}
		for _, live := range asks {
			e, miss := x.Take(fmt.Sprint(live), request(t, m))
			if miss != nil {
				t.Fatal(miss)
			}
			if old, ok := stands[live]; ok && old != e.Conn {
				t.Fatalf("round %d: a live connection got answers of %d and %d", round, old, e.Conn)
			}
			stands[live] = e.Conn
			got[live] = append(got[live], e.ID)
		}
		for live, ids := range got {
			if !slices.IsSorted(ids) {
				t.Errorf("round %d: %d got %v", round, live, ids)
			}
		}
		if c := x.Counts(); c.Reordered != 0 {
			t.Errorf("round %d: %+v", round, c)
		}
		x = index(t, Options{Order: order.Any}, list...)
		for i, live := range asks {
			if e, _ := x.Take(fmt.Sprint(live), request(t, m)); e.ID != i+1 {
				t.Fatalf("any: %d comes as %d", e.ID, i+1)
			}
		}
	}
}

// TestReordered: what counts as out of order in each of the modes.
func TestReordered(t *testing.T) {
	a, b := message("GET", "/a", "", ""), message("GET", "/b", "", "")
	for mode, want := range map[order.Mode][2]int{order.Total: {1, 1}, order.Session: {0, 1}, order.Any: {0, 0}} {
		for i, conns := range [][2]int{{1, 2}, {1, 1}} {
			x := index(t, Options{Order: mode}, exchange(1, conns[0], a, ""), exchange(2, conns[1], b, ""))
			x.Take("p", request(t, b))
			x.Take("q", request(t, a))
			if c := x.Counts(); c.Reordered != want[i] || c.Matched != 2 {
				t.Errorf("%v, connections %v: %+v", mode, conns, c)
			}
		}
	}
	// A live connection that ends leaves its recorded one to another.
	x := index(t, Options{Order: order.Session}, exchange(1, 1, a, "1"), exchange(2, 1, a, "2"), exchange(3, 2, a, "3"))
	x.Take("p", request(t, a))
	x.Leave("p")
	if e, _ := x.Take("q", request(t, a)); e.ID != 2 {
		t.Errorf("got %d", e.ID)
	}
}
