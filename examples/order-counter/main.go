// Order-counter takes orders from four goroutines at once, gives each order the
// next number of its customer, and signs it. At the end the counters must add
// up to the orders taken.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
)

const (
	customers = 5000
	takers    = 4
	each      = 1000 // orders per taker
)

// A counter numbers the orders of every customer. Its methods may be called
// from several goroutines.
type counter struct {
	last [customers]atomic.Int64
}

// next returns the number of the customer's next order.
func (c *counter) next(customer int) string {
	n := c.last[customer].Load() + 1
	number := strconv.Itoa(customer) + "-" + strconv.FormatInt(n, 10)
	c.last[customer].Store(n)
	return number
}

func (c *counter) total() int64 {
	var sum int64
	for i := range c.last {
		sum += c.last[i].Load()
	}
	return sum
}

type order struct {
	number    string
	signature []byte
}

func take(c *counter, key []byte) []order {
	orders := make([]order, 0, each)
	for range each {
		number := c.next(rand.IntN(customers))
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(number))
		orders = append(orders, order{number, mac.Sum(nil)})
	}
	return orders
}

func main() {
	var c counter
	var taken [takers][]order
	var wg sync.WaitGroup
	for i := range taken {
		wg.Go(func() { taken[i] = take(&c, []byte("a key for the example")) })
	}
	wg.Wait()

	count := 0
	for _, orders := range taken {
		count += len(orders)
	}
	if got := c.total(); got != int64(count) {
		fmt.Fprintf(os.Stderr, "order-counter: %d orders were taken, but the counters stand at %d\n", count, got)
		os.Exit(1)
	}
	fmt.Printf("order-counter: %d orders, every one has its number\n", count)
}
