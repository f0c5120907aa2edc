// Command bank is a program with known places: see sites_test.go.
package main

import (
	"sync"
	"sync/atomic"
)

type bank struct {
	mu    sync.Mutex
	total int
	taken atomic.Int64
	names map[string]int
}

//go:noinline
func (b *bank) deposit(n int) {
	b.mu.Lock()
	b.total += n
	b.mu.Unlock()
}

//go:noinline
func (b *bank) take(n int64) { b.taken.Add(n) }

//go:noinline
func (b *bank) name(s string, c chan string) {
	b.names[s]++
	c <- s
}

//go:noinline
func pure(n int) int { return n*n + 1 }

func main() {
	b := &bank{names: map[string]int{}}
	c := make(chan string, 1)
	b.deposit(pure(2))
	b.take(3)
	b.name("anna", c)
	println(b.total, <-c)
}
