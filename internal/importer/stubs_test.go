package importer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpenStubs reads stubs that stand for more than one request, or are no
// recording: none of them is imported, and each is told why.
func TestOpenStubs(t *testing.T) {
	wiremock := func(request, response string) string {
		return `{"request":` + request + `,"response":` + response + `}`
	}
	hoverfly := func(request string) string {
		return `{"meta":{"schemaVersion":"v5.2"},"data":{"pairs":[{"request":{"method":[{"matcher":"exact","value":"GET"}],"scheme":[{"matcher":"exact","value":"http"}],` +
			`"destination":[{"matcher":"exact","value":"a.test"}],` + request + `},"response":{"status":200,"body":"x"}}]}}`
	}
	const get, ok = `"method":"GET"`, `{"status":200}`
	for text, want := range map[string]string{
		wiremock(`{"method":"ANY","url":"/"}`, ok):                                                                                       "method is left open",
		wiremock(`{"url":"/"}`, ok):                                                                                                      "method is left open",
		wiremock(`{`+get+`}`, ok):                                                                                                        "url is left open",
		wiremock(`{`+get+`,"urlPattern":"/a.*"}`, ok):                                                                                    "urlPattern stands for",
		wiremock(`{`+get+`,"urlPathPattern":"/a|/b"}`, ok):                                                                               "urlPathPattern stands for",
		wiremock(`{`+get+`,"urlPathTemplate":"/a/{id}"}`, ok):                                                                            "urlPathTemplate stands for",
		wiremock(`{`+get+`,"urlPath":"/a","queryParameters":{"q":{"matches":"x+"}}}`, ok):                                                "another matcher",
		wiremock(`{`+get+`,"urlPath":"/a","queryParameters":{"q":{"includes":[{"equalTo":"x"}]}}}`, ok):                                  "another matcher",
		wiremock(`{`+get+`,"url":"/a","headers":{"Accept":{"equalTo":"x"}}}`, ok):                                                        "does not compare",
		wiremock(`{`+get+`,"url":"/a","headers":{"Range":{"contains":"x"}}}`, ok):                                                        "another matcher",
		wiremock(`{`+get+`,"url":"/a","cookies":{"c":{"equalTo":"x"}}}`, ok):                                                             "cookies",
		wiremock(`{`+get+`,"url":"/a","somethingNew":1}`, ok):                                                                            "not known here",
		wiremock(`{"method":"POST","url":"/a"}`, ok):                                                                                     "body is left open",
		wiremock(`{"method":"POST","url":"/a","bodyPatterns":[{"matchesJsonPath":"$.a"}]}`, ok):                                          "another pattern",
		wiremock(`{"method":"POST","url":"/a","bodyPatterns":[{"equalTo":"a"},{"contains":"a"}]}`, ok):                                   "several patterns",
		wiremock(`{"method":"POST","url":"/a","bodyPatterns":[{"equalToJson":"{\"a\":\"${json-unit.any-string}\"}"}]}`, ok):              "placeholders",
		wiremock(`{`+get+`,"url":"/a"}`, `{"status":200,"body":"x","transformers":["response-template"]}`):                               "a template",
		wiremock(`{`+get+`,"url":"/a"}`, `{"fault":"EMPTY_RESPONSE"}`):                                                                   "a fault",
		wiremock(`{`+get+`,"url":"/a"}`, `{"proxyBaseUrl":"http://b.test"}`):                                                             "another server",
		wiremock(`{`+get+`,"url":"/a"}`, `{"bodyFileName":"../../../../etc/passwd"}`):                                                    "bodyFileName can't be read",
		wiremock(`{`+get+`,"url":"/a"}`, `{"status":101}`):                                                                               "upgrade",
		wiremock(`{`+get+`,"url":"/a"}`, `{"headers":{"X":"a\r\nb"}}`):                                                                   "can't stand in a message",
		`{"scenarioName":"s","requiredScenarioState":"Late","request":{` + get + `,"url":"/a"},"response":{}}`:                           "does not lead from one state",
		`{"scenarioName":"s","requiredScenarioState":"Started","newScenarioState":"x","request":{` + get + `,"url":"/a"},"response":{}}`: "ends without an answer",
		hoverfly(`"path":[{"matcher":"glob","value":"/*"}]`):                                                                             "glob",
		hoverfly(`"path":[{"matcher":"regex","value":"^/a.$"}]`):                                                                         "regex",
		hoverfly(`"path":[{"matcher":"exact","value":"/a"},{"matcher":"glob","value":"/*"}]`):                                            "several matchers",
		hoverfly(`"path":[{"matcher":"exact","value":"/a","doMatch":{"matcher":"exact","value":"/a"}}]`):                                 "goes on to another",
		hoverfly(`"path":[{"matcher":"sounds-like","value":"/a"}]`):                                                                      "not known here",
		hoverfly(`"path":[{"matcher":"exact","value":"/a"}],"body":[{"matcher":"jsonpath","value":"$.a"}]`):                              "jsonpath",
		hoverfly(`"path":[{"matcher":"exact","value":"/a"}],"query":{"q":[{"matcher":"glob","value":"*"}]}`):                             "glob",
		hoverfly(`"path":[{"matcher":"exact","value":"/a"}],"headers":{"Accept":[{"matcher":"exact","value":"x"}]}`):                     "does not compare",
		hoverfly(`"path":[{"matcher":"exact","value":"/a"}],"requiresState":{"basket":"full"}`):                                          "a state",
	} {
		format := "wiremock"
		if strings.Contains(text, "schemaVersion") {
			format = "hoverfly"
		}
		file := filepath.Join(t.TempDir(), "stub.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		tape, err := Read(format, []string{file}, Options{Scheme: "http", Authority: "a.test"})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		w, err := tape.Write(filepath.Join(t.TempDir(), "inputs"), clean(t), imported)
		if err == nil || len(w.Skipped) != 1 || !strings.Contains(w.Skipped[0].Reason, want) || w.Skipped[0].Where != "stub.json" && !strings.Contains(w.Skipped[0].Where, "pair 1") {
			t.Errorf("%s:\n%+v %v, want %q", text, w, err, want)
		}
	}
}

func TestLiteral(t *testing.T) {
	for expr, want := range map[string]string{`^/a\.b$`: "/a.b", `^/a$`: "/a", `\A/x\z`: "/x", `^\Q/a.*\E$`: "/a.*"} {
		if got, ok := literal(expr, true); !ok || got != want {
			t.Errorf("%s: %q %v, want %q", expr, got, ok, want)
		}
	}
	for _, expr := range []string{"/a", "^/a", "/a$", "^/a.$", "^(?i)/a$", "^/a|b$", "^[ab]$", "^a?$", "(", "^(a)$"} {
		if got, ok := literal(expr, true); ok {
			t.Errorf("%s stands for %q alone", expr, got)
		}
	}
}

// TestPlaces tries URLs and hosts.
func TestPlaces(t *testing.T) {
	for link, want := range map[string]string{
		"http://a.test":                     "http a.test /",
		"https://user:word@A.test:8443/x?y": "https A.test:8443 /x?y",
		"http://[::1]:80/a%2fb#c":           "http [::1]:80 /a%2fb",
		"http://a.test?q=1":                 "http a.test /?q=1",
		"/only/path":                        "https base.test /only/path",
	} {
		x := &Exchange{Method: "GET"}
		err := (&reader{opt: Options{Scheme: "https", Authority: "base.test"}}).place(x, link, "")
		if got := x.Scheme + " " + x.Authority + " " + x.Target; err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", link, got, err, want)
		}
	}
	for _, link := range []string{"data:text/plain,x", "ftp://a.test/", "http://a b.test/", "http://", "http://a.test/x y", "http://" + strings.Repeat("a", 300) + "/", "http://a..test/", "http://a.test:0/", "http://ä.test/", "http://a.test:99999/"} {
		if err := (&reader{}).place(&Exchange{Method: "GET"}, link, ""); err == nil {
			t.Errorf("%s was taken", link)
		}
	}
}
