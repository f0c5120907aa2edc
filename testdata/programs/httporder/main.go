// Httporder opens 100 connections at once and prints in which order the answers
// came: what it prints depends on nothing else.
//
//	httporder URL [N]
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
)

func main() {
	n := 100
	if len(os.Args) > 2 {
		n, _ = strconv.Atoi(os.Args[2])
	}
	var mu sync.Mutex
	var order []string
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			r, err := c.Get(fmt.Sprintf("%s/slow/%d", os.Args[1], i))
			text := fmt.Sprint(err)
			if err == nil {
				body, _ := io.ReadAll(r.Body)
				r.Body.Close()
				text = strings.TrimSpace(string(body))
			}
			mu.Lock()
			order = append(order, text)
			mu.Unlock()
		}()
	}
	wg.Wait()
	fmt.Println(strings.Join(order, " "))
}
