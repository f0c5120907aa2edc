// Generate makes a cassette with go-vcr: see ../../README.md.
package main

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"os"
	"strings"

	"gopkg.in/dnaeon/go-vcr.v4/pkg/recorder"
)

func main() {
	base, out := os.Args[1], os.Args[2]
	r, err := recorder.New(out, recorder.WithMode(recorder.ModeRecordOnly))
	if err != nil {
		log.Fatal(err)
	}
	c := r.GetDefaultClient()
	ask := func(resp *http.Response, err error) {
		if err != nil {
			log.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			log.Fatal(err)
		}
	}
	ask(c.Get(base + "/item/1"))
	ask(c.Post(base+"/echo", "application/json", strings.NewReader(`{"id":17,"customer":"ada@example.com"}`)))
	ask(c.Post(base+"/echo", "application/octet-stream", bytes.NewReader([]byte{0, 0xff, 1, 0xfe})))
	ask(c.Get(base + "/status/404"))
	ask(c.Get(base + "/trailer"))
	if err := r.Stop(); err != nil {
		log.Fatal(err)
	}
}
