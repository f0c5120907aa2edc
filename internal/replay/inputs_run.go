package replay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/match"
	"github.com/tapedeck-dev/tapedeck/internal/order"
	"github.com/tapedeck-dev/tapedeck/internal/play"
	"github.com/tapedeck-dev/tapedeck/internal/sandbox"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/trust"
	"github.com/tapedeck-dev/tapedeck/internal/vtime"
)

// InputsOptions say how recorded inputs are replayed.
type InputsOptions struct {
	Command  []string // another program; nil is the recorded one
	Dir      string   // where another program runs
	Env      []string // variables beside, or instead of, the recorded ones
	Mode     order.Mode
	Rules    *match.Rules
	WhatIf   []play.WhatIf
	Lenient  bool
	Stall    time.Duration
	Show     []string // files that the program may read beside the system's and its own
	Scrubber *scrub.Scrubber
	OwnSalt  bool // the scrubber's salt is the recording's
	Stdin    string
}

// InputsReport is what a replay of inputs showed.
type InputsReport struct {
	play.Report
	Identical bool     `json:"identical"` // no divergence, and the same output where that can be said
	Hermetic  bool     `json:"hermetic"`
	Outcome   string   `json:"outcome"`
	ExitCode  int      `json:"exit_code"`
	Output    string   `json:"output"` // "same", "differs: …", or "not compared"
	Outside   []string `json:"outside,omitempty"`
	Stdout    []byte   `json:"-"`
	Stderr    []byte   `json:"-"`
	Elapsed   time.Duration `json:"elapsed_ns"`
}

var _ = bytes.Equal
var _ = sha256.New
var _ io.Reader
var _ netip.Addr
var _ = os.Open
var _ = filepath.Join
var _ = slices.Sort[[]int]
var _ = strings.Cut
var _ sync.Mutex
var _ = syscall.SIGTERM
var _ = cassette.Data
var _ = sandbox.Start
var _ = trust.New
var _ = vtime.New
var _ = errors.Is
var _ context.Context
