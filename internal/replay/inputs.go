package replay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/cassette"
)

// Inputs is a recording of inputs taken out of its bundle.
type Inputs struct {
	Manifest *bundle.Manifest
	Dir      string // unpacked files; removed by Close
	Cassette *cassette.Cassette
	Command  []string // as recorded, scrubbed
	Cwd      string
	Program  string // path of the executable, where it was recorded
	Cut      bool   // the program was ended by whoever recorded it
	Ended    bool   // how it ended is known
	ExitCode int
	Stdout   []byte // what it printed, scrubbed
	Stderr   []byte
	Imported string // the format that the inputs were imported from; "" if they were recorded
}

// Paths of a recording of inputs in a bundle.
const (
	inputsDir  = "inputs/"
	consoleDir = "traces/inputs/"
)

// ErrNoInputs says that a bundle has no recorded inputs.
var ErrNoInputs = errors.New("the bundle holds no recorded inputs")

// OpenInputs takes the recorded inputs out of the bundle at path. Those of
// bundles that others made need no recorder's entry: a folder of WARC files is
// enough, with a command from elsewhere.
func OpenInputs(ctx context.Context, path string, op bundle.Opener) (t *Inputs, err error) {
	r, err := bundle.OpenOptions{Opener: op}.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	dir, err := os.MkdirTemp("", "tapedeck-replay-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	t = &Inputs{Manifest: r.Manifest(), Dir: dir}
	found := false
	for _, f := range r.Files() {
		if !strings.HasPrefix(f.Path, inputsDir) && !strings.HasPrefix(f.Path, consoleDir) {
			continue
		}
		dst := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(dst), 0o700); err != nil {
			return nil, err
		}
		if err := take(r, f.Path, dst); err != nil {
			return nil, err
		}
		found = found || strings.HasPrefix(f.Path, inputsDir)
	}
	if !found {
		return nil, ErrNoInputs
	}
	if t.Cassette, err = cassette.Load(filepath.Join(dir, "inputs")); err != nil {
		var damaged *cassette.DamagedError
		if errors.As(err, &damaged) {
			err = &bundle.DamagedError{Path: inputsDir + damaged.File, Offset: -1, Need: damaged.Need, Found: damaged.Found, Err: err}
		}
		return nil, err
	}
	return t, t.describe()
}

// describe reads the recorder's entry, if there is one.
func (t *Inputs) describe() error {
	for _, rec := range t.Manifest.Recorders {
		if rec.Kind() != "inputs" {
			continue
		}
		args, _ := rec["command"].([]any)
		for _, a := range args {
			t.Command = append(t.Command, fmt.Sprint(a))
		}
		t.Cwd, t.Program, t.Imported = rec.String("cwd"), rec.String("program"), rec.String("imported")
		t.Cut, _ = rec["cut"].(bool)
		t.Ended, _ = rec["ended"].(bool)
		t.ExitCode, _ = rec["exit_code"].(int)
		var err error
		if t.Stdout, err = readIfThere(filepath.Join(t.Dir, consoleDir, "stdout.txt")); err != nil {
			return err
		}
		t.Stderr, err = readIfThere(filepath.Join(t.Dir, consoleDir, "stderr.txt"))
		return err
	}
	return nil
}

func readIfThere(name string) ([]byte, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// Close removes the unpacked files.
func (t *Inputs) Close() error { return os.RemoveAll(t.Dir) }
