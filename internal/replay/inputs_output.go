package replay

import (
	"bytes"
	"os"
	"sync"

	"github.com/tapedeck-dev/tapedeck/internal/sandbox"
)

const maxPrinted = 64 << 20 // bytes of each output that are compared

// printed is what a program printed, as much as is compared.
type printed struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *printed) bytes() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Bytes()
}

// captured are the pipes of a program's output.
type captured struct {
	theirs []*os.File
	wg     sync.WaitGroup
}

func capture(c *sandbox.Config, out, errs *printed) (*captured, error) {
	p := &captured{}
	for _, s := range []struct {
		file **os.File
		to   *printed
	}{{&c.Stdout, out}, {&c.Stderr, errs}} {
		ours, theirs, err := os.Pipe()
		if err != nil {
			p.started()
			return nil, err
		}
		*s.file = theirs
		p.theirs = append(p.theirs, theirs)
		p.wg.Go(func() {
			defer ours.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := ours.Read(buf)
				s.to.mu.Lock()
				if s.to.b.Len() < maxPrinted {
					s.to.b.Write(buf[:n])
				}
				s.to.mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	return p, nil
}

// started closes the program's ends: it has them.
func (p *captured) started() {
	for _, f := range p.theirs {
		f.Close()
	}
	p.theirs = nil
}

func (p *captured) wait() { p.wg.Wait() }
