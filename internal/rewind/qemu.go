package rewind

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// errGuestEnded is returned when the machine is gone: the replay ran past its
// last instruction, or QEMU died.
var errGuestEnded = errors.New("the replaying machine has ended")

// ErrStuck is a machine that doesn't answer. QEMU replays that are not given
// what was recorded run for ever; and on a loaded host QEMU 7.2 now and then
// deadlocks in a replay that another try gets through.
var ErrStuck = errors.New("the replaying machine is stuck")

// stub drives QEMU through its gdb stub: one stopped CPU, its registers and
// memory, and positions in the recording as instruction counts. It is not safe
// for concurrent use.
type stub struct {
	conn   net.Conn
	wire   *wire
	limit  time.Duration  // for one answer, a run to a far position included
	layout map[string]reg // where a register stands in the answer to "g"
	disks  []string       // QEMU's names of the guest's disks

	regs    []byte            // of the current stop, nil when not read
	pages   map[uint64][]byte // of the current stop, by virtual address
	icount  uint64            // of the current stop, 0 when not read
	waiting time.Duration     // for the present answer
	armed   []point           // breakpoints and watchpoints that are set
	limited uint64            // where QEMU has been told to stop, 0 if nowhere
}

type reg struct{ off, size int }

// dialStub connects to the stub at address: "host:port" or "unix:PATH". It
// retries while QEMU starts.
func dialStub(ctx context.Context, address string, limit time.Duration) (*stub, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	var d net.Dialer
	until := time.Now().Add(limit)
	for {
		conn, err := d.DialContext(ctx, network, address)
		if err == nil {
			s := &stub{conn: conn, wire: newWire(conn), limit: limit, pages: map[uint64][]byte{}}
			if err := s.hello(ctx); err != nil {
				conn.Close()
				return nil, err
			}
			return s, nil
		}
		if ctx.Err() != nil || time.Now().After(until) {
			return nil, fmt.Errorf("connect to the replaying machine at %s: %w", address, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *stub) hello(ctx context.Context) error {
	features, err := s.ask(ctx, "qSupported:xmlRegisters=i386")
	if err != nil {
		return err
	}
	if !strings.Contains(features, "ReverseContinue+") {
		return errors.New("the machine's gdb stub can't go back: it is not replaying a recording")
	}
	if s.layout, err = s.readLayout(ctx); err != nil {
		return err
	}
	for _, need := range []string{"rip", "cs", "cr3", "fs_base", "gs_base", "k_gs_base", "xmm15"} {
		if _, ok := s.layout[need]; !ok {
			return fmt.Errorf("the machine's gdb stub doesn't describe register %s", need)
		}
	}
	text, err := s.monitor(ctx, "info virtio")
	for _, m := range diskRE.FindAllStringSubmatch(text, -1) {
		s.disks = append(s.disks, m[1])
	}
	return err
}

var (
	diskRE = regexp.MustCompile(`(?m)^\s*(/\S+) \[virtio-blk\]`)
	busyRE = regexp.MustCompile(`(?m)^\s*inuse:\s*[1-9]`)
)

// idle tells whether no request to a disk is under way. While one is, QEMU 7.2
// can't load a snapshot: it resets the disk, waits for the request, and so for
// an event of the log that is yet to come, for ever.
func (s *stub) idle(ctx context.Context) (bool, error) {
	for _, d := range s.disks {
		text, err := s.monitor(ctx, "info virtio-queue-status "+d+" 0")
		if err != nil || busyRE.MatchString(text) {
			return false, err
		}
	}
	return true, nil
}

// settleDisks runs on until no request is under way.
func (s *stub) settleDisks(ctx context.Context) error {
	for on := uint64(20_000); on < 1<<30; on *= 2 {
		ok, err := s.idle(ctx)
		if err != nil || ok {
			return err
		}
		at, err := s.position(ctx)
		if err != nil {
			return err
		}
		if _, _, err := s.run(ctx, at+on); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: a request to its disk doesn't end", ErrStuck)
}

// readLayout follows the target description and adds up the registers' sizes.
func (s *stub) readLayout(ctx context.Context) (map[string]reg, error) {
	layout := map[string]reg{}
	off := 0
	var add func(name string, depth int) error
	add = func(name string, depth int) error {
		text, err := s.transfer(ctx, "features", name)
		if err != nil {
			return err
		}
		type element struct {
			Name string `xml:"name,attr"`
			Bits int    `xml:"bitsize,attr"`
			Href string `xml:"href,attr"`
		}
		dec := xml.NewDecoder(strings.NewReader(text))
		dec.Strict = false
		for {
			tok, err := dec.Token()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return fmt.Errorf("target description %s: %w", name, err)
			}
			start, ok := tok.(xml.StartElement)
			if !ok || start.Name.Local != "reg" && start.Name.Local != "include" {
				continue
			}
			var e element
			if err := dec.DecodeElement(&e, &start); err != nil {
				return fmt.Errorf("target description %s: %w", name, err)
			}
			if e.Href != "" && depth < 3 {
				if err := add(e.Href, depth+1); err != nil {
					return err
				}
			} else if e.Bits > 0 && e.Bits <= 4096 {
				layout[e.Name] = reg{off, e.Bits / 8}
				off += e.Bits / 8
			}
		}
	}
	return layout, add("target.xml", 0)
}

func (s *stub) transfer(ctx context.Context, object, annex string) (string, error) {
	var text strings.Builder
	for text.Len() < maxPacket {
		part, err := s.ask(ctx, fmt.Sprintf("qXfer:%s:read:%s:%x,ff0", object, annex, text.Len()))
		if err != nil {
			return "", err
		}
		if part == "" || part[0] != 'l' && part[0] != 'm' {
			return "", fmt.Errorf("the machine's gdb stub has no %s %s: %q", object, annex, part)
		}
		text.WriteString(part[1:])
		if part[0] == 'l' {
			return text.String(), nil
		}
	}
	return "", fmt.Errorf("%s %s is too long", object, annex)
}

func (s *stub) close() { s.conn.Close() }

// ask sends a packet and returns the answer, which comes at once: so it is
// waited for even when ctx ends meanwhile, lest the next answer be taken for it.
func (s *stub) ask(ctx context.Context, packet string) (string, error) {
	return s.askFor(ctx, packet, answerLimit)
}

func (s *stub) askFor(ctx context.Context, packet string, limit time.Duration) (string, error) {
	if err := s.arm(ctx, limit); err != nil {
		return "", err
	}
	if err := s.wire.write(packet); err != nil {
		return "", s.wrap(err)
	}
	answer, err := s.wire.read()
	return answer, s.wrap(err)
}

const (
	answerLimit = 20 * time.Second // of a machine that stands still
	haltLimit   = 10 * time.Second
)

// stopped waits until the running machine stops. When ctx ends it stops the
// machine where it is.
func (s *stub) stopped(ctx context.Context) (string, error) {
	s.waiting = s.limit
	s.conn.SetDeadline(time.Now().Add(s.limit))
	release := context.AfterFunc(ctx, func() { s.conn.SetReadDeadline(time.Unix(1, 0)) })
	answer, err := s.wire.read()
	release()
	if err == nil || ctx.Err() == nil {
		return answer, s.wrap(err)
	}
	if err := s.conn.SetDeadline(time.Now().Add(haltLimit)); err != nil {
		return "", s.wrap(err)
	}
	if err := s.wire.ack(3); err != nil {
		return "", s.wrap(err)
	}
	for !strings.HasPrefix(answer, "T") {
		if answer, err = s.wire.read(); err != nil {
			return "", s.wrap(err)
		}
	}
	return "", context.Cause(ctx)
}

// arm sets the time within which the machine must answer.
func (s *stub) arm(ctx context.Context, limit time.Duration) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	s.waiting = limit
	return s.conn.SetDeadline(time.Now().Add(limit))
}

func (s *stub) wrap(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: no answer within %v", ErrStuck, s.waiting)
	}
	return fmt.Errorf("%w: %w", errGuestEnded, err)
}

// monitor runs a command of QEMU's monitor. A seek answers twice: once here,
// and with a stop once it is there.
func (s *stub) monitor(ctx context.Context, command string) (string, error) {
	answer, err := s.askFor(ctx, "qRcmd,"+hexText(command), s.limit) // a snapshot takes seconds
	var out []byte
	for err == nil {
		switch {
		case answer == "OK":
			return string(out), nil
		case strings.HasPrefix(answer, "O"):
			text, bad := hex.DecodeString(answer[1:])
			if bad != nil {
				return "", fmt.Errorf("monitor %s: %w", command, bad)
			}
			out = append(out, text...)
		default:
			return "", fmt.Errorf("monitor %s: unexpected answer %q", command, answer)
		}
		answer, err = s.wire.read()
		err = s.wrap(err)
	}
	return "", err
}

// moved forgets what was read at the last stop.
func (s *stub) moved() {
	s.regs, s.icount = nil, 0
	clear(s.pages)
}

var countRE = regexp.MustCompile(`instruction count = (\d+)`)

// position returns how many instructions the machine has executed.
func (s *stub) position(ctx context.Context) (uint64, error) {
	if s.icount != 0 {
		return s.icount, nil
	}
	text, err := s.monitor(ctx, "info replay")
	if err != nil {
		return 0, err
	}
	m := countRE.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("QEMU is not replaying: %s", strings.TrimSpace(text))
	}
	s.icount, err = strconv.ParseUint(m[1], 10, 64)
	return s.icount, err
}

