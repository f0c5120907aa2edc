package importer

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/match"
)

type hoverfly struct {
	Data struct {
		Pairs []hoverflyPair `json:"pairs"`
	} `json:"data"`
	Meta struct {
		Schema  string `json:"schemaVersion"`
		Version string `json:"hoverflyVersion"`
	} `json:"meta"`
}

type hoverflyPair struct {
	Request struct {
		Method, Scheme, Destination, Path, Body []hoverflyMatcher
		Headers, Query                          map[string][]hoverflyMatcher
		Deprecated                              []hoverflyMatcher `json:"deprecatedQuery"`
		Requires                                map[string]string `json:"requiresState"`
	} `json:"request"`
	Response struct {
		Status      int                 `json:"status"`
		Body        string              `json:"body"`
		BodyFile    string              `json:"bodyFile"`
		Encoded     bool                `json:"encodedBody"`
		Headers     map[string][]string `json:"headers"`
		Templated   bool                `json:"templated"`
		Transitions map[string]string   `json:"transitionsState"`
		Removes     []string            `json:"removesState"`
		Delay       int                 `json:"fixedDelay"`
		LogNormal   json.RawMessage     `json:"logNormalDelay"`
	} `json:"response"`
}

// hoverflyMatcher is a condition on a part of a request.
type hoverflyMatcher struct {
	Matcher string          `json:"matcher"`
	Value   json.RawMessage `json:"value"`
	DoMatch json.RawMessage `json:"doMatch"`
}

func readHoverfly(r *reader, s source) error {
	var sim hoverfly
	if err := r.object(s, &sim); err != nil {
		return err
	}
	if !strings.HasPrefix(sim.Meta.Schema, "v5") {
		return &DamagedError{s.String(), "a simulation of hoverfly with schemaVersion v5", strconv.Quote(sim.Meta.Schema)}
	}
	r.tape.Tool = strings.TrimSpace("hoverfly " + sim.Meta.Version)
	type ordered struct {
		x    *Exchange
		turn int // of a sequence
	}
	var all []ordered
	for i := range sim.Data.Pairs {
		p, where := &sim.Data.Pairs[i], s.at("pair %d", i+1)
		x, err := r.hoverflyPair(s, p)
		turn := 0
		if err == nil {
			turn, err = hoverflyTurn(p)
		}
		if err != nil {
			r.skip(where, err.Error())
			continue
		}
		x.Where = where
		r.keep()
		all = append(all, ordered{x, turn})
	}
	slices.SortStableFunc(all, func(a, b ordered) int { return a.turn - b.turn })
	for _, o := range all {
		if err := r.add(o.x); err != nil {
			return err
		}
	}
	return nil
}

// hoverflyTurn is the place of a pair in a sequence of answers to one request,
// which hoverfly counts in a state of its own. Other states are the user's.
func hoverflyTurn(p *hoverflyPair) (int, error) {
	turn := 0
	for state, value := range p.Request.Requires {
		n, err := strconv.Atoi(value)
		if !strings.HasPrefix(state, "sequence:") || err != nil || n < 1 {
			return 0, errors.New("it needs a state of the mock server")
		}
		turn = n
	}
	for state := range p.Response.Transitions {
		if !strings.HasPrefix(state, "sequence:") {
			return 0, errors.New("it changes a state of the mock server")
		}
	}
	if len(p.Response.Removes) > 0 {
		return 0, errors.New("it changes a state of the mock server")
	}
	return turn, nil
}

// only is the one value that the matchers of a part stand for; given is false
// where there are none, or null.
func only(what string, list []hoverflyMatcher) (value string, given bool, err error) {
	if len(list) == 0 {
		return "", false, nil
	}
	many := func(why string) (string, bool, error) {
		return "", true, fmt.Errorf("its %s stands for more than one request: %s", what, why)
	}
	if len(list) > 1 {
		return many("it has several matchers")
	}
	m := list[0]
	if len(m.DoMatch) > 0 && string(m.DoMatch) != "null" {
		return many("its matcher goes on to another one")
	}
	text := ""
	if err := json.Unmarshal(m.Value, &text); err != nil {
		if m.Matcher != "json" || !json.Valid(m.Value) {
			return many("its matcher is " + kindOf(m.Matcher) + " with a value that is no text")
		}
		text = string(m.Value)
	}
	switch m.Matcher {
	case "", "exact":
		return text, true, nil
	case "glob":
		if !strings.Contains(text, "*") {
			return text, true, nil
		}
	case "regex":
		if one, ok := literal(text, true); ok {
			return one, true, nil
		}
	case "json": // as a whole, but for the order of keys
		return text, true, nil
	}
	return many("its matcher is " + kindOf(m.Matcher))
}

