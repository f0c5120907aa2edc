// Command lostgo adds up in goroutines that read and write one number, each
// of them atomically, but not both at once.
package main

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
)

const (
	workers = 4
	rounds  = 5
)

var total atomic.Int64

func add() {
	for range rounds {
		total.Store(total.Load() + 1)
	}
}

func main() {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(add)
	}
	wg.Wait()
	fmt.Println(total.Load(), "of", workers*rounds)
	if total.Load() != workers*rounds {
		os.Exit(1)
	}
}
