package rr

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

var (
	errTimedOut = errors.New("time limit")
	errStopped  = errors.New("stopped")
)

// spec is one run of rr.
type spec struct {
	path   string
	args   []string
	dir    string
	env    []string
	stdin  string // a file, "" is /dev/null
	stdout io.Writer
	stderr io.Writer
	limit  time.Duration   // 0 is none
	stop   <-chan struct{} // ends the run as the limit does; may be nil
	grace  time.Duration   // between SIGTERM and SIGKILL
	keep   int             // bytes of each output to keep, 0 is keepOutput
}

// ended is how a run of rr ended.
type ended struct {
	code     int            // exit code, 128+n for a signal
	signal   syscall.Signal // or 0
	timedOut bool
	stopped  bool
	stdout   *capture
	stderr   *capture
}

// run runs rr to its end. A limit, a stop and the end of ctx all send SIGTERM
// to rr itself, which ends a recording so that it can be replayed; SIGKILL,
// after grace, doesn't. It returns an error only if rr can't be started.
func run(ctx context.Context, s spec) (ended, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if s.keep == 0 {
		s.keep = keepOutput
	}
	r := ended{stdout: newCapture(s.stdout, s.keep), stderr: newCapture(s.stderr, s.keep)}
	cmd := exec.CommandContext(ctx, s.path, s.args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	if cmd.Env == nil {
		cmd.Env = []string{} // nil would mean ours
	}
	cmd.Stdout, cmd.Stderr = r.stdout, r.stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = s.grace
	cmd.SysProcAttr = childAttr(false)
	if s.stdin != "" {
		f, err := os.Open(s.stdin)
		if err != nil {
			return r, err
		}
		defer f.Close()
		cmd.Stdin = f
	}
	if err := cmd.Start(); err != nil {
		return r, err
	}
	if s.limit > 0 {
		timer := time.AfterFunc(s.limit, func() { cancel(errTimedOut) })
		defer timer.Stop()
	}
	if s.stop != nil {
		go func() {
			select {
			case <-s.stop:
				cancel(errStopped)
			case <-ctx.Done():
			}
		}()
	}
	cmd.Wait() // the process state says all that its error could
	cause := context.Cause(ctx)
	r.timedOut, r.stopped = cause == errTimedOut, cause == errStopped
	r.code, r.signal = exitOf(cmd.ProcessState)
	return r, nil
}

func exitOf(state *os.ProcessState) (int, syscall.Signal) {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), ws.Signal()
	}
	return state.ExitCode(), 0
}

const keepOutput = 1 << 20

// capture counts and hashes a stream, keeps its end, and passes it on. It
// never fails: an error would close the recorded program's pipe, and so change
// the execution.
type capture struct {
	tee    io.Writer
	teeErr error
	sum    hash.Hash
	n      int64
	limit  int
	tail   []byte
}

func newCapture(tee io.Writer, limit int) *capture {
	return &capture{tee: tee, sum: sha256.New(), limit: limit}
}

func (c *capture) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	c.sum.Write(p)
	if c.tee != nil && c.teeErr == nil {
		_, c.teeErr = c.tee.Write(p)
	}
	c.tail = append(c.tail, p...)
	if len(c.tail) > 2*c.limit {
		c.tail = append(c.tail[:0], c.tail[len(c.tail)-c.limit:]...)
	}
	return len(p), nil
}

// kept gives the last bytes of the stream.
func (c *capture) kept() []byte {
	return c.tail[max(0, len(c.tail)-c.limit):]
}

func (c *capture) output() Output {
	return Output{Tail: c.kept(), Bytes: c.n, SHA256: hex.EncodeToString(c.sum.Sum(nil))}
}

// Output is one stream that a program wrote.
type Output struct {
	Tail   []byte // its last bytes
	Bytes  int64  // its length
	SHA256 string // of all of it, in hexadecimal
}
