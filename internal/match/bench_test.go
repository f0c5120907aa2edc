package match

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
)

// batch is how many requests are brought into the cache at a time. A live request
// is there: it has just been read from a connection.
const batch = 64

// tape is a cassette to match against, asked in an order that jumps about.
type tape struct {
	all   []*cassette.Exchange
	index *Index
	asked int
	spent time.Duration
}

func newTape(b *testing.B, n int) *tape {
	t := &tape{}
	for i := range n {
		m := message("POST", fmt.Sprintf("/item/%08d", i), "application/json", fmt.Sprintf(`{"id":%d,"of":"a customer"}`, i))
		t.all = append(t.all, exchange(i+1, i%16+1, m, ""))
	}
	t.again(b)
	return t
}

func (t *tape) again(b *testing.B) {
	var err error
	if t.index, err = NewIndex(t.all, Options{}); err != nil {
		b.Fatal(err)
	}
	t.asked = 0
}

// take matches a batch of requests, each of them its own copy, and counts the
// time of that alone.
func (t *tape) take(b *testing.B) {
	var live [batch]*cassette.Message
	for i := range live {
		m := t.all[((t.asked+i)*7919)%len(t.all)].Request
		live[i] = &cassette.Message{Head: slices.Clone(m.Head), Body: cassette.Bytes(slices.Clone(m.Body.(cassette.Bytes)))}
	}
	begin := time.Now()
	for _, m := range live {
		r, err := Of("http", "API:80", m)
		if err != nil {
			b.Fatal(err)
		}
		if _, miss := t.index.Take("s", r); miss != nil {
			b.Fatal(miss)
		}
	}
	t.spent += time.Since(begin)
	if t.asked += batch; t.asked+batch > len(t.all) {
		t.again(b)
	}
}

// BenchmarkTake matches against a small and a large cassette: the request is
// brought to its one form, and looked for.
func BenchmarkTake(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			t := newTape(b, n)
			for b.Loop() {
				t.take(b)
			}
			b.ReportMetric(float64(t.spent.Nanoseconds())/float64(b.N*batch), "ns/match")
		})
	}
}

// BenchmarkTakeRatio takes from both by turns, so that what else the machine does
// is the same for both, and tells the median of the ratios of rounds.
func BenchmarkTakeRatio(b *testing.B) {
	small, large := newTape(b, 100), newTape(b, 100_000)
	var ratios []float64
	for b.Loop() {
		small.spent, large.spent = 0, 0
		for range 20 {
			small.take(b)
			large.take(b)
		}
		ratios = append(ratios, float64(large.spent)/float64(small.spent))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
}
