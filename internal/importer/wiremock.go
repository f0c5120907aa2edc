package importer

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/match"
)

// wiremockStub is a stub mapping of WireMock.
type wiremockStub struct {
	Request  map[string]json.RawMessage `json:"request"`
	Response map[string]json.RawMessage `json:"response"`
	Scenario string                     `json:"scenarioName"`
	Needs    string                     `json:"requiredScenarioState"`
	Then     string                     `json:"newScenarioState"`
}

// wiremockTurn is a stub that is one answer of a scenario.
type wiremockTurn struct {
	stub  *wiremockStub
	x     *Exchange
	where string
}

// readWireMock reads a file of one mapping or of many, or the mappings in a
// folder: WireMock's root, or its "mappings". Bodies are in "__files" beside that.
func readWireMock(r *reader, s source) error {
	for d := range strings.SplitSeq(path.Dir(s.name), "/") {
		if d == "__files" {
			return nil // a body
		}
	}
	var doc map[string]json.RawMessage
	if err := r.object(s, &doc); err != nil {
		return err
	}
	list := []json.RawMessage{}
	switch {
	case doc["mappings"] != nil:
		if err := decodeJSON(s, doc["mappings"], &list); err != nil {
			return err
		}
	case doc["request"] != nil:
		whole, err := json.Marshal(doc)
		if err != nil {
			return err
		}
		list = append(list, whole)
	default:
		return &DamagedError{s.String(), `a mapping of WireMock, with "request", or a list of them in "mappings"`, "other JSON"}
	}
	r.tape.Tool = "WireMock"
	for i, text := range list {
		where := s.String()
		if len(list) > 1 {
			where = s.at("mapping %d", i+1)
		}
		stub := &wiremockStub{}
		if err := decodeJSON(s, text, stub); err != nil {
			return err
		}
		x, err := r.wiremock(s, stub)
		if err != nil {
			r.skip(where, err.Error())
			continue
		}
		x.Where = where
		if stub.Scenario != "" {
			r.keep()
			r.turns = append(r.turns, wiremockTurn{stub, x, where})
			continue
		}
		if err := r.add(x); err != nil {
			return err
		}
	}
	return nil
}

// scenarios puts the answers of each scenario into the order in which its states
// follow one another. A scenario is of one request, as WireMock records repeats;
// any other is a program, and no recording.
func (r *reader) scenarios() error {
	byName := map[string][]wiremockTurn{}
	for _, t := range r.turns {
		byName[t.stub.Scenario] = append(byName[t.stub.Scenario], t)
	}
	r.turns = nil
	for _, name := range names(byName) {
		turns, why := inTurn(byName[name])
		if why != "" {
			for _, t := range byName[name] {
				r.skip(t.where, why)
			}
			continue
		}
		for _, t := range turns {
			if err := r.add(t.x); err != nil {
				return err
			}
		}
	}
	return nil
}

func inTurn(turns []wiremockTurn) (list []wiremockTurn, why string) {
	byState := map[string]wiremockTurn{}
	for _, t := range turns {
		if !sameRequest(t.x, turns[0].x) {
			return nil, "its scenario is of several requests: what one of them changes, another one answers by"
		}
		if _, again := byState[t.stub.Needs]; again {
			return nil, "its scenario has two answers in one state"
		}
		byState[t.stub.Needs] = t
	}
	for state := "Started"; len(list) < len(turns); {
		t, ok := byState[state]
		if !ok {
			return nil, "its scenario does not lead from one state to the next"
		}
		list = append(list, t)
		delete(byState, state)
		if state = t.stub.Then; state == "" && len(list) < len(turns) {
			return nil, "its scenario does not lead from one state to the next"
		}
	}
	if last := list[len(list)-1].stub; last.Then != "" && last.Then != last.Needs {
		return nil, "its scenario begins again, or ends without an answer"
	}
	return list, ""
}

func sameRequest(a, b *Exchange) bool {
	if a.Method != b.Method || a.Scheme != b.Scheme || a.Authority != b.Authority || a.Target != b.Target ||
		string(a.Request.Body) != string(b.Request.Body) || len(a.Request.Fields) != len(b.Request.Fields) {
		return false
	}
	for i, f := range a.Request.Fields {
		if f != b.Request.Fields[i] {
			return false
		}
	}
	return true
}

