// Bug:   check, then act, under two separate holds of a lock: two orders for the
//        last item both find it in stock, and both take it.
// Shows: exit code 1, "stock of … is -1".
// Rare:  the two orders have one item in common, and both goroutines must come
//        for it within the few instructions between the two holds.

package main

import (
	"fmt"
	"os"
	"sync"
	"time"
)

var prove = os.Getenv("PROVE") != ""

type warehouse struct {
	mu    sync.Mutex
	stock map[string]int
}

func (w *warehouse) available(item string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stock[item] > 0
}

func (w *warehouse) take(item string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stock[item]--
}

func (w *warehouse) reserve(item string) bool {
	if !w.available(item) {
		return false
	}
	if prove {
		time.Sleep(5 * time.Millisecond)
	}
	w.take(item)
	return true
}

func main() {
	w := &warehouse{stock: map[string]int{"bolt": 1, "nut": 1, "washer": 1}}
	orders := [][]string{{"bolt", "nut"}, {"washer", "nut"}}
	var wg sync.WaitGroup
	for _, order := range orders {
		wg.Go(func() {
			for _, item := range order {
				w.reserve(item)
			}
		})
	}
	wg.Wait()
	for item, n := range w.stock {
		if n < 0 {
			fmt.Fprintf(os.Stderr, "stock of %s is %d\n", item, n)
			os.Exit(1)
		}
	}
	fmt.Println("ok")
}
