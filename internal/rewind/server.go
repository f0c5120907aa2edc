package rewind

import (
	"context"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// server is one conversation with gdb about the process. What gdb asks of the
// present moment it answers from the guest kernel's data; what moves is in
// motion.go.
type server struct {
	vm      *VM
	wire    *wire
	points  []point // that gdb has set
	threads []task  // at the present position, nil when not read
	general int     // thread of register and memory requests
	moving  int     // thread of the next resumption
	packets chan string
	ctx     context.Context
}

func newServer(v *VM) *server { return &server{vm: v} }

// talk answers gdb until it goes.
func (s *server) talk(conn net.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer conn.Close()
	s.ctx = ctx
	s.wire = newWire(conn)
	s.packets = make(chan string)
	go func() {
		defer close(s.packets)
		for {
			packet, err := s.wire.read()
			if err != nil {
				return
			}
			select {
			case s.packets <- packet:
			case <-ctx.Done():
				return
			}
		}
	}()
	for packet := range s.packets {
		if packet == interruptPacket {
			continue
		}
		answer, err := s.locked(packet)
		if err != nil {
			answer = "E01"
			if errors.Is(err, errGuestEnded) {
				s.vm.ended(err)
				return
			}
		}
		if s.wire.write(answer) != nil || packet == "D" || packet == "k" {
			return
		}
	}
}

func (s *server) locked(packet string) (string, error) {
	s.vm.mu.Lock()
	defer s.vm.mu.Unlock()
	return s.answer(packet)
}

func (s *server) answer(packet string) (string, error) {
	name, rest := packet, ""
	if i := strings.IndexAny(packet, ":,;"); i >= 0 && packet[0] != 'm' && packet[0] != 'X' {
		name, rest = packet[:i], packet[i+1:]
	}
	switch name {
	case "?":
		return s.stopReply("")
	case "D", "k", noAckPacket:
		return "OK", nil
	case "qSupported":
		return "PacketSize=4000;QStartNoAckMode+;qXfer:features:read+;qXfer:threads:read+;qXfer:auxv:read+;" +
			"qXfer:exec-file:read+;ReverseStep+;ReverseContinue+;vContSupported+;hwbreak+", nil
	case "vCont?":
		return "vCont;c;C;s;S", nil
	case "vCont":
		return s.vCont(rest)
	case "vMustReplyEmpty":
		return "", nil
	case "c":
		return s.resume(false)
	case "s":
		return s.resume(true)
	case "bc":
		return s.back(false)
	case "bs":
		return s.back(true)
	case "g":
		return s.registers()
	case "qAttached":
		return "1", nil
	case "qC":
		t, err := s.thread(s.general)
		return "QC" + strconv.FormatInt(int64(t.pid), 16), err
	case "qfThreadInfo":
		return s.threadList()
	case "qsThreadInfo":
		return "l", nil
	case "qRcmd":
		return s.command(rest)
	case "qXfer":
		return s.transfer(rest)
	}
	switch packet[:min(1, len(packet))] {
	case "H":
		return s.selectThread(packet)
	case "T":
		id, err := strconv.ParseInt(packet[1:], 16, 64)
		if err != nil {
			return "E01", nil
		}
		if _, err := s.thread(int(id)); err != nil {
			return "E01", nil
		}
		return "OK", nil
	case "m":
		return s.memory(packet[1:])
	case "Z", "z":
		return s.setPoint(packet)
	case "G", "M", "P", "X":
		return "E01", nil // the past can't be changed
	}
	return "", nil
}

// tasks returns the threads at the present position.
func (s *server) tasks() ([]task, error) {
	if s.threads != nil {
		return s.threads, nil
	}
	line := s.vm.line
	leader, err := line.readTask(s.ctx, line.task)
	if err != nil {
		return nil, err
	}
	if leader.tgid != line.pid {
		return nil, fmt.Errorf("process %d isn't there at this position", line.pid)
	}
	s.threads, err = line.readThreads(s.ctx, leader)
	return s.threads, err
}

var errNoThread = errors.New("no such thread at this position")

// thread returns the thread with that id; 0 and -1 stand for any: the one on
// the CPU if it belongs to the process.
func (s *server) thread(id int) (task, error) {
	all, err := s.tasks()
	if err != nil {
		return task{}, err
	}
	for _, t := range all {
		if t.pid == id || id <= 0 && t.onCPU {
			return t, nil
		}
	}
	if id <= 0 && len(all) > 0 {
		return all[0], nil
	}
	return task{}, errNoThread
}

func (s *server) selectThread(packet string) (string, error) {
	if len(packet) < 3 {
		return "E01", nil
	}
	id := int64(-1)
	if packet[2:] != "-1" {
		var err error
		if id, err = strconv.ParseInt(packet[2:], 16, 64); err != nil {
			return "E01", nil
		}
	}
	if packet[1] == 'c' {
		s.moving = int(id)
	} else {
		s.general = int(id)
	}
	return "OK", nil
}

func (s *server) threadList() (string, error) {
	all, err := s.tasks()
	if err != nil {
		return "", err
	}
	var ids []string
	for _, t := range all {
		ids = append(ids, strconv.FormatInt(int64(t.pid), 16))
	}
	return "m" + strings.Join(ids, ","), nil
}

func (s *server) memory(rest string) (string, error) {
	a, n, _ := strings.Cut(rest, ",")
	addr, err1 := strconv.ParseUint(a, 16, 64)
	size, err2 := strconv.ParseUint(n, 16, 32)
	if err1 != nil || err2 != nil || size > 0x2000 {
		return "E01", nil
	}
	line := s.vm.line
	b, err := line.userMemory(s.ctx, line.cr3+directMap, addr, int(size))
	if errors.Is(err, errUnmapped) {
		return "E14", nil
	}
	return hex.EncodeToString(b), err
}

func (s *server) setPoint(packet string) (string, error) {
	f := strings.Split(packet[1:], ",")
	if len(f) < 3 {
		return "E01", nil
	}
	size, _, _ := strings.Cut(f[2], ";")
	kind, err1 := strconv.Atoi(f[0])
	addr, err2 := strconv.ParseUint(f[1], 16, 64)
	n, err3 := strconv.ParseUint(size, 16, 64)
	if err1 != nil || err2 != nil || err3 != nil || n > pageSize {
		return "E01", nil
	}
	if kind < 0 || kind > 4 {
		return "", nil
	}
	p := point{max(kind, 1), addr, max(n, 1)}
	s.points = slices.DeleteFunc(s.points, func(o point) bool { return o == p })
	if packet[0] == 'Z' {
		s.points = append(s.points, p)
	}
	return "OK", nil
}

// command answers gdb's "monitor".
func (s *server) command(rest string) (string, error) {
	text, err := hex.DecodeString(rest)
	if err != nil {
		return "E01", nil
	}
	name, arg, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	var out string
	switch name {
	case "when", "position":
		at, err := s.vm.line.position(s.ctx)
		if err != nil {
			return "", err
		}
		out = string(vmPosition(at)) + "\n"
	case "goto":
		if _, err := strconv.ParseUint(arg, 10, 64); err == nil {
			arg = "vm:icount=" + arg
		}
		at, err := vmCount(Position(arg))
		switch {
		case err != nil:
			out = err.Error() + "\n"
		case at < s.vm.line.born || at > s.vm.line.end:
			out = fmt.Sprintf("the process lives from %s to %s\n", vmPosition(s.vm.line.born), vmPosition(s.vm.line.end))
		default:
			s.vm.pending = at
			out = "continue goes there\n"
		}
	default:
		out = "commands: when, goto POSITION\n"
	}
	return hexText(out), nil
}

func (s *server) transfer(rest string) (string, error) {
	f := strings.SplitN(rest, ":", 4) // object, read, annex, offset and length
	if len(f) != 4 || f[1] != "read" {
		return "", nil
	}
	var data string
	switch f[0] {
	case "features":
		if f[2] != "target.xml" {
			return "E00", nil
		}
		data = targetDescription()
	case "exec-file":
		data = s.vm.exe
	case "auxv":
		data = string(s.vm.aux)
	case "threads":
		all, err := s.tasks()
		if err != nil {
			return "", err
		}
		var b strings.Builder
		b.WriteString("<threads>\n")
		for _, t := range all {
			fmt.Fprintf(&b, `<thread id="%x" core="0" name="`, t.pid)
			xml.EscapeText(&b, []byte(t.comm))
			b.WriteString("\"/>\n")
		}
		b.WriteString("</threads>\n")
		data = b.String()
	default:
		return "", nil
	}
	o, n, _ := strings.Cut(f[3], ",")
	off, err1 := strconv.ParseUint(o, 16, 31)
	size, err2 := strconv.ParseUint(n, 16, 31)
	if err1 != nil || err2 != nil {
		return "E01", nil
	}
	if int(off) >= len(data) {
		return "l", nil
	}
	data = data[off:]
	if len(data) <= int(size) {
		return "l" + data, nil
	}
	return "m" + data[:size], nil
}

// stopReply tells gdb why the process stands: a watchpoint, say, or at the
// failure the signal. extra ends with a semicolon.
func (s *server) stopReply(extra string) (string, error) {
	line := s.vm.line
	s.threads = nil
	at, err := line.position(s.ctx)
	if err != nil {
		return "", err
	}
	want, sig := 0, 5
	if at == line.end {
		want = s.vm.fail.Thread
		if extra == "" && s.vm.fail.Core {
			sig = s.vm.fail.Code - 128
		}
	}
	t, err := s.thread(want)
	if errors.Is(err, errNoThread) {
		t, err = s.thread(0)
	}
	if err != nil {
		return "", err
	}
	s.general, s.moving = t.pid, t.pid
	return fmt.Sprintf("T%02x%sthread:%x;", gdbSignal(sig), extra, t.pid), nil
}

// gdbSignal turns Linux's number into that of gdb's protocol.
func gdbSignal(n int) int {
	if g, ok := map[int]int{7: 10, 10: 30, 12: 31, 17: 20, 18: 19, 19: 17, 20: 18, 23: 16, 29: 23, 31: 12}[n]; ok {
		return g
	}
	return n
}

func (s *server) registers() (string, error) {
	t, err := s.thread(s.general)
	if err != nil {
		return "", err
	}
	u, err := s.vm.line.userRegs(s.ctx, t)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	put := func(v uint64, size int) {
		for range size {
			fmt.Fprintf(&b, "%02x", byte(v))
			v >>= 8
		}
	}
	for _, v := range u.gpr {
		put(v, 8)
	}
	put(u.rip, 8)
	for _, v := range []uint64{u.flags, u.cs, u.ss, 0, 0, 0, 0} {
		put(v, 4)
	}
	const fpu = 8*10 + 8*4 + 16*16 + 4
	if len(u.fpu) == fpu {
		b.WriteString(hex.EncodeToString(u.fpu))
	} else {
		b.WriteString(strings.Repeat("xx", fpu))
	}
	put(u.origRax, 8)
	put(u.fsBase, 8)
	put(u.gsBase, 8)
	return b.String(), nil
}

// targetDescription is that of a Linux process on x86-64.
func targetDescription() string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target>` +
		`<architecture>i386:x86-64</architecture><osabi>GNU/Linux</osabi><feature name="org.gnu.gdb.i386.core">`)
	r := func(name string, bits int, kind string) {
		fmt.Fprintf(&b, `<reg name="%s" bitsize="%d" type="%s"/>`, name, bits, kind)
	}
	for _, name := range gprNames {
		kind := "int64"
		if name == "rbp" || name == "rsp" {
			kind = "data_ptr"
		}
		r(name, 64, kind)
	}
	r("rip", 64, "code_ptr")
	for _, name := range []string{"eflags", "cs", "ss", "ds", "es", "fs", "gs"} {
		r(name, 32, "int32")
	}
	for i := range 8 {
		r("st"+strconv.Itoa(i), 80, "i387_ext")
	}
	for _, name := range []string{"fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"} {
		fmt.Fprintf(&b, `<reg name="%s" bitsize="32" type="int" group="float"/>`, name)
	}
	b.WriteString(`</feature><feature name="org.gnu.gdb.i386.sse"><vector id="v4f" type="ieee_single" count="4"/>` +
		`<vector id="v2d" type="ieee_double" count="2"/><vector id="v16i8" type="int8" count="16"/>` +
		`<vector id="v8i16" type="int16" count="8"/><vector id="v4i32" type="int32" count="4"/>` +
		`<vector id="v2i64" type="int64" count="2"/><union id="vec128"><field name="v4_float" type="v4f"/>` +
		`<field name="v2_double" type="v2d"/><field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/>` +
		`<field name="v4_int32" type="v4i32"/><field name="v2_int64" type="v2i64"/><field name="uint128" type="uint128"/></union>`)
	for i := range 16 {
		r("xmm"+strconv.Itoa(i), 128, "vec128")
	}
	b.WriteString(`<reg name="mxcsr" bitsize="32" type="int" group="vector"/></feature><feature name="org.gnu.gdb.i386.linux">`)
	r("orig_rax", 64, "int")
	b.WriteString(`</feature><feature name="org.gnu.gdb.i386.segments">`)
	r("fs_base", 64, "int")
	r("gs_base", 64, "int")
	b.WriteString(`</feature></target>`)
	return b.String()
}
