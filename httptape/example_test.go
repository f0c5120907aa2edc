package httptape_test

import (
	"fmt"
	"log"
	"net/http"

	"github.com/tapedeck-dev/tapedeck"
	"github.com/tapedeck-dev/tapedeck/httptape"
)

// Shop takes its clock and its randomness, so that a test can give it others.
type Shop struct {
	HTTP  *http.Client
	Clock tapedeck.Clock
	Rand  *tapedeck.Rand
}

// What the program does is in the environment: TAPEDECK_MODE=record with a folder
// in HTTP_CASSETTE_DIR, then TAPEDECK_MODE=replay with the same.
func Example() {
	s, err := tapedeck.FromEnv()
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	shop := &Shop{HTTP: &http.Client{Transport: httptape.Transport(s, nil)}, Clock: s.Clock(), Rand: s.Rand()}
	order := shop.Rand.UUID()
	fmt.Println(s.Mode(), len(order), shop.Clock.Now().IsZero())
	// Output: off 36 false
}
