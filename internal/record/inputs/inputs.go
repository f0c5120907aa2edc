// Package inputs records what a program gets from outside: what it asks over
// the network and what it is asked, the order of all that, the time, and its
// randomness. The program is not changed: it runs in a network of its own, in
// which every address leads to a proxy of ours.
//
// What is recorded is scrubbed before it reaches a disk, and appended to a
// spool as it comes. A recording that is cut short leaves a spool with all that
// came before: [Recover] makes a recording of that.
package inputs

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/record"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/spool"
	"github.com/tapedeck-dev/tapedeck/internal/tap"
	"github.com/tapedeck-dev/tapedeck/internal/trust"
	"github.com/tapedeck-dev/tapedeck/internal/wire/http"
)

// Options of a recording.
type Options struct {
	Scrubber *scrub.Scrubber // what every byte goes through
	Spools   string          // folder in which the recording's spool is made
	Stdout   io.Writer       // gets what the program prints, as it comes; nil: nobody
	Stderr   io.Writer
	Say      func(string)
}

// Record runs the job and returns what was recorded of it. When ctx ends, the
// program is told so by SIGTERM, and what was recorded is returned.
func Record(ctx context.Context, job record.Job, o Options) (*record.Recording, error) {
	r, err := open(job, o)
	if err != nil {
		return nil, err
	}
	defer r.discard()
	if err := r.run(ctx); err != nil {
		return nil, errors.Join(err, r.stop())
	}
	if err := r.stop(); err != nil {
		return nil, err
	}
	left, err := readSpool(r.spoolDir)
	if err != nil {
		return nil, err
	}
	rec, err := left.recording(r.spoolDir)
	if err != nil {
		return nil, err
	}
	rec.Warnings = append(rec.Warnings, r.warnings...)
	r.done = true
	return rec, nil
}

// queueBytes is how much may wait to be decoded before the program has to.
const queueBytes = 8 << 20

// recorder is a recording that is under way.
type recorder struct {
	job      record.Job
	opt      Options
	spoolDir string
	scratch  string // of files that the program is shown
	seed     []byte // of the program's randomness
	ca       *trust.CA
	spool    *spool.Spool
	decoder  *http.Recorder
	queue    *tap.Queue
	began    cassette.Time
	warnings []string
	done     bool // the spool is not needed any more
}

func open(job record.Job, o Options) (r *recorder, err error) {
	r = &recorder{job: job, opt: o, began: now()}
	defer func() {
		if err != nil {
			r.done = true
			r.discard()
		}
	}()
	r.seed = make([]byte, 32)
	rand.Read(r.seed) // never fails
	if r.scratch, err = os.MkdirTemp("", "tapedeck-inputs-"); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Spools, 0o700); err != nil {
		return nil, err
	}
	if r.spoolDir, err = os.MkdirTemp(o.Spools, time.Unix(0, r.began.Wall).UTC().Format("20060102-150405-")); err != nil {
		return nil, err
	}
	// A ring so large that it never goes round.
	if r.spool, err = spool.Open(r.spoolDir, spool.Options{MaxBytes: 1 << 50, SegmentBytes: 256 << 20}); err != nil {
		return nil, err
	}
	if err := r.writeStart(); err != nil {
		return nil, err
	}
	if r.ca, err = trust.New(); err != nil {
		return nil, err
	}
	r.decoder = http.NewRecorder(r.spool, o.Scrubber)
	r.queue = tap.NewQueue(r.decoder, queueBytes)
	return r, nil
}

// stop ends the connections and what is behind them, in the order in which
// data goes.
func (r *recorder) stop() error {
	r.queue.Close()
	return errors.Join(r.decoder.Close(), r.spool.Close())
}

// discard removes what is of no more use. A spool that no recording was made of
// stays: it may be all that is left of an incident.
func (r *recorder) discard() {
	os.RemoveAll(r.scratch)
	if r.done {
		os.RemoveAll(r.spoolDir)
	}
}

// now reads both clocks.
func now() cassette.Time {
	var mono unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) // can't fail
	return cassette.Time{Wall: time.Now().UnixNano(), Mono: mono.Nano()}
}
