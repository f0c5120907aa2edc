package tapedeck

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/tapedeck-dev/tapedeck/internal/session"
)

// Mode is what a [Session] does.
type Mode string

// The modes.
const (
	Off    Mode = "off"    // nothing: the real clock, the real network
	Record Mode = "record" // all goes on as without it, and is recorded
	Replay Mode = "replay" // what was recorded is given again, and nothing else
)

// Session is one recording, or one replay, of the inputs that a program asks for
// by its [Clock], its [Rand] and a transport of package httptape. The zero value
// and nil are off. Its methods may be called by several goroutines.
type Session struct {
	engine *session.Engine
}

// Open begins a session on dir. Record makes the folder; secrets are taken out by
// the built-in rules before anything is written. The folder has the layout of
// the inputs of a bundle, and those of a bundle can be replayed.
func Open(m Mode, dir string) (*Session, error) {
	var e *session.Engine
	var err error
	switch m {
	case Off, "":
		return &Session{}, nil
	case Record:
		e, err = session.Record(dir)
	case Replay:
		e, err = session.Replay(dir)
	default:
		return nil, fmt.Errorf("need a mode of off, record or replay, found %q", m)
	}
	if err != nil {
		return nil, fmt.Errorf("tapedeck: %w", err)
	}
	return &Session{e}, nil
}

// FromEnv begins the session that the environment asks for: TAPEDECK_MODE is the
// mode (off if unset), HTTP_CASSETTE_DIR the folder, or the http_vcr within it.
func FromEnv() (*Session, error) {
	dir := os.Getenv("HTTP_CASSETTE_DIR")
	if filepath.Base(dir) == "http_vcr" {
		dir = filepath.Dir(dir)
	}
	m := Mode(os.Getenv("TAPEDECK_MODE"))
	if dir == "" && m != Off && m != "" {
		return nil, fmt.Errorf("tapedeck: need a folder in HTTP_CASSETTE_DIR for TAPEDECK_MODE=%s, found none", m)
	}
	return Open(m, dir)
}

// Mode is what the session does.
func (s *Session) Mode() Mode {
	switch {
	case s == nil || s.engine == nil:
		return Off
	case s.engine.Replaying():
		return Replay
	}
	return Record
}

// Close ends the session. A recording is complete only then. Of a replay it
// returns an error that names what was missed, unused or out of order.
func (s *Session) Close() error {
	if s == nil || s.engine == nil {
		return nil
	}
	return s.engine.Close()
}

// Engine is for package httptape; nil if the session is off.
func (s *Session) Engine() *session.Engine {
	if s == nil {
		return nil
	}
	return s.engine
}
