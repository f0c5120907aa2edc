// Package session records and replays the inputs of a program from within, for
// the public packages: it feeds the decoder that a recording proxy feeds, and
// reads the cassette that it makes.
package session

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/match"
	"github.com/tapedeck-dev/tapedeck/internal/order"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/spool"
	"github.com/tapedeck-dev/tapedeck/internal/wire"
	wirehttp "github.com/tapedeck-dev/tapedeck/internal/wire/http"
)

// Engine records into a folder, or replays what is in it. Its methods may be
// called by several goroutines.
type Engine struct {
	Seed  [32]byte
	Began time.Time

	dir string

	mu       sync.Mutex // of what is recorded
	spool    *spool.Spool
	recorder *wirehttp.Recorder
	ticks    uint64
	conns    uint64

	tape    *cassette.Cassette // nil while recording
	scrub   *scrub.Scrubber
	index   *match.Index
	gate    *order.Gate
	seqs    map[string][]cassette.Event
	misses  []*match.Miss
	clock   sync.Mutex
	wall    time.Time // the recorded time that was reached
	reached time.Time // when
}

// Record returns an engine that records into dir, which must not hold a
// cassette. Secrets are scrubbed by the built-in rules before they are written,
// with a salt of this recording alone.
func Record(dir string) (*Engine, error) {
	if _, err := os.Stat(filepath.Join(dir, lastFile)); err == nil {
		return nil, fmt.Errorf("%s: need a folder without a recording, found one", dir)
	}
	spooled := filepath.Join(dir, spoolDir)
	if _, err := os.Stat(spooled); err == nil {
		return nil, fmt.Errorf("%s: need a folder without a recording, found one that was not ended (%s)", dir, spoolDir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s, err := scrubber()
	if err != nil {
		return nil, err
	}
	e := &Engine{dir: dir, Began: time.Now()}
	rand.Read(e.Seed[:])
	if e.spool, err = spool.Open(spooled, spool.Options{}); err != nil {
		return nil, err
	}
	e.recorder = wirehttp.NewRecorder(e.spool, s)
	return e, nil
}

// Replay returns an engine that answers from the cassette in dir.
func Replay(dir string) (*Engine, error) {
	if _, err := os.Stat(filepath.Join(dir, lastFile)); err != nil {
		return nil, fmt.Errorf("need a recording, found none: %w", err)
	}
	c, err := cassette.Load(dir)
	if err != nil {
		return nil, err
	}
	e := &Engine{dir: dir, tape: c, Began: time.Unix(0, c.Began.Wall), seqs: map[string][]cassette.Event{}, reached: time.Now()}
	e.wall = e.Began
	copy(e.Seed[:], c.Seed)
	if e.scrub, err = scrubber(); err != nil {
		return nil, err
	}
	var asked []*cassette.Exchange
	for _, x := range c.Exchanges {
		if x.Conn == 0 || !c.Conns[x.Conn-1].Incoming {
			asked = append(asked, x)
		}
	}
	if e.index, err = match.NewIndex(asked, match.Options{}); err != nil {
		return nil, err
	}
	ours := map[string]bool{}
	for _, x := range asked {
		ours[match.ID(x)] = true
	}
	e.gate = order.New(c.Events, order.Total, order.Options{Tell: e.tell})
	for _, ev := range c.Events {
		if ours[ev.ID] {
			e.seqs[ev.ID] = append(e.seqs[ev.ID], ev)
		} else {
			e.gate.Skip(ev.Seq) // of a connection, a name or a protocol, which the library does not see
		}
	}
	return e, nil
}

// Replaying tells whether answers come from a cassette.
func (e *Engine) Replaying() bool { return e.tape != nil }

func (e *Engine) tell(ev cassette.Event) {
	e.clock.Lock()
	defer e.clock.Unlock()
	e.wall, e.reached = time.Unix(0, ev.Time.Wall), time.Now()
}

// Now is the time at which the recording is: that of the last event, and what
// has passed since.
func (e *Engine) Now() time.Time {
	if e.tape == nil {
		return time.Now()
	}
	e.clock.Lock()
	defer e.clock.Unlock()
	return e.wall.Add(time.Since(e.reached))
}

// Take returns what was recorded for a request, whose body is in memory; nil and a
// miss if nothing was.
func (e *Engine) Take(session, scheme, authority string, m *cassette.Message) (*cassette.Exchange, *match.Miss, error) {
	b, _ := m.Body.(cassette.Bytes)
	clean, err := e.scrub.HTTPMessage(append(m.Head[:len(m.Head):len(m.Head)], b...))
	if err != nil {
		return nil, nil, err
	}
	head, rest, _ := bytes.Cut(clean.Bytes(), []byte("\r\n\r\n"))
	m = &cassette.Message{Head: append(bytes.Clone(head), "\r\n\r\n"...), Body: cassette.Bytes(bytes.Clone(rest))}
	r, err := match.Of(scheme, authority, m)
	if err != nil {
		return nil, nil, err
	}
	x, miss := e.index.Take(session, r)
	if miss != nil {
		e.mu.Lock()
		e.misses = append(e.misses, miss)
		e.mu.Unlock()
		return nil, miss, nil
	}
	for _, ev := range e.seqs[match.ID(x)] {
		if ev.Dir == "out" {
			e.gate.Happened(ev.Seq)
		}
	}
	return x, nil, nil
}

// Release waits until an exchange may be answered in the recorded order. It
// returns an *order.Divergence if what came before it does not come.
func (e *Engine) Release(ctx context.Context, x *cassette.Exchange) error {
	var err error
	for _, ev := range e.seqs[match.ID(x)] {
		if ev.Dir == "in" && err == nil {
			err = e.gate.Wait(ctx, ev.Seq)
		}
		if ev.Dir == "in" {
			e.gate.Done(ev.Seq)
		}
		if ev.Kind == cassette.Response { // the rest comes with the body, and holds nobody up
			break
		}
	}
	for _, ev := range e.seqs[match.ID(x)] {
		if ev.Dir == "in" && ev.Kind != cassette.Response {
			e.gate.Skip(ev.Seq)
		}
	}
	return err
}

// Open begins a connection of the recording; its chunks are put with its number.
func (e *Engine) Open(c wire.Conn) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conns++
	c.ID = e.conns
	e.put(wire.Chunk{ID: c.ID, Op: wire.Open, Conn: &c})
	return c.ID
}

// Put records a chunk. Its data is not kept by the caller.
func (e *Engine) Put(c wire.Chunk) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.put(c)
}

