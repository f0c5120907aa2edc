package replay

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

const maxPrinted = 64 << 20 // bytes of each output that are compared

// printed is what a program printed, as much as is compared.
type printed []byte

func (p *printed) Write(b []byte) (int, error) {
	*p = append(*p, b[:min(len(b), maxPrinted-len(*p))]...)
	return len(b), nil
}

// compareOutput compares what the program printed, scrubbed as the recording is.
func (t *Inputs) compareOutput(rep *InputsReport, s *scrub.Scrubber) string {
	if !t.Cut && rep.ExitCode != t.ExitCode {
		return fmt.Sprintf("differs: it ended with exit code %d, recorded %d", rep.ExitCode, t.ExitCode)
	}
	for _, p := range []struct {
		name           string
		recorded, live []byte
	}{{"stdout", t.Stdout, rep.Stdout}, {"stderr", t.Stderr, rep.Stderr}} {
		live := p.live
		if s != nil {
			live = s.Text(live).Bytes()
		}
		if bytes.Equal(p.recorded, live) {
			continue
		}
		a, b := strings.Split(string(p.recorded), "\n"), strings.Split(string(live), "\n")
		for i := range max(len(a), len(b)) {
			x, y := "", ""
			if i < len(a) {
				x = a[i]
			}
			if i < len(b) {
				y = b[i]
			}
			if x != y {
				return fmt.Sprintf("differs: %s, line %d: recorded %q, now %q", p.name, i+1, clip(x), clip(y))
			}
		}
	}
	return "same"
}

func clip(s string) string { return s[:min(len(s), 300)] }
