package rr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
)

// ServeOptions says where a debug server starts. The zero value is the first
// instruction of the program.
type ServeOptions struct {
	Info     Info          // of Probe; if it is empty, rr is looked up and not tried
	Software bool          // the trace was recorded with software counters
	Event    int64         // start at this event of rr's, 0 is the first
	AtExit   bool          // start at the end of the program (rr 5.6 and later)
	Limit    time.Duration // to wait for the server, 0 is a minute; going to an event takes time
}

// Server is an rr that waits with a trace for a debugger.
type Server struct {
	Addr string   // host:port, for gdb's target extended-remote
	Exe  string   // the program, for gdb to read its symbols from
	Args []string // gdb's arguments, the program left out: those of rr's that are known to be harmless

	cmd    *exec.Cmd
	done   chan struct{}
	said   *launchScanner
	closed sync.Once
}

// Serve starts an rr that serves the trace in dir. It goes on listening after a
// debugger has left; the caller must Close it. The end of ctx ends it as well.
func Serve(ctx context.Context, dir string, o ServeOptions) (*Server, error) {
	info, dir, err := open(ctx, dir, o.Info, o.Software)
	if err != nil {
		return nil, err
	}
	args := slices.Concat([]string{"replay"}, info.flags())
	if o.Event > 0 {
		args = append(args, "-g", strconv.FormatInt(o.Event, 10))
	}
	if o.AtExit {
		args = append(args, "-e")
	}
	// -q keeps the program's own output out of rr's: it could forge the line
	// that tells where to connect.
	args = append(args, "-q", "-s", "0", "-k", dir)
	s := &Server{done: make(chan struct{}), said: newLaunchScanner()}
	s.cmd = exec.CommandContext(ctx, info.Path, args...)
	s.cmd.Stderr = s.said
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = serverGrace
	s.cmd.SysProcAttr = childAttr(true)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		s.cmd.Wait()
		close(s.done)
	}()
	limit := o.Limit
	if limit == 0 {
		limit = time.Minute
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case l := <-s.said.found:
		if l.err != nil {
			s.Close()
			return nil, l.err
		}
		s.Addr, s.Exe, s.Args = l.addr, l.exe, l.args
		if !filepath.IsAbs(s.Exe) {
			s.Exe = filepath.Join(dir, s.Exe)
		}
		return s, nil
	case <-s.done:
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		code, _ := exitOf(s.cmd.ProcessState)
		if code == 0 {
			return nil, fmt.Errorf("%w: it ended first", errNoLine)
		}
		return nil, diagnoseReplay(readHost(), info.Version, code, s.said.kept())
	case <-timer.C:
		s.Close()
		return nil, &exttool.Missing{Need: "an rr that serves the trace", Found: fmt.Sprintf("rr %s, not listening after %v", info.Version, limit), Fix: "allow it more time, or start at an earlier event", Err: ErrStuck}
	}
}

var errNoLine = errors.New("rr did not say where its debug server listens")

const serverGrace = 5 * time.Second

// Done is closed when rr has ended, by Close or by itself.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stderr gives the last words of rr, once Done is closed.
func (s *Server) Stderr() []byte {
	<-s.done
	return s.said.kept()
}

// Close ends rr and waits for it.
func (s *Server) Close() error {
	s.closed.Do(func() {
		s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.done:
		case <-time.After(serverGrace):
			s.cmd.Process.Kill()
		}
	})
	<-s.done
	return nil
}

// launch is what rr says of its debug server.
type launch struct {
	addr string
	exe  string
	args []string
	err  error
}

// launchScanner watches rr's standard error for the launch line.
type launchScanner struct {
	*capture
	found  chan launch // gets one
	line   []byte
	next   bool // the line before was the announcement
	looked bool
}

func newLaunchScanner() *launchScanner {
	return &launchScanner{capture: newCapture(nil, 64<<10), found: make(chan launch, 1)}
}

const maxLaunchLine = 64 << 10

func (l *launchScanner) Write(p []byte) (int, error) {
	l.capture.Write(p)
	for rest := p; len(rest) > 0 && !l.looked; {
		part, after, whole := bytes.Cut(rest, []byte("\n"))
		rest = after
		l.line = append(l.line, part[:min(len(part), maxLaunchLine-len(l.line))]...)
		if !whole {
			break
		}
		line := string(l.line)
		l.line = l.line[:0]
		switch {
		case l.next:
			l.looked = true
			l.found <- parseLaunch(line)
		case line == "Launch gdb with" || line == "Launch debugger with":
			l.next = true
		}
	}
	return len(p), nil
}

var (
	target   = regexp.MustCompile(`^(?:target extended-remote|gdb-remote) (\S*):(\d{1,5})$`)
	onlySafe = regexp.MustCompile(`^set sysroot \S*$`)
)

// parseLaunch reads the command that rr prints below the announcement:
//
//	'gdb' '-l' '10000' '-ex' 'target extended-remote 127.0.0.1:1172' '/trace/mmap_copy_5_hello'
//
// rr before 5.9 writes gdb without quotes. rr puts each argument between quotes
// as it is, so a quote inside a path stands for itself.
func parseLaunch(line string) launch {
	bad := func(why string) launch {
		return launch{err: fmt.Errorf("%w: %s in %q", errNoLine, why, oneLine(line))}
	}
	text := strings.TrimSpace(line)
	if first, rest, ok := strings.Cut(text, " "); ok && !strings.HasPrefix(first, "'") {
		text = "'" + first + "' " + strings.TrimSpace(rest)
	}
	if len(text) < 2 || text[0] != '\'' || text[len(text)-1] != '\'' {
		return bad("no quoted command")
	}
	fields := strings.Split(text[1:len(text)-1], "' '")[1:]
	if len(fields) == 0 {
		return bad("no arguments")
	}
	l := launch{exe: fields[len(fields)-1]}
	fields = fields[:len(fields)-1]
	for i := 0; i+1 < len(fields); i++ {
		opt, value := fields[i], fields[i+1]
		switch opt {
		case "-ex", "-o", "-l":
			i++
		default:
			continue
		}
		if m := target.FindStringSubmatch(value); m != nil && opt != "-l" {
			host, port := m[1], m[2]
			if host == "" || host == "localhost" {
				host = "127.0.0.1"
			}
			// rr listens here unless it is told otherwise; an address
			// elsewhere isn't rr's.
			ip := net.ParseIP(strings.Trim(host, "[]"))
			if n, _ := strconv.Atoi(port); ip == nil || !ip.IsLoopback() || n < 1 || n > 65535 {
				return bad("no port of this machine")
			}
			l.addr = net.JoinHostPort(ip.String(), port)
			l.args = append(l.args, opt, "target extended-remote "+l.addr)
			continue
		}
		if _, err := strconv.ParseUint(value, 10, 31); opt == "-l" && err == nil || opt == "-ex" && onlySafe.MatchString(value) {
			l.args = append(l.args, opt, value)
		}
	}
	switch {
	case l.addr == "":
		return bad("no target")
	case l.exe == "" || strings.HasPrefix(l.exe, "-"):
		return bad("no program")
	case !validPath(l.exe):
		return bad("an unusual path")
	}
	return l
}

func validPath(p string) bool {
	if len(p) > 4096 {
		return false
	}
	for _, c := range []byte(p) {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}
