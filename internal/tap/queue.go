package tap

import (
	"sync"

	"github.com/tapedeck-dev/tapedeck/internal/wire"
)

// Queue stands between the tap and a sink that is slower. It holds a bounded
// number of bytes; beyond that the program's connections wait.
type Queue struct {
	sink  wire.Sink
	mu    sync.Mutex
	cond  sync.Cond
	items []wire.Chunk
	bytes int
	max   int
	ended bool
	done  chan struct{}
}

// NewQueue returns a queue of at most max bytes of data.
func NewQueue(sink wire.Sink, max int) *Queue {
	q := &Queue{sink: sink, max: max, done: make(chan struct{})}
	q.cond.L = &q.mu
	go q.run()
	return q
}

const perChunk = 200 // bytes that a chunk takes beside its data, about

// Put adds a chunk, and waits while there is no room.
func (q *Queue) Put(c wire.Chunk) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.bytes > q.max && !q.ended {
		q.cond.Wait()
	}
	q.items = append(q.items, c)
	q.bytes += len(c.Data) + perChunk
	q.cond.Broadcast()
}

func (q *Queue) run() {
	defer close(q.done)
	for {
		q.mu.Lock()
		for len(q.items) == 0 && !q.ended {
			q.cond.Wait()
		}
		batch := q.items
		q.items = nil
		q.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, c := range batch {
			q.sink.Put(c)
			q.mu.Lock()
			q.bytes -= len(c.Data) + perChunk
			q.cond.Broadcast()
			q.mu.Unlock()
		}
	}
}

// Close returns when the sink has had everything.
func (q *Queue) Close() {
	q.mu.Lock()
	q.ended = true
	q.cond.Broadcast()
	q.mu.Unlock()
	<-q.done
}
