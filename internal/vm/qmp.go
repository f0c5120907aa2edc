package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// QMP is a connection to a running machine's control socket
// (QEMU's docs/interop/qmp-spec).
type QMP struct {
	conn net.Conn
	dec  *json.Decoder
	// Events are the names of what the machine reported unasked, oldest first.
	Events []string
}

type qmpMessage struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
	Event string `json:"event"`
}

// DialQMP connects to the socket at path, waiting for QEMU to make it.
func DialQMP(ctx context.Context, path string) (*QMP, error) {
	var d net.Dialer
	for {
		c, err := d.DialContext(ctx, "unix", path)
		if err == nil {
			q := &QMP{conn: c, dec: json.NewDecoder(c)}
			context.AfterFunc(ctx, func() { c.Close() })
			var hello json.RawMessage
			if err := q.dec.Decode(&hello); err != nil {
				return nil, err
			}
			_, err := q.Do("qmp_capabilities", nil)
			return q, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// Do runs a command and returns its result. Events that arrive meanwhile are kept.
func (q *QMP) Do(command string, args any) (json.RawMessage, error) {
	req := map[string]any{"execute": command}
	if args != nil {
		req["arguments"] = args
	}
	b, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	if _, err := q.conn.Write(append(b, '\n')); err != nil {
		return nil, fmt.Errorf("qmp %s: %w", command, err)
	}
	for {
		m, err := q.next()
		if err != nil {
			return nil, fmt.Errorf("qmp %s: %w", command, err)
		}
		switch {
		case m.Error != nil:
			return nil, fmt.Errorf("qmp %s: %s", command, m.Error.Desc)
		case m.Event == "":
			return m.Return, nil
		}
	}
}

// Human runs a command of the human monitor; what it prints is an error.
func (q *QMP) Human(line string) error {
	out, err := q.Do("human-monitor-command", map[string]string{"command-line": line})
	if err != nil {
		return err
	}
	var text string
	if err := json.Unmarshal(out, &text); err != nil {
		return err
	}
	if text != "" {
		return errors.New(line + ": " + text)
	}
	return nil
}

// Wait blocks until the machine has reported the event.
func (q *QMP) Wait(event string) error {
	for _, e := range q.Events {
		if e == event {
			return nil
		}
	}
	for {
		m, err := q.next()
		if err != nil {
			return err
		}
		if m.Event == event {
			return nil
		}
	}
}

// Instructions is the number of instructions the guest has executed in this
// recording or replay.
func (q *QMP) Instructions() (uint64, error) {
	out, err := q.Do("query-replay", nil)
	if err != nil {
		return 0, err
	}
	var r struct {
		Icount uint64 `json:"icount"`
	}
	err = json.Unmarshal(out, &r)
	return r.Icount, err
}

// Close ends the connection, not the machine.
func (q *QMP) Close() error { return q.conn.Close() }

func (q *QMP) next() (qmpMessage, error) {
	var m qmpMessage
	err := q.dec.Decode(&m)
	if m.Event != "" {
		q.Events = append(q.Events, m.Event)
	}
	return m, err
}
