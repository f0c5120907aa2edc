package inputs

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/tapedeck-dev/tapedeck/internal/sandbox"
)

// The kinds of the spool's records that are not the decoder's.
const (
	kindStart  = "inputs.start"
	kindEnd    = "inputs.end"
	kindStdout = "inputs.stdout"
	kindStderr = "inputs.stderr"
)

// output is what the program prints, on its way to the user and to the spool.
type output struct {
	theirs []*os.File // the ends that the program has
	wg     sync.WaitGroup
	mu     sync.Mutex
	err    error
}

// output gives the program its standard files.
func (r *recorder) output(c *sandbox.Config) (*output, error) {
	in := r.job.Stdin
	if in == "" {
		in = os.DevNull
	}
	stdin, err := os.Open(in)
	if err != nil {
		return nil, err
	}
	o := &output{theirs: []*os.File{stdin}}
	c.Stdin = stdin
	for _, s := range []struct {
		file **os.File
		user io.Writer
		kind string
	}{{&c.Stdout, r.opt.Stdout, kindStdout}, {&c.Stderr, r.opt.Stderr, kindStderr}} {
		ours, theirs, err := os.Pipe()
		if err != nil {
			o.started()
			return nil, err
		}
		*s.file = theirs
		o.theirs = append(o.theirs, theirs)
		o.wg.Go(func() {
			defer ours.Close()
			o.fail(r.copy(ours, s.user, s.kind))
		})
	}
	return o, nil
}

// started closes the program's ends: it has them.
func (o *output) started() {
	for _, f := range o.theirs {
		f.Close()
	}
	o.theirs = nil
}

func (o *output) fail(err error) {
	o.mu.Lock()
	o.err = errors.Join(o.err, err)
	o.mu.Unlock()
}

func (o *output) wait() error {
	o.wg.Wait()
	return o.err
}

// copy hands on at once what came, and spools it line by line, since a value
// that is private may come in two pieces.
func (r *recorder) copy(from io.Reader, user io.Writer, kind string) error {
	const most = 1 << 20 // of a line
	buf := make([]byte, 64<<10)
	var held []byte
	for {
		n, err := from.Read(buf)
		if user != nil && n > 0 {
			_, _ = user.Write(buf[:n]) // who reads it may be gone; the recording goes on
		}
		held = append(held, buf[:n]...)
		whole := bytes.LastIndexByte(held, '\n') + 1
		if err != nil || len(held) > most {
			whole = len(held)
		}
		if whole > 0 {
			if _, e := r.spool.Append(kind, r.opt.Scrubber.Text(held[:whole])); e != nil {
				return e
			}
			held = append(held[:0], held[whole:]...)
		}
		if err != nil {
			return nil // the program has closed it
		}
	}
}
