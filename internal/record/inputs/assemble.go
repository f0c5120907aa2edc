package inputs

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/record"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/spool"
	"github.com/tapedeck-dev/tapedeck/internal/wire/http"
)

// start is what is known before the program runs.
type start struct {
	began cassette.Time
	seed  []byte
	job   jobText
}

// jobText is what a spool keeps of a job, scrubbed.
type jobText struct {
	Args []string `json:"args"`
	Dir  string   `json:"dir"`
	Env  []string `json:"env"`
	Path string   `json:"path"` // of the program
}

func (r *recorder) writeStart() error {
	numbers := []uint64{uint64(r.began.Wall), uint64(r.began.Mono)}
	for b := r.seed; len(b) >= 8; b = b[8:] {
		numbers = append(numbers, binary.BigEndian.Uint64(b))
	}
	s := r.opt.Scrubber
	job := jobText{Args: r.job.Args, Dir: r.job.Dir, Env: s.Env(r.job.Env)}
	if path, err := exec.LookPath(r.job.Args[0]); err == nil {
		job.Path, _ = filepath.Abs(path)
	}
	text, err := json.Marshal(job)
	if err != nil {
		return err
	}
	_, err = r.spool.Append(kindStart, scrub.Join(numbers, s.JSON(text)))
	return err
}

func (r *recorder) writeOutcome(o record.Outcome) error {
	numbers := []uint64{uint64(o.Code), uint64(o.Signal), bit(o.TimedOut), bit(o.Cut)}
	_, err := r.spool.Append(kindEnd, scrub.Join(numbers))
	return err
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// Recover makes a recording of a spool that a recorder left which was killed.
// What was being sent at that moment is cut, and everything before it is there.
func Recover(spoolDir string) (*record.Recording, record.Job, error) {
	lock, err := spool.Open(spoolDir, spool.Options{}) // fails if the recorder is alive
	if err != nil {
		return nil, record.Job{}, err
	}
	if err := lock.Close(); err != nil {
		return nil, record.Job{}, err
	}
	left, err := readSpool(spoolDir)
	if err != nil {
		return nil, record.Job{}, err
	}
	j := left.start.job
	job := record.Job{Args: j.Args, Dir: j.Dir, Env: j.Env}
	rec, err := left.recording(spoolDir)
	return rec, job, err
}

// remains are what a spool holds beside what the decoders wrote.
type remains struct {
	start   start
	outcome record.Outcome
	ended   bool // the outcome is known
	damaged bool
	output  [2][]byte
}

const maxOutput = 64 << 20 // bytes of each output that are kept

func readSpool(dir string) (*remains, error) {
	m := &remains{}
	found := false
	for rec, err := range spool.Read(dir) {
		var damaged *spool.DamagedError
		if errors.As(err, &damaged) {
			m.damaged = true
			continue
		}
		if err != nil {
			return nil, err
		}
		switch rec.Kind {
		case kindStart:
			if m.start, err = parseStart(rec.Data); err != nil {
				return nil, err
			}
			found = true
		case kindEnd:
			if m.outcome, err = parseOutcome(rec.Data); err != nil {
				return nil, err
			}
			m.ended = true
		case kindStdout, kindStderr:
			i := 0
			if rec.Kind == kindStderr {
				i = 1
			}
			if len(m.output[i]) < maxOutput {
				m.output[i] = append(m.output[i], rec.Data...)
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("%s: need the spool of a recording of inputs, found none", dir)
	}
	if !m.ended {
		m.outcome.Cut = true
	}
	return m, nil
}

var errStart = errors.New("need the start of a recording of inputs, found another record")

func parseStart(b []byte) (start, error) {
	numbers, parts, err := scrub.Split(b)
	if err != nil || len(numbers) != 6 || len(parts) != 1 {
		return start{}, errStart
	}
	st := start{began: cassette.Time{Wall: int64(numbers[0]), Mono: int64(numbers[1])}}
	for _, n := range numbers[2:] {
		st.seed = binary.BigEndian.AppendUint64(st.seed, n)
	}
	if err := json.Unmarshal(parts[0], &st.job); err != nil || len(st.job.Args) == 0 {
		return start{}, errStart
	}
	return st, nil
}

func parseOutcome(b []byte) (record.Outcome, error) {
	n, _, err := scrub.Split(b)
	if err != nil || len(n) != 4 {
		return record.Outcome{}, errors.New("need the end of a recording of inputs, found another record")
	}
	return record.Outcome{Code: int(n[0]), Signal: syscall.Signal(n[1]), TimedOut: n[2] == 1, Cut: n[3] == 1}, nil
}

// recording makes the cassette's files of a spool.
func (m *remains) recording(spoolDir string) (rec *record.Recording, err error) {
	dir, err := os.MkdirTemp("", "tapedeck-inputs-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	w, err := cassette.Create(filepath.Join(dir, "inputs"), m.start.began, m.start.seed)
	if err != nil {
		return nil, err
	}
	sum, err := http.Assemble(spoolDir, dir, w)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	rec = &record.Recording{Dir: dir, Started: time.Unix(0, m.start.began.Wall), Outcome: m.outcome, Stdout: m.output[0], Stderr: m.output[1],
		Program: record.Program{Path: m.start.job.Path}, Inputs: map[string]any{}}
	for _, f := range w.Files() {
		rec.Files = append(rec.Files, record.File{Path: "inputs/" + f.Path, Host: filepath.Join(dir, "inputs", f.Path), Media: f.Media, Class: "internal", Scrubbed: true})
		if field := Field(f.Path); field != "" {
			rec.Inputs[field] = "inputs/" + f.Path
		}
	}
	if _, ok := rec.Inputs["network_cassette"]; ok {
		rec.Inputs["network_cassette"] = "inputs/http_vcr/"
	}
	if err := m.addOutput(rec); err != nil {
		return nil, err
	}
	rec.Manifest = map[string]any{
		"kind": "inputs", "inputs_dir": "inputs", "command": m.start.job.Args, "cwd": m.start.job.Dir, "program": m.start.job.Path,
		"outcome": rec.Outcome.String(), "exit_code": rec.Outcome.Code, "cut": rec.Outcome.Cut, "ended": m.ended,
		"exchanges": sum.Exchanges, "streams": sum.Streams, "queries": sum.Queries,
	}
	if m.damaged {
		rec.Warnings = append(rec.Warnings, "a part of what was recorded is damaged, and left out")
	}
	return rec, nil
}

// Field is the field of the manifest's "inputs" that names a file of a cassette.
func Field(path string) string {
	switch path {
	case "order.ndjson":
		return "order_stream"
	case "time.ndjson":
		return "time_stream"
	case "random.json":
		return "random_stream"
	case "dns.warc.gz":
		return "dns_cassette"
	case "streams.warc.gz":
		return "stream_cassette"
	case "http_vcr/http.warc.gz":
		return "network_cassette"
	}
	return ""
}

// The files of what the program printed, in a bundle.
const (
	StdoutFile = "traces/inputs/stdout.txt"
	StderrFile = "traces/inputs/stderr.txt"
)

func (m *remains) addOutput(rec *record.Recording) error {
	for i, name := range []string{StdoutFile, StderrFile} {
		host := filepath.Join(rec.Dir, filepath.Base(name))
		if err := os.WriteFile(host, m.output[i], 0o600); err != nil {
			return err
		}
		rec.Files = append(rec.Files, record.File{Path: name, Host: host, Media: "text/plain", Class: "internal", Scrubbed: true})
	}
	return nil
}
