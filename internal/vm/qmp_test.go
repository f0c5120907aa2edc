package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

const qmpHello = `{"QMP":{"version":{}}}`

// fakeQMP is a monitor that answers each command with what answer returns,
// written as it is; "close" hangs up.
func fakeQMP(t *testing.T, hello string, answer func(command string) string) *QMP {
	t.Helper()
	ours, theirs := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer theirs.Close()
		fmt.Fprintln(theirs, hello)
		for s := bufio.NewScanner(theirs); s.Scan(); {
			var req struct{ Execute string }
			if err := json.Unmarshal(s.Bytes(), &req); err != nil {
				t.Errorf("no command: %q", s.Text())
				return
			}
			text := answer(req.Execute)
			if text == "close" {
				return
			}
			if _, err := fmt.Fprintln(theirs, text); err != nil {
				return
			}
		}
	})
	q := newQMP(ours)
	t.Cleanup(func() { q.Close(); wg.Wait() })
	return q
}

func TestQMPAnswers(t *testing.T) {
	t.Parallel()
	q := fakeQMP(t, qmpHello, func(c string) string {
		switch c {
		case "query-replay":
			return `{"event":"RESUME","timestamp":{}}` + "\n" + `{"event":"STOP"}{"event":"STOP"}` + "\n" + `{"return":{"icount":42,"mode":"replay"}}`
		case "human-monitor-command":
			return `{"return":"Error: no\r\n"}`
		case "quiet":
			return `{"return":""}`
		}
		return `{"error":{"class":"CommandNotFound","desc":"The command ` + c + ` has not been found"}}`
	})
	if n, err := q.Instructions(); n != 42 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for _, name := range []string{"STOP", "RESUME"} {
		select {
		case <-q.Event(name):
		default:
			t.Errorf("%s was not heard", name)
		}
	}
	select {
	case <-q.Event("SHUTDOWN"):
		t.Error("SHUTDOWN was heard")
	default:
	}
	if err := q.Human("savevm x"); err == nil || !strings.Contains(err.Error(), "savevm x: Error: no") {
		t.Errorf("%v", err)
	}
	if _, err := q.Do("sing", nil); err == nil || !strings.Contains(err.Error(), "has not been found") {
		t.Errorf("%v", err)
	}
}

func TestQMPManyCallers(t *testing.T) {
	t.Parallel()
	q := fakeQMP(t, qmpHello, func(c string) string { return `{"return":"` + c + `"}` })
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			name := fmt.Sprintf("command-%d", i)
			if out, err := q.Do(name, map[string]int{"x": i}); err != nil || string(out) != `"`+name+`"` {
				t.Errorf("%s: %s, %v", name, out, err)
			}
		})
	}
	wg.Wait()
}

func TestQMPBroken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ hello, answer string }{
		"no hello":       {"not JSON", `{"return":{}}`},
		"garbage":        {qmpHello, "%%%"},
		"closed":         {qmpHello, "close"},
		"cut":            {qmpHello, `{"return":{` + "\n]"},
		"of other types": {qmpHello, `{"return":{"icount":"many"}}`},
	} {
		q := fakeQMP(t, c.hello, func(string) string { return c.answer })
		if _, err := q.Instructions(); err == nil {
			t.Errorf("%s: no error", name)
		}
		if name != "of other types" {
			if _, err := q.Do("again", nil); !errors.Is(err, errGone) {
				t.Errorf("%s, a second time: %v", name, err)
			}
		}
	}
}

func TestQMPSilent(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	q := fakeQMP(t, qmpHello, func(string) string { <-hang; return `{"return":{}}` })
	q.limit = 20 * time.Millisecond
	if _, err := q.Do("stop", nil); err == nil || !strings.Contains(err.Error(), "stop: no answer from QEMU within 20ms") {
		t.Errorf("%v", err)
	}
	// The late answer must not become that of the next command.
	close(hang)
	if out, err := q.Do("query-replay", nil); !errors.Is(err, errGone) {
		t.Errorf("%s, %v", out, err)
	}
}

func TestQMPDoesNotRead(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe() // nobody reads the other end
	defer theirs.Close()
	q := newQMP(ours)
	defer q.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := q.do(ctx, "stop", nil); err == nil {
		t.Error("no error")
	}
}

// Answers that nobody asked for do not keep the reader from its end.
func TestQMPUnasked(t *testing.T) {
	t.Parallel()
	q := fakeQMP(t, qmpHello+strings.Repeat(`{"return":{}}`, 10), func(string) string { return "close" })
	q.Close()
	for range q.replies { // closed when the reader has ended
	}
}