func (r *reader) wiremock(s source, stub *wiremockStub) (*Exchange, error) {
	x := &Exchange{Stub: true, Scheme: r.opt.Scheme, Authority: r.opt.Authority}
	text := func(key string) (value string) {
		_ = json.Unmarshal(stub.Request[key], &value) // what is no text is left open
		return value
	}
	for _, key := range names(stub.Request) {
		switch key {
		case "method", "url", "urlPath", "scheme", "port", "host", "headers", "queryParameters", "bodyPatterns":
		case "urlPattern", "urlPathPattern", "urlPathTemplate":
			one, ok := literal(text(key), false) // it is matched as a whole
			if !ok || key == "urlPathTemplate" && strings.Contains(text(key), "{") {
				return nil, fmt.Errorf("its %s stands for more than one request", key)
			}
			to := "url"
			if key != "urlPattern" {
				to = "urlPath"
			}
			stub.Request[to], _ = json.Marshal(one) // a text: it can't fail
		case "basicAuthCredentials", "cookies", "formParameters", "pathParameters", "multipartPatterns", "customMatcher", "clientIp":
			return nil, fmt.Errorf("it goes by %s, which a replay does not compare", key)
		default:
			return nil, errors.New("its request has a condition that is not known here")
		}
	}
	x.Method = text("method")
	if x.Method == "" || x.Method == "ANY" {
		return nil, errors.New("its method is left open, so it stands for more than one request")
	}
	if scheme := text("scheme"); scheme != "" {
		x.Scheme = scheme
	}
	if err := wiremockHost(x, stub.Request); err != nil {
		return nil, err
	}
	target := text("url")
	if target == "" {
		query, err := wiremockQuery(stub.Request["queryParameters"])
		if err != nil {
			return nil, err
		}
		if target = text("urlPath"); target == "" {
			return nil, errors.New("its url is left open, so it stands for more than one request")
		}
		if query == "" {
			r.note(noteQuery)
		} else {
			target += "?" + query
		}
	} else if len(stub.Request["queryParameters"]) > 0 {
		return nil, errors.New("it has a url and parameters beside it")
	}
	if x.Scheme == "" || x.Authority == "" {
		return nil, errors.New("the file does not tell its scheme and host; --base-url URL does")
	}
	if err := r.place(x, x.Scheme+"://"+x.Authority+target, ""); err != nil {
		return nil, err
	}
	if err := r.wiremockRequest(x, stub.Request); err != nil {
		return nil, err
	}
	var err error
	x.Response, err = r.wiremockAnswer(s, stub.Response)
	return x, err
}

// equalTo is the one value that a matcher stands for.
func equalTo(raw json.RawMessage) (string, error) {
	var m map[string]any
	if json.Unmarshal(raw, &m) != nil || len(m) == 0 {
		return "", errors.New("it has a matcher that is not known here")
	}
	if fold, _ := m["caseInsensitive"].(bool); fold {
		return "", errors.New("it has a matcher that takes upper and lower case, so it stands for more than one request")
	}
	for key := range m {
		if key != "equalTo" && key != "caseInsensitive" {
			return "", errors.New("it has another matcher than equalTo, so it stands for more than one request")
		}
	}
	value, ok := m["equalTo"].(string)
	if !ok {
		return "", errors.New("it has a matcher that is not known here")
	}
	return value, nil
}

func wiremockHost(x *Exchange, q map[string]json.RawMessage) error {
	if q["host"] != nil {
		host, err := equalTo(q["host"])
		if err != nil {
			return err
		}
		x.Authority = host
	}
	if q["port"] != nil {
		var port int
		if err := json.Unmarshal(q["port"], &port); err != nil || x.Scheme == "" || x.Authority == "" {
			return errors.New("it has a port without a scheme and a host")
		}
		host, _, err := hostPort(x.Scheme, x.Authority)
		if err != nil {
			return err
		}
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		x.Authority = fmt.Sprintf("%s:%d", host, port)
	}
	return nil
}

func wiremockQuery(raw json.RawMessage) (string, error) {
	if len(raw) == 0 {
		return "", nil
	}
	var params map[string]json.RawMessage
	if err := json.Unmarshal(raw, &params); err != nil {
		return "", errors.New("its queryParameters can't be read")
	}
	var pairs []Field
	for _, name := range names(params) {
		values := []json.RawMessage{params[name]}
		var several map[string][]json.RawMessage
		if json.Unmarshal(params[name], &several) == nil && len(several) == 1 && several["hasExactly"] != nil {
			values = several["hasExactly"]
		}
		for _, raw := range values {
			value, err := equalTo(raw)
			if err != nil {
				return "", err
			}
			pairs = append(pairs, Field{name, value})
		}
	}
	return queryOf(pairs), nil
}

