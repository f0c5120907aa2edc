// Order-counter takes orders from four goroutines at once, gives each order the
// next number of its customer, and signs it. At the end every customer's
// counter must stand at the number of his orders.
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

type order struct {
	customer  int
	number    string
	signature []byte
}

var numbers counter

func take(key []byte) []order {
	orders := make([]order, 0, each)
	for range each {
		customer := rand.IntN(customers)
		number := numbers.next(customer)
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(number))
		orders = append(orders, order{customer, number, mac.Sum(nil)})
	}
	return orders
}

func main() {
	var taken [takers][]order
	var wg sync.WaitGroup
	for i := range taken {
		wg.Go(func() { taken[i] = take([]byte("a key for the example")) })
	}
	wg.Wait()

	var count [customers]int64
	for _, orders := range taken {
		for _, o := range orders {
			count[o.customer]++
		}
	}
	for customer, n := range count {
		if got := numbers.last[customer].Load(); got != n {
			fmt.Fprintf(os.Stderr, "order-counter: customer %d has %d orders, but the counter stands at %d\n", customer, n, got)
			os.Exit(1)
		}
	}
	fmt.Printf("order-counter: %d orders, every one has its number\n", takers*each)
}
