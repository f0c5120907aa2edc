// Gostatic prints what differs from run to run in a static Go program: map
// order, the order of goroutines, random numbers and the time. Its exit code is 3.
package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

func main() {
	stock := map[string]int{"bolt": 12, "nut": 40, "washer": 7, "rivet": 0, "pin": 5}
	for name, n := range stock {
		fmt.Print(name, "=", n, " ")
	}
	var mu sync.Mutex
	var order []int
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, i)
		})
	}
	wg.Wait()
	fmt.Println(order, rand.Uint64(), time.Now().UnixNano(), os.Args[1:])
	os.Exit(3)
}
