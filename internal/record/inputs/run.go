package inputs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/record"
	"github.com/tapedeck-dev/tapedeck/internal/sandbox"
	"github.com/tapedeck-dev/tapedeck/internal/tap"
	"github.com/tapedeck-dev/tapedeck/internal/trust"
	"github.com/tapedeck-dev/tapedeck/internal/vtime"
)

// grace is how long a program that was told to end may take for it.
const grace = 5 * time.Second

// run runs the program to its end and serves its connections meanwhile.
func (r *recorder) run(ctx context.Context) error {
	replaced, err := trust.Prepare(r.ca, filepath.Join(r.scratch, "trust"), r.job.Env)
	if err != nil {
		return err
	}
	c := sandbox.Config{Args: r.job.Args, Dir: r.job.Dir, Env: append(r.job.Env, replaced.Env...)}
	for _, b := range replaced.Binds {
		c.Binds = append(c.Binds, sandbox.Bind(b))
	}
	world, err := vtime.New(vtime.Options{Random: true, Seed: [32]byte(r.seed)})
	if err != nil {
		return err
	}
	defer world.Close()
	stop, err := world.Enter(&c, r.scratch)
	if err != nil {
		return err
	}
	defer stop()
	t := tap.New(tap.Options{Sink: r.queue, CA: r.ca, Now: now})
	if r.job.Stdin != "" {
		if c.Stdin, err = os.Open(r.job.Stdin); err != nil {
			return err
		}
		defer c.Stdin.Close()
	}
	stdout := &output{user: r.opt.Stdout, spool: r.spool, scrub: r.opt.Scrubber, kind: kindStdout}
	stderr := &output{user: r.opt.Stderr, spool: r.spool, scrub: r.opt.Scrubber, kind: kindStderr}
	c.Stdout, c.Stderr = stdout, stderr
	box, err := sandbox.Start(context.WithoutCancel(ctx), c)
	if err != nil {
		r.done = true // nothing was recorded
		return err
	}
	defer box.Close()
	serving := r.serve(box, t)
	outcome, err := r.end(ctx, box)
	box.Close() // what the program left running ends with it
	ended, cancel := context.WithTimeout(context.Background(), grace)
	t.Close(ended)
	cancel()
	serving()
	for _, why := range world.Stats().Failed {
		r.warnings = append(r.warnings, "the randomness of a program is not on tape: "+why)
	}
	if err := errors.Join(err, stdout.Close(), stderr.Close()); err != nil {
		return err
	}
	return r.writeOutcome(outcome)
}

// end waits for the program, and makes it end if it must.
func (r *recorder) end(ctx context.Context, box *sandbox.Box) (record.Outcome, error) {
	type result struct {
		status syscall.WaitStatus
		err    error
	}
	ended := make(chan result, 1)
	go func() {
		status, err := box.Wait()
		ended <- result{status, err}
	}()
	var limit <-chan time.Time
	if r.job.Timeout > 0 {
		limit = time.After(r.job.Timeout)
	}
	var o record.Outcome
	var res result
	select {
	case res = <-ended:
	case <-limit:
		o.TimedOut = true
	case <-ctx.Done():
		o.Cut = true
	}
	if o.TimedOut || o.Cut {
		_ = box.Signal(syscall.SIGTERM)
		select {
		case res = <-ended:
		case <-time.After(grace):
			_ = box.Signal(syscall.SIGKILL)
			res = <-ended
		}
	}
	if res.err != nil {
		return o, res.err
	}
	o.Code = res.status.ExitStatus()
	if res.status.Signaled() {
		o.Signal = res.status.Signal()
		o.Code = 128 + int(o.Signal)
	}
	if o.TimedOut {
		o.Code = 124
	}
	return o, nil
}

// serve takes the connections that the program makes, and makes those that come
// to it. The function that it returns waits for the last of them.
func (r *recorder) serve(box *sandbox.Box, t *tap.Tap) (wait func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, dst, err := box.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { t.Outgoing(c, dst) })
		}
	})
	wg.Go(func() {
		for {
			q, err := box.ReadPacket()
			if err != nil {
				return
			}
			wg.Go(func() {
				if a := t.Query(q.Data, q.Server); a != nil {
					_ = q.Answer(a) // the program may have gone
				}
			})
		}
	})
	wg.Go(func() {
		told := map[netip.AddrPort]bool{}
		for at := range box.Refused() {
			if !told[at] && len(told) < 10 {
				told[at] = true
				r.warnings = append(r.warnings, fmt.Sprintf("datagrams to %v did not get out: of UDP only DNS is recorded", at))
			}
		}
	})
	wg.Go(func() {
		for at := range box.Listening() {
			l, err := net.Listen("tcp", net.JoinHostPort(outside(at.Addr()), strconv.Itoa(int(at.Port()))))
			if err != nil {
				r.say(fmt.Sprintf("warning: the program listens on port %d, which is taken outside its sandbox: nobody can reach it there (%v)", at.Port(), err))
				continue
			}
			go func() { // until the program ends
				<-box.Done()
				l.Close()
			}()
			wg.Go(func() { accept(box, t, l, at.Port()) })
		}
	})
	return wg.Wait
}

func accept(box *sandbox.Box, t *tap.Tap, l net.Listener, port uint16) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go t.Incoming(c, port, box.Dial)
	}
}

// outside is where the host listens for a program that listens at ip.
func outside(ip netip.Addr) string {
	if ip.IsUnspecified() {
		return ""
	}
	return ip.String()
}

func (r *recorder) say(text string) {
	if r.opt.Say != nil {
		r.opt.Say(text)
	}
}
