// Several goroutines draw from an account; the program then panics.
package main

import (
	"fmt"
	"sync"
)

type account struct {
	name    string
	balance int
}

var (
	counter int
	acc     = account{"alice", 100}
	mu      sync.Mutex
)

//go:noinline
func draw(n int) {
	mu.Lock()
	defer mu.Unlock()
	counter += n
	acc.balance -= n
}

func main() {
	var wg sync.WaitGroup
	for i := 1; i < 4; i++ {
		wg.Go(func() {
			for range 50 {
				draw(i)
			}
		})
	}
	wg.Wait()
	acc.name = "bob"
	fmt.Println(counter, acc)
	if acc.balance < 0 {
		var p *account
		p.balance = 1
	}
}
