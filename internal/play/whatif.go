package play

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// WhatIf changes one recorded answer.
type WhatIf struct {
	ID     int    // of the exchange
	Kind   string // timeout, reset, slow, status
	Delay  time.Duration
	Status int
}

// ParseWhatIf reads "http:17 timeout", "http:17 reset", "http:17 slow 2s" or
// "http:17 status 503".
func ParseWhatIf(text string) (WhatIf, error) {
	bad := fmt.Errorf("--what-if needs 'http:N timeout', 'http:N reset', 'http:N slow 2s' or 'http:N status 503', found %q", text)
	f := strings.Fields(text)
	if len(f) < 2 {
		return WhatIf{}, bad
	}
	digits, ok := strings.CutPrefix(f[0], "http:")
	id, err := strconv.Atoi(digits)
	w := WhatIf{ID: id, Kind: f[1]}
	if !ok || err != nil || id < 1 {
		return w, bad
	}
	switch {
	case (w.Kind == "timeout" || w.Kind == "reset") && len(f) == 2:
		return w, nil
	case w.Kind == "slow" && len(f) == 3:
		if w.Delay, err = time.ParseDuration(f[2]); err == nil && w.Delay >= 0 {
			return w, nil
		}
	case w.Kind == "status" && len(f) == 3:
		if w.Status, err = strconv.Atoi(f[2]); err == nil && w.Status >= 200 && w.Status <= 999 {
			return w, nil
		}
	}
	return w, bad
}

func (w WhatIf) String() string {
	s := fmt.Sprintf("http:%d %s", w.ID, w.Kind)
	switch w.Kind {
	case "slow":
		s += " " + w.Delay.String()
	case "status":
		s += " " + strconv.Itoa(w.Status)
	}
	return s
}
