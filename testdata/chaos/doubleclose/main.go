// Bug:   check, then act, on a channel. Close looks whether the connection is
//        closed already, and closes it if not; two goroutines may both do so.
// Shows: panic "close of closed channel", exit code 2.
// Rare:  the reader closes when it is through, the owner when it is; the two
//        must do so within a few instructions.

package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

var prove = os.Getenv("PROVE") != ""

type conn struct {
	lines chan string
	done  chan struct{}
}

func (c *conn) Close() {
	select {
	case <-c.done:
		return
	default:
	}
	if prove {
		time.Sleep(time.Millisecond)
	}
	close(c.done)
}

// read hands over the lines of a request, and closes the connection after them.
func (c *conn) read(request string) {
	for line := range strings.SplitSeq(request, "\n") {
		c.lines <- line
	}
	c.Close()
}

func serve(id int) int {
	c := &conn{lines: make(chan string, 4), done: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() { c.read(fmt.Sprintf("GET /orders/%d\nHost: localhost\n", id)) })
	size := 0
	for range 3 {
		size += len(<-c.lines)
	}
	c.Close()
	wg.Wait()
	return size
}

func main() {
	fmt.Println(serve(17), "bytes")
}