func (e *Engine) put(c wire.Chunk) {
	if e.recorder == nil {
		return // the recording has ended
	}
	e.ticks++
	now := time.Now()
	c.Tick, c.Time = e.ticks, cassette.Time{Wall: now.UnixNano(), Mono: now.Sub(e.Began).Nanoseconds()}
	e.recorder.Put(c)
}

// Close ends a recording and writes the cassette, or tells what a replay did
// not do as it was recorded.
func (e *Engine) Close() error {
	if e.tape != nil {
		return e.verdict()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.recorder == nil {
		return nil
	}
	err := e.recorder.Close()
	e.recorder = nil
	err = errors.Join(err, e.spool.Close())
	if err != nil {
		return err
	}
	return e.write()
}

const (
	spoolDir = ".spool" // of what is recorded, until the cassette is written
	newDir   = ".new"   // of the cassette, until it is whole
	lastFile = "time.ndjson"
)

// write makes the cassette of what was spooled. The file by which it is known is
// the last to be there.
func (e *Engine) write() error {
	spooled, made := filepath.Join(e.dir, spoolDir), filepath.Join(e.dir, newDir)
	w, err := cassette.Create(made, cassette.Time{Wall: e.Began.UnixNano()}, e.Seed[:])
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(e.dir, ".bodies-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	_, err = wirehttp.Assemble(spooled, scratch, w)
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	names := []string{}
	for _, f := range w.Files() {
		if f.Path != lastFile {
			names = append(names, f.Path)
		}
	}
	for _, name := range append(names, lastFile) {
		to := filepath.Join(e.dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(made, name), to); err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(made), os.RemoveAll(spooled))
}

// DivergedError is a replay that was not as recorded.
type DivergedError struct {
	match.Counts
	Misses      []*match.Miss
	Divergences []order.Divergence
}

func (d *DivergedError) Error() string {
	lines := []string{fmt.Sprintf("the replay diverged: %d matched, %d missed, %d unused, %d out of order", d.Matched, d.Missed, len(d.Unused), d.Reordered)}
	for _, m := range d.Misses {
		lines = append(lines, m.String())
	}
	for i := range d.Divergences {
		lines = append(lines, d.Divergences[i].Error())
	}
	if len(d.Unused) > 0 {
		lines = append(lines, "unused: "+strings.Join(d.Unused, ", "))
	}
	return strings.Join(lines, "\n")
}

func (e *Engine) verdict() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := &DivergedError{Counts: e.index.Counts(), Misses: e.misses, Divergences: e.gate.Divergences()}
	if d.Missed == 0 && len(d.Unused) == 0 && len(d.Divergences) == 0 {
		return nil
	}
	return d
}
