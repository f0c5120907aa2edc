// Package importer makes recorded inputs of the tapes that other tools make:
// HAR, WARC, and the cassettes and stubs of hoverfly, WireMock, go-vcr, keploy
// and vcrpy. [Read] reads them, and [Tape.Write] makes a cassette.
//
// What a format leaves open is not guessed: a stub that stands for more than one
// request is skipped, and said. What reaches a disk has gone through the scrub.
package importer

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Tape is what the files of another tool hold.
type Tape struct {
	Format    string
	Tool      string // that made it, as the files say; "" if they don't
	Exchanges []*Exchange
	Skipped   []Skipped
	Notes     []Note   // what was changed so that it can be replayed
	Lost      []string // what the format does not carry at all
}

// Skipped is something of a tape that was not imported.
type Skipped struct {
	Where  string `json:"where"`
	Reason string `json:"reason"`
}

// Note counts messages with which the same was done.
type Note struct {
	What  string `json:"what"`
	Count int    `json:"count"`
}

// Exchange is a request and its answer, as a tape tells of them.
type Exchange struct {
	Where     string // file and place
	Scheme    string
	Authority string
	Conn      string         // names the connection; "" if the tape does not
	Peer      netip.AddrPort // the server's address; only its address counts; zero if unknown
	Method    string
	Target    string
	Request   Message
	Response  *Message // nil if none came
	End       string   // as cassette.Exchange has it
	Stub      bool     // a rule, and no recording
	// When the request began, the answer began and it ended; zero if unknown.
	Began, Answered, Ended time.Time
}

// Message is one of them. Its body is without transfer coding.
type Message struct {
	Status   int // of an answer
	Reason   string
	Fields   []Field
	Trailers []Field
	Body     []byte
	Chunks   []Chunk // as the body came; nil if unknown
	Raw      []byte  // the message as on the wire, if the tape has it: then all else is empty
	Cut      string  // WARC's word for why the body is not whole
}

// Field is a field of a header.
type Field struct{ Name, Value string }

// Chunk is a part of a body.
type Chunk struct {
	Off, Len int64
	At       time.Duration // since the request began
}

// Options of an import.
type Options struct {
	// BaseURL has the scheme and the host of requests for which a tape names none.
	Scheme, Authority string
}

type format struct {
	read func(*reader, source) error
	ends []string // of the names of files that are looked for in a folder
	lost []string
}

const (
	exactBytes = "the exact bytes of heads and bodies"
	chunkTimes = "when the parts of a body came"
	connOrder  = "the order between connections"
	whenAtAll  = "when it was"
	fieldOrder = "the order of header fields, and repeated ones"
	conns      = "which connection it was"
)

// formats by name. A table, so that the command line and the docs agree on it.
func formats() map[string]format {
	return map[string]format{
		"har":      {readHAR, []string{".har"}, []string{exactBytes, chunkTimes, connOrder}},
		"warc":     {readWARC, []string{".warc", ".warc.gz"}, []string{chunkTimes, connOrder, conns}},
		"hoverfly": {readHoverfly, []string{".json"}, []string{exactBytes, chunkTimes, connOrder, whenAtAll, fieldOrder, conns}},
		"wiremock": {readWireMock, []string{".json"}, []string{exactBytes, chunkTimes, connOrder, whenAtAll, fieldOrder, conns}},
		"go-vcr":   {readGoVCR, []string{".yaml", ".yml"}, []string{exactBytes, chunkTimes, connOrder, whenAtAll, fieldOrder, conns}},
		"keploy":   {readKeploy, []string{".yaml", ".yml"}, []string{exactBytes, connOrder, fieldOrder}},
		"vcrpy":    {readVCRpy, []string{".yaml", ".yml", ".json"}, []string{exactBytes, chunkTimes, connOrder, whenAtAll, conns}},
	}
}

// Formats are the names of all formats.
func Formats() []string {
	return []string{"har", "warc", "hoverfly", "wiremock", "go-vcr", "keploy", "vcrpy"}
}

// reader reads the files of one tape.
type reader struct {
	opt   Options
	tape  *Tape
	notes map[string]int
	maybe []string // notes about what is being read, which may yet be skipped
	bytes int64
	turns []wiremockTurn // of scenarios, until all files are read
}

const maxExchanges = 200_000

// Read reads the files, and in folders those that look like files of the format.
func Read(name string, paths []string, o Options) (*Tape, error) {
	f, ok := formats()[name]
	if !ok {
		return nil, fmt.Errorf("need one of the formats %v, found %q", Formats(), name)
	}
	r := &reader{opt: o, tape: &Tape{Format: name, Lost: f.lost}, notes: map[string]int{}}
	for _, p := range paths {
		if err := r.path(p, f); err != nil {
			return nil, err
		}
	}
	if err := r.scenarios(); err != nil {
		return nil, err
	}
	r.finish()
	return r.tape, nil
}

// finish puts the exchanges into their order in time, where all have one.
func (r *reader) finish() {
	t := r.tape
	if !slices.ContainsFunc(t.Exchanges, func(x *Exchange) bool { return x.Began.IsZero() }) {
		slices.SortStableFunc(t.Exchanges, func(a, b *Exchange) int { return a.Began.Compare(b.Began) })
	}
	for what, n := range r.notes {
		t.Notes = append(t.Notes, Note{what, n})
	}
	sortNotes(t.Notes)
}

func sortNotes(notes []Note) {
	slices.SortFunc(notes, func(a, b Note) int { return strings.Compare(a.What, b.What) })
}

func (r *reader) add(x *Exchange) error {
	if len(r.tape.Exchanges) == maxExchanges {
		return &DamagedError{Where: x.Where, Need: fmt.Sprintf("at most %d exchanges", maxExchanges), Found: "more"}
	}
	r.tape.Exchanges = append(r.tape.Exchanges, x)
	r.keep()
	return nil
}

// keep counts the notes about something that is not skipped.
func (r *reader) keep() {
	for _, what := range r.maybe {
		r.notes[what]++
	}
	r.maybe = nil
}

func (r *reader) skip(where, reason string) {
	r.tape.Skipped = append(r.tape.Skipped, Skipped{where, reason})
	r.maybe = nil
}

func (r *reader) note(what string) { r.maybe = append(r.maybe, what) }

// DamagedError is a tape that is not as its format wants it.
type DamagedError struct {
	Where string // file, and place in it
	Need  string
	Found string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s: need %s, found %s", e.Where, e.Need, e.Found)
}

// Hint says what may be wrong.
func (e *DamagedError) Hint() string {
	return "the flag names the format: --har, --warc, --hoverfly, --wiremock, --go-vcr, --keploy or --vcrpy"
}
