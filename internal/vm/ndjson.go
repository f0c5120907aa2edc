package vm

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"unicode/utf8"
)

// frameLine is one line of console.ndjson.
type frameLine struct {
	Kind string `json:"kind"`
	TSC  uint64 `json:"tsc"` // nanoseconds of the guest's own time since its boot
	Text string `json:"text,omitempty"`
	Data string `json:"base64,omitempty"` // instead of text, for what is not UTF-8
}

var frameNames = map[FrameKind]string{FrameReady: "ready", FrameSymbols: "symbols", FrameStart: "start", FrameStdout: "stdout",
	FrameStderr: "stderr", FrameExit: "exit", FrameOpens: "lookups", FrameError: "error", FrameMemory: "memory", FramePoint: "point"}

// WriteConsole writes frames as NDJSON.
func WriteConsole(w io.Writer, frames []Frame) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, f := range frames {
		name, ok := frameNames[f.Kind]
		if !ok {
			return fmt.Errorf("the guest's console has a %v, which its init does not send", f.Kind)
		}
		l := frameLine{Kind: name, TSC: f.TSC}
		if utf8.Valid(f.Data) {
			l.Text = string(f.Data)
		} else {
			l.Data = base64.StdEncoding.EncodeToString(f.Data)
		}
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	return nil
}

// LoadConsole reads a file that WriteConsole wrote.
func LoadConsole(name string) ([]Frame, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseConsole(f)
}

func parseConsole(r io.Reader) ([]Frame, error) {
	kinds := map[string]FrameKind{}
	for k, n := range frameNames {
		kinds[n] = k
	}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 8*maxFrame)
	var frames []Frame
	n := 0
	fail := func(err error) ([]Frame, error) { return nil, fmt.Errorf("%s line %d: %w", ConsoleFile, n, err) }
	for s.Scan() {
		n++
		var l frameLine
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			return fail(err)
		}
		k, ok := kinds[l.Kind]
		if !ok {
			return fail(fmt.Errorf("unknown kind %.40q", l.Kind))
		}
		f := Frame{Kind: k, TSC: l.TSC, Data: []byte(l.Text)}
		if l.Data != "" {
			b, err := base64.StdEncoding.DecodeString(l.Data)
			if err != nil {
				return fail(err)
			}
			f.Data = b
		}
		if len(f.Data) > maxFrame {
			return fail(fmt.Errorf("%d bytes: the limit is %d", len(f.Data), maxFrame))
		}
		frames = append(frames, f)
	}
	if err := s.Err(); err != nil {
		n++
		return fail(err)
	}
	return frames, nil
}