// seek goes to a position, through a snapshot where that is behind. No
// breakpoint may be set: QEMU would stop at it.
func (s *stub) seek(ctx context.Context, to uint64) error {
	at, err := s.position(ctx)
	if err != nil || at == to {
		return err
	}
	if err := s.settleDisks(ctx); err != nil {
		return err
	}
	if at, err = s.position(ctx); err != nil || at == to {
		return err
	}
	text, err := s.monitor(ctx, "replay_seek "+strconv.FormatUint(to, 10))
	s.moved()
	s.limited = 0
	if err != nil {
		return err
	}
	if text = strings.TrimSpace(text); text != "" {
		return fmt.Errorf("seek to instruction %d: %s", to, text)
	}
	if _, err := s.stopped(ctx); err != nil {
		return err
	}
	if at, err = s.position(ctx); err == nil && at != to {
		err = fmt.Errorf("seek to instruction %d ended at %d", to, at)
	}
	return err
}

// run goes on until a breakpoint or watchpoint, or until the position limit.
// It returns the stop as the stub tells it; hit is false at the limit.
func (s *stub) run(ctx context.Context, limit uint64) (stop string, hit bool, err error) {
	if s.limited != limit { // else it was not reached yet
		at, err := s.position(ctx)
		if err != nil || at >= limit {
			return "", false, err
		}
		if text, err := s.monitor(ctx, "replay_break "+strconv.FormatUint(limit, 10)); err != nil {
			return "", false, err
		} else if text = strings.TrimSpace(text); text != "" {
			return "", false, fmt.Errorf("run to instruction %d: %s", limit, text)
		}
		s.limited = limit
	}
	for {
		stop, err = s.resume(ctx, "c")
		if err != nil || !strings.HasPrefix(stop, "T02") {
			return stop, true, err
		}
		at, err := s.position(ctx)
		if err != nil {
			return "", false, err
		}
		if at >= limit {
			s.limited = 0
			return s.settle(ctx)
		}
		// The alarm of an earlier limit, which a breakpoint had come before.
		if _, err := s.monitor(ctx, "replay_break "+strconv.FormatUint(limit, 10)); err != nil {
			return "", false, err
		}
	}
}

