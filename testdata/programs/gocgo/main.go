// Gocgo calls C from several goroutines: a dynamically linked Go program.
package main

/*
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void sort_ints(int *v, size_t n)
{
	qsort(v, n, sizeof *v, compare);
}
*/
import "C"

import (
	"fmt"
	"sync"
)

func main() {
	results := make([][]C.int, 4)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			v := []C.int{5, 3, C.int(i), 9, 1}
			C.sort_ints(&v[0], C.size_t(len(v)))
			results[i] = v
		})
	}
	wg.Wait()
	fmt.Println(results)
}
