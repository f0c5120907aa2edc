package bundle_test

import (
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/bundle"
)

func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "incident.tar.zst")

	w, err := bundle.Create(path)
	if err != nil {
		log.Fatal(err)
	}
	defer w.Abort()
	if err := w.Add("inputs/time.ndjson", strings.NewReader(`{"seq":1,"ns":5}`+"\n"), bundle.FileInfo{}); err != nil {
		log.Fatal(err)
	}
	err = w.Commit(&bundle.Manifest{
		CreatedAt: time.Date(2025, 1, 3, 12, 34, 56, 0, time.UTC),
		Recorders: []bundle.Recorder{{"kind": "vm", "guest": "linux-6.12"}},
		Inputs:    bundle.Inputs{TimeStream: "inputs/time.ndjson"},
	})
	if err != nil {
		log.Fatal(err)
	}

	r, err := bundle.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	f, err := r.Open("inputs/time.ndjson")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f) // compared with its digest by now
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %s", r.Manifest().Recorders[0].Kind(), text)
	// Output: vm: {"seq":1,"ns":5}
}