// settle asks for a watchpoint that was hit by the very instruction before a
// limit. QEMU then tells the limit alone and keeps the hit: it would be lost,
// and the next store to the address would abort QEMU. A breakpoint right here
// makes it tell, without an instruction being executed.
func (s *stub) settle(ctx context.Context) (string, bool, error) {
	if !slices.ContainsFunc(s.armed, func(p point) bool { return p.kind > 1 }) {
		return "", false, nil
	}
	rip, err := s.reg(ctx, "rip")
	if err != nil {
		return "", false, err
	}
	here := point{1, rip, 1}
	added := !slices.Contains(s.armed, here)
	if added {
		if err := s.set(ctx, true, here); err != nil {
			return "", false, err
		}
	}
	stop, err := s.resume(ctx, "c")
	if err == nil && added {
		err = s.set(ctx, false, here)
	}
	return stop, err == nil && watched(stop), err
}

// runBack goes back to the last stop at a breakpoint or watchpoint before this
// position, or to the start of the recording. It doesn't see what the stops
// before that were, but is much quicker than to stop at each.
func (s *stub) runBack(ctx context.Context) error {
	_, err := s.resume(ctx, "bc")
	return err
}

func (s *stub) resume(ctx context.Context, packet string) (string, error) {
	s.moved()
	if err := s.arm(ctx, s.limit); err != nil {
		return "", err
	}
	if err := s.wire.write(packet); err != nil {
		return "", s.wrap(err)
	}
	stop, err := s.stopped(ctx)
	if err == nil && !strings.HasPrefix(stop, "T05") && !strings.HasPrefix(stop, "T02") {
		err = fmt.Errorf("%w: it stopped with %q", errGuestEnded, stop)
	}
	return stop, err
}

