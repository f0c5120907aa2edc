package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// QMP is a connection to a running machine's monitor (QEMU's
// docs/interop/qmp-spec). Its methods may be called from several goroutines.
type QMP struct {
	conn    net.Conn
	turn    sync.Mutex // one command at a time
	replies chan qmpMessage
	closed  chan struct{}
	limit   time.Duration // how long QEMU may take to answer

	mu     sync.Mutex
	shut   bool
	events map[string]chan struct{} // closed once the event has come
}

type qmpMessage struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
	Event string `json:"event"`
}

// errGone says that QEMU closed its control connection.
var errGone = errors.New("QEMU is gone")

// answerLimit is how long QEMU may take to answer; a machine whose replay does
// not fit its log never does.
const answerLimit = 30 * time.Second

// newQMP speaks QMP over conn, which it then owns.
func newQMP(conn net.Conn) *QMP {
	q := &QMP{conn: conn, replies: make(chan qmpMessage), closed: make(chan struct{}), limit: answerLimit,
		events: map[string]chan struct{}{}}
	go q.read()
	return q
}

func (q *QMP) read() {
	defer close(q.replies)
	defer q.conn.Close() // nobody would read the answers
	dec := json.NewDecoder(q.conn)
	var hello json.RawMessage
	if dec.Decode(&hello) != nil {
		return
	}
	for {
		var m qmpMessage
		if dec.Decode(&m) != nil {
			return
		}
		if m.Event == "" {
			select {
			case q.replies <- m:
			case <-q.closed:
				return
			}
			continue
		}
		c := q.Event(m.Event)
		select {
		case <-c:
		default:
			close(c)
		}
	}
}

// Event returns a channel that is closed when the machine has reported the
// event at least once.
func (q *QMP) Event(name string) chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.events[name] == nil {
		q.events[name] = make(chan struct{})
	}
	return q.events[name]
}

// Do runs a command and returns its result.
func (q *QMP) Do(command string, args any) (json.RawMessage, error) {
	ctx, cancel := q.patience()
	defer cancel()
	return q.do(ctx, command, args)
}

func (q *QMP) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.Background(), q.limit, fmt.Errorf("no answer from QEMU within %v", q.limit))
}

func (q *QMP) do(ctx context.Context, command string, args any) (json.RawMessage, error) {
	q.turn.Lock()
	defer q.turn.Unlock()
	req := map[string]any{"execute": command}
	if args != nil {
		req["arguments"] = args
	}
	b, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	// A QEMU that does not read would block the write.
	if end, ok := ctx.Deadline(); ok {
		q.conn.SetWriteDeadline(end)
	}
	if _, err := q.conn.Write(append(b, '\n')); err != nil {
		return nil, fmt.Errorf("%s: %w", command, errGone)
	}
	select {
	case m, ok := <-q.replies:
		switch {
		case !ok:
			return nil, fmt.Errorf("%s: %w", command, errGone)
		case m.Error != nil:
			return nil, fmt.Errorf("%s: %s", command, m.Error.Desc)
		}
		return m.Return, nil
	case <-ctx.Done():
		q.Close() // the answer to this must not become the answer to the next
		return nil, fmt.Errorf("%s: %w", command, context.Cause(ctx))
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

// Instructions is the number of instructions that the guest has executed since
// its first boot, as the log counts them.
func (q *QMP) Instructions() (uint64, error) {
	ctx, cancel := q.patience()
	defer cancel()
	return q.instructions(ctx)
}

func (q *QMP) instructions(ctx context.Context) (uint64, error) {
	out, err := q.do(ctx, "query-replay", nil)
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
func (q *QMP) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.shut {
		q.shut = true
		close(q.closed)
	}
	return q.conn.Close()
}