func (r *reader) wiremockRequest(x *Exchange, q map[string]json.RawMessage) error {
	if raw := q["headers"]; len(raw) > 0 {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(raw, &fields); err != nil {
			return errors.New("its headers can't be read")
		}
		for _, name := range names(fields) {
			value, err := equalTo(fields[name])
			if err != nil {
				return err
			}
			if !match.Compares(strings.ToLower(name)) {
				return errors.New("it goes by a header field that a replay does not compare")
			}
			x.Request.Fields = append(x.Request.Fields, Field{name, value})
		}
	}
	raw := q["bodyPatterns"]
	if len(raw) == 0 {
		return r.openBody(x.Method)
	}
	var patterns []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &patterns); err != nil {
		return errors.New("its bodyPatterns can't be read")
	}
	if len(patterns) != 1 {
		return errors.New("its body has several patterns, so it stands for more than one request")
	}
	var err error
	x.Request.Body, err = wiremockBody(patterns[0])
	return err
}

func wiremockBody(p map[string]json.RawMessage) ([]byte, error) {
	var text string
	for key, raw := range p {
		switch key {
		case "equalTo", "binaryEqualTo", "equalToJson":
			if json.Unmarshal(raw, &text) != nil {
				if key != "equalToJson" {
					return nil, errors.New("its body pattern can't be read")
				}
				text = string(raw)
			}
		case "ignoreArrayOrder", "ignoreExtraElements", "caseInsensitive":
			if string(raw) != "false" {
				return nil, fmt.Errorf("its body pattern has %s, so it stands for more than one request", key)
			}
		default:
			return nil, errors.New("its body has another pattern than equalTo, equalToJson and binaryEqualTo, so it stands for more than one request")
		}
	}
	if _, ok := p["binaryEqualTo"]; ok {
		return decode64(text)
	}
	if _, ok := p["equalToJson"]; ok && strings.Contains(text, "${json-unit.") {
		return nil, errors.New("its body pattern has placeholders, so it stands for more than one request")
	}
	return []byte(text), nil
}

func (r *reader) wiremockAnswer(s source, a map[string]json.RawMessage) (*Message, error) {
	m := &Message{Status: 200}
	text := func(key string) (value string) {
		_ = json.Unmarshal(a[key], &value)
		return value
	}
	var err error
	for _, key := range names(a) {
		switch key {
		case "status":
			err = json.Unmarshal(a[key], &m.Status)
		case "statusMessage":
			m.Reason = text(key)
		case "headers":
			m.Fields, err = wiremockFields(a[key])
		case "body":
			m.Body = []byte(text(key))
		case "jsonBody":
			m.Body = a[key]
		case "base64Body":
			m.Body, err = base64.StdEncoding.DecodeString(text(key))
		case "bodyFileName":
			m.Body, err = r.wiremockFile(s, text(key))
		case "fixedDelayMilliseconds", "delayDistribution", "chunkedDribbleDelay":
			r.note(noteDelay)
		case "transformers":
			if list := strings.TrimSpace(string(a[key])); list != "[]" && list != "null" {
				return nil, errors.New("its answer is a template")
			}
		case "fault":
			return nil, errors.New("its answer is a fault")
		case "proxyBaseUrl":
			return nil, errors.New("it hands requests on to another server")
		case "fromConfiguredStub", "transformerParameters", "additionalProxyRequestHeaders", "gzipDisabled", "disableGzip":
		default:
			return nil, errors.New("its answer has a part that is not known here")
		}
		if err != nil {
			return nil, fmt.Errorf("its answer's %s can't be read", key)
		}
	}
	return m, nil
}

// wiremockFields have a text or a list of them for each name.
func wiremockFields(raw json.RawMessage) ([]Field, error) {
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	var all []Field
	for _, name := range names(m) {
		switch v := m[name].(type) {
		case string:
			all = append(all, Field{name, v})
		case []any:
			for _, one := range v {
				text, ok := one.(string)
				if !ok {
					return nil, errors.New("no text")
				}
				all = append(all, Field{name, text})
			}
		default:
			return nil, errors.New("no text")
		}
	}
	return all, nil
}

// wiremockFile reads a body from __files, which is beside mappings. The folder
// that was named may be either's parent, or mappings itself.
func (r *reader) wiremockFile(s source, name string) ([]byte, error) {
	dir := path.Dir(s.name)
	for {
		if b, err := r.beside(s, path.Join(dir, "__files", name)); err == nil {
			return b, nil
		}
		if dir == "." || dir == "/" {
			return nil, errors.New("not there")
		}
		dir = path.Dir(dir)
	}
}
