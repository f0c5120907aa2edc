package vm

import (
	"bytes"
	"fmt"
)

// Divergence is the first point where a replay differs from its recording.
type Divergence struct {
	What string `json:"what"`         // "stdout", "stderr", "exit", "instructions", "stalled"…
	At   string `json:"at,omitempty"` // position, where there is one
	Want string `json:"want"`         // as recorded
	Got  string `json:"got"`
}

func (d *Divergence) String() string {
	s := d.What
	if d.At != "" {
		s += " at " + d.At
	}
	return fmt.Sprintf("%s: recorded %s, replayed %s", s, d.Want, d.Got)
}

// Compare finds the first frame of a replay that differs from what was
// recorded, in content or in time; nil if there is none.
func Compare(want, got []Frame) *Divergence {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			return &Divergence{What: want[i].Kind.String(), Want: want[i].String(), Got: "nothing more"}
		case i >= len(want):
			return &Divergence{What: got[i].Kind.String(), Want: "nothing more", Got: got[i].String()}
		case want[i].Kind != got[i].Kind || want[i].TSC != got[i].TSC || !bytes.Equal(want[i].Data, got[i].Data):
			return &Divergence{What: want[i].Kind.String(), At: fmt.Sprintf("%d ns of the guest's time", want[i].TSC), Want: want[i].String(), Got: got[i].String()}
		}
	}
	return nil
}

const showBytes = 120 // of a frame's content, in a message

func (f Frame) String() string {
	return fmt.Sprintf("%s at %d ns: %q", f.Kind, f.TSC, f.Data[:min(len(f.Data), showBytes)])
}
