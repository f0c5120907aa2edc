// Bug:   lost update. A hit is counted with an atomic load and an atomic store,
//        not with one atomic addition.
// Shows: exit code 1, "… hits and … bytes".
// Rare:  a goroutine counts four hits, in far less time than it takes to start
//        the other.

package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var prove = os.Getenv("PROVE") != ""

type stats struct {
	hits, bytes atomic.Int64
}

func (s *stats) hit(page string) {
	add(&s.hits, 1)
	add(&s.bytes, int64(len(page)))
}

func add(c *atomic.Int64, n int64) {
	v := c.Load()
	if prove {
		time.Sleep(10 * time.Microsecond)
	}
	c.Store(v + n)
}

func main() {
	const clients, each = 2, 4
	var s stats
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for i := range each {
				s.hit(strings.Repeat("x", i))
			}
		})
	}
	wg.Wait()
	if s.hits.Load() != clients*each || s.bytes.Load() != clients*6 {
		fmt.Fprintf(os.Stderr, "%d hits and %d bytes, not %d and %d\n", s.hits.Load(), s.bytes.Load(), clients*each, clients*6)
		os.Exit(1)
	}
	fmt.Println("ok")
}