// step executes one instruction, whatever breakpoint stands there.
func (s *stub) step(ctx context.Context) (string, error) {
	s.moved()
	return s.ask(ctx, "s")
}

// point is a breakpoint or watchpoint: kind as in the packets Z and z.
type point struct {
	kind int // 1 execution, 2 write, 3 read, 4 both
	addr uint64
	size uint64
}

func (s *stub) set(ctx context.Context, on bool, points ...point) error {
	letter := "z"
	if on {
		letter = "Z"
	}
	for _, p := range points {
		packet := fmt.Sprintf("%s%d,%x,%x", letter, p.kind, p.addr, p.size)
		if answer, err := s.ask(ctx, packet); err != nil {
			return err
		} else if on && answer != "OK" {
			return fmt.Errorf("the machine refuses a break at %#x: %q", p.addr, answer)
		}
		if on {
			s.armed = append(s.armed, p)
		} else if i := slices.Index(s.armed, p); i >= 0 {
			s.armed = slices.Delete(s.armed, i, i+1)
		}
	}
	return nil
}

func (s *stub) readRegs(ctx context.Context) error {
	if s.regs != nil {
		return nil
	}
	answer, err := s.ask(ctx, "g")
	if err != nil {
		return err
	}
	regs, err := hex.DecodeString(answer)
	if err != nil {
		return fmt.Errorf("registers of the machine: %w", err)
	}
	for name, r := range s.layout {
		if r.off+r.size > len(regs) {
			return fmt.Errorf("registers of the machine: %s is missing", name)
		}
	}
	s.regs = regs
	return nil
}

// reg returns a register of the CPU, by its name in the target description.
func (s *stub) reg(ctx context.Context, name string) (uint64, error) {
	if err := s.readRegs(ctx); err != nil {
		return 0, err
	}
	var b [8]byte
	r := s.layout[name]
	copy(b[:], s.regs[r.off:r.off+r.size])
	return binary.LittleEndian.Uint64(b[:]), nil
}
