package inputs

import (
	"bytes"
	"io"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/spool"
)

// The kinds of the spool's records that are not the decoder's.
const (
	kindStart  = "inputs.start"
	kindEnd    = "inputs.end"
	kindStdout = "inputs.stdout"
	kindStderr = "inputs.stderr"
)

const longestLine = 1 << 20 // that is scrubbed as a whole

// output hands on at once what the program prints, and spools it line by line,
// since a value that is private may come in two pieces.
type output struct {
	user  io.Writer // nil: nobody
	spool *spool.Spool
	scrub *scrub.Scrubber
	kind  string
	held  []byte
}

func (o *output) Write(p []byte) (int, error) {
	if o.user != nil {
		_, _ = o.user.Write(p) // who reads it may be gone; the recording goes on
	}
	o.held = append(o.held, p...)
	whole := bytes.LastIndexByte(o.held, '\n') + 1
	if len(o.held) > longestLine {
		whole = len(o.held)
	}
	return len(p), o.put(whole)
}

// put spools the first n bytes of what is held.
func (o *output) put(n int) error {
	if n == 0 {
		return nil
	}
	_, err := o.spool.Append(o.kind, o.scrub.Text(o.held[:n]))
	o.held = append(o.held[:0], o.held[n:]...)
	return err
}

// Close spools a last line that has no end.
func (o *output) Close() error { return o.put(len(o.held)) }
