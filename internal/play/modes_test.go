package play

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/match"
	"github.com/tapedeck-dev/tapedeck/internal/order"
	"github.com/tapedeck-dev/tapedeck/internal/volatile"
)

// TestSessionOrder records clients, each with a connection of its own, and has
// them ask again in another interleaving: the answers of each come in its order.
// Then two requests of one recorded connection come the other way round: by
// session the later one's answer waits, by any it does not.
func TestSessionOrder(t *testing.T) {
	server := httptest.NewServer(handler())
	defer server.Close()
	const clients, each = 4, 6
	own := func(c *http.Client) *http.Client {
		tr := c.Transport.(*http.Transport).Clone()
		tr.MaxIdleConnsPerHost = 1
		return &http.Client{Transport: tr, Timeout: c.Timeout}
	}
	ask := func(c *http.Client, seed uint64) (all [clients][]string) {
		var wg sync.WaitGroup
		for i := range clients {
			mine := own(c)
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			wg.Go(func() {
				defer mine.CloseIdleConnections()
				for range each {
					time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond)
					all[i] = append(all[i], body(mine.Get(server.URL+"/count")))
				}
			})
		}
		wg.Wait()
		return all
	}
	var want [clients][]string
	c, ca := recorded(t, nil, func(client *http.Client, _ *network) { want = ask(client, 1) })
	lists := map[string]bool{}
	for _, list := range want {
		lists[strings.Join(list, " ")] = true
	}
	for seed := range uint64(5) {
		p, client, _ := player(t, c, ca, Options{Order: order.Session})
		for _, list := range ask(client, 2+seed) {
			if !lists[strings.Join(list, " ")] {
				t.Errorf("no recorded client got %v", list)
			}
		}
		if r := p.Report(); r.Diverged() || r.Reordered != 0 || r.Matched != clients*each {
			t.Errorf("%+v", r)
		}
	}

	c, ca = recorded(t, nil, func(client *http.Client, _ *network) {
		body(client.Post(server.URL+"/echo", "text/plain", strings.NewReader("first")))
		body(client.Post(server.URL+"/echo", "text/plain", strings.NewReader("second")))
	})
	for mode, held := range map[order.Mode]bool{order.Session: true, order.Any: false} {
		p, client, _ := player(t, c, ca, Options{Order: mode, Gate: order.Options{Stall: 20 * time.Second}})
		got := make(chan string, 2)
		go func() { got <- body(client.Post(server.URL+"/echo", "text/plain", strings.NewReader("second"))) }()
		select {
		case s := <-got:
			if held {
				t.Errorf("%v: %s came before the first was asked", mode, s)
			}
			got <- s
		case <-time.After(300 * time.Millisecond):
			if !held {
				t.Errorf("%v: held back", mode)
			}
		}
		if first := body(client.Post(server.URL+"/echo", "text/plain", strings.NewReader("first"))); !strings.Contains(first, "first") {
			t.Error(first)
		}
		if second := <-got; !strings.Contains(second, "second") {
			t.Error(second)
		}
		if r := p.Report(); r.Diverged() || (r.Reordered == 1) != held {
			t.Errorf("%v: %+v", mode, r)
		}
	}
}

// TestVolatile replays requests with a number that differs: strictly, with a
// rule, and leniently.
func TestVolatile(t *testing.T) {
	server := httptest.NewServer(handler())
	ask := func(c *http.Client, n int) (all []string) {
		for i := range 3 {
			all = append(all, body(c.Post(server.URL+"/echo?n="+fmt.Sprint(n+i), "text/plain", strings.NewReader(fmt.Sprint("body ", i)))))
		}
		return all
	}
	var want []string
	c, ca := recorded(t, nil, func(client *http.Client, _ *network) { want = ask(client, 100) })
	server.Close()
	rules, err := volatile.Parse("r.yaml", []byte("version: 1\nvolatile: [{path: /echo, field: query.n, kind: counter}]"))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var asked []Asked
	keep := func(a Asked) { mu.Lock(); asked = append(asked, a); mu.Unlock() }

	p, client, _ := player(t, c, ca, Options{Asked: keep})
	if got := ask(client, 200); !strings.HasPrefix(got[0], "599") || len(p.Report().Misses) != 3 {
		t.Error(got)
	}
	if len(asked) != 3 || !asked[0].Missed || asked[0].ID != "" || asked[0].Request.Query[0] != "n=200" {
		t.Errorf("%+v", asked)
	}

	p, client, _ = player(t, c, ca, Options{Match: match.Options{Rules: rules}})
	if got := ask(client, 200); strings.Join(got, "") != strings.Join(want, "") {
		t.Error(got)
	}
	if r := p.Report(); r.Diverged() || r.ByRule != 3 || r.Matched != 3 || len(r.UnusedRules) != 0 {
		t.Errorf("%+v", r)
	}

	asked = nil
	p, client, _ = player(t, c, ca, Options{Match: match.Options{Lenient: true}, Asked: keep})
	if got := ask(client, 200); strings.Join(got, "") != strings.Join(want, "") {
		t.Error(got)
	}
	r := p.Report()
	if !r.Diverged() || !r.Lenient || r.Missed != 3 || r.Guessed != 3 || r.Misses[1].Served != "http:2" || r.Misses[1].Fields[0].Name != "query.n" || len(r.Unused) != 0 {
		t.Errorf("%+v", r)
	}
	if len(asked) != 3 || !asked[0].Missed || asked[0].ID != "http:1" {
		t.Errorf("%+v", asked)
	}
	put, err := http.NewRequest("PUT", server.URL+"/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(put)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, _ = io.Copy(io.Discard, res.Body); res.StatusCode != 599 {
		t.Error("another method is answered by a guess")
	}
}