// kindOf names a matcher if it is one of hoverfly's, since a name may be anything.
func kindOf(name string) string {
	for _, known := range []string{"exact", "glob", "regex", "json", "jsonPartial", "jsonpath", "xml", "xpath", "xmltemplated", "array", "jwt", "form", "negate"} {
		if strings.EqualFold(name, known) {
			return known
		}
	}
	return "one that is not known here"
}

func (r *reader) hoverflyPair(s source, p *hoverflyPair) (*Exchange, error) {
	q := &p.Request
	x := &Exchange{Stub: true}
	var path string
	for _, part := range []struct {
		what string
		list []hoverflyMatcher
		to   *string
		or   string
	}{{"method", q.Method, &x.Method, ""}, {"scheme", q.Scheme, &x.Scheme, r.opt.Scheme}, {"destination", q.Destination, &x.Authority, r.opt.Authority}, {"path", q.Path, &path, ""}} {
		value, given, err := only(part.what, part.list)
		if err != nil {
			return nil, err
		}
		if !given {
			value = part.or
		}
		if value == "" {
			return nil, fmt.Errorf("its %s is left open, so it stands for more than one request", part.what)
		}
		*part.to = value
	}
	query, err := r.hoverflyQuery(p)
	if err != nil {
		return nil, err
	}
	link := (&url.URL{Path: path}).EscapedPath()
	if query != "" {
		link += "?" + query
	}
	if err := r.place(x, x.Scheme+"://"+x.Authority+link, ""); err != nil {
		return nil, err
	}
	body, given, err := only("body", q.Body)
	if err != nil {
		return nil, err
	}
	if !given {
		if err := r.openBody(x.Method); err != nil {
			return nil, err
		}
	}
	x.Request.Body = []byte(body)
	for _, name := range names(q.Headers) {
		value, given, err := only("header", q.Headers[name])
		if err != nil {
			return nil, err
		}
		if given && !match.Compares(strings.ToLower(name)) {
			return nil, errors.New("it goes by a header field that a replay does not compare")
		}
		x.Request.Fields = append(x.Request.Fields, Field{name, value})
	}
	x.Response, err = r.hoverflyAnswer(s, p)
	return x, err
}

// openBody is for a stub that takes any body.
func (r *reader) openBody(method string) error {
	switch method {
	case "GET", "HEAD", "DELETE", "OPTIONS", "TRACE":
		r.note(noteBody)
		return nil
	}
	return errors.New("its body is left open, so it stands for more than one request")
}

func (r *reader) hoverflyQuery(p *hoverflyPair) (string, error) {
	if text, given, err := only("query", p.Request.Deprecated); given || err != nil {
		return text, err
	}
	var pairs []Field
	for _, name := range names(p.Request.Query) {
		list := p.Request.Query[name]
		var several []string
		if len(list) == 1 && list[0].Matcher == "array" && json.Unmarshal(list[0].Value, &several) == nil {
			for _, v := range several {
				pairs = append(pairs, Field{name, v})
			}
			continue
		}
		value, given, err := only("query", list)
		if err == nil && !given {
			err = errors.New("its query stands for more than one request")
		}
		if err != nil {
			return "", err
		}
		pairs = append(pairs, Field{name, value})
	}
	if len(pairs) == 0 {
		r.note(noteQuery)
	}
	return queryOf(pairs), nil
}

func (r *reader) hoverflyAnswer(s source, p *hoverflyPair) (*Message, error) {
	a := &p.Response
	if a.Templated {
		return nil, errors.New("its answer is a template")
	}
	m := &Message{Status: a.Status, Fields: sorted(a.Headers), Body: []byte(a.Body)}
	if a.BodyFile != "" && a.Body == "" {
		var err error
		if m.Body, err = r.beside(s, a.BodyFile); err != nil {
			return nil, err
		}
	}
	if a.Encoded {
		b, err := base64.StdEncoding.DecodeString(string(m.Body))
		if err != nil {
			return nil, errors.New("its answer's body is no base64")
		}
		m.Body = b
	}
	if a.Delay > 0 || len(a.LogNormal) > 0 && string(a.LogNormal) != "null" {
		r.note(noteDelay)
	}
	return m, nil
}
