// Httplib is a client that takes its clock and its transport from a session of
// the library, as the environment says:
//
//	httplib URL
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck"
	"github.com/tapedeck-dev/tapedeck/httptape"
)

func main() {
	s, err := tapedeck.FromEnv()
	if err != nil {
		fail(err)
	}
	c := &http.Client{Transport: httptape.Transport(s, nil)}
	fmt.Println("hour", s.Clock().Now().UTC().Truncate(time.Hour).Format(time.RFC3339))
	show(c.Get(os.Args[1] + "/now?mail=ada@example.com"))
	for range 2 {
		show(c.Get(os.Args[1] + "/item/1"))
	}
	show(c.Post(os.Args[1]+"/echo", "text/plain", strings.NewReader("said")))
	for _, what := range []string{"events", "trailer", "big?n=3000000"} {
		show(c.Get(os.Args[1] + "/" + what))
	}
	if err := s.Close(); err != nil {
		fail(err)
	}
}

func show(r *http.Response, err error) {
	if err != nil {
		fail(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	fmt.Println(r.StatusCode, len(b), strings.TrimSpace(string(b[:min(len(b), 300)])), err)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "httplib:", err)
	os.Exit(1)
}
