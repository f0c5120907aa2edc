package play

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/match"
	wirehttp "github.com/tapedeck-dev/tapedeck/internal/wire/http"
)

// Windows that we give: a request is held in memory as with HTTP/1.
const window = 1 << 30

// conn2 answers the requests of an HTTP/2 connection, each when its turn comes.
type conn2 struct {
	p       *Player
	c       net.Conn
	scheme  string
	dst     netip.AddrPort
	session string
	framer  *http2.Framer

	wmu   sync.Mutex // of what is written
	table *hpack.Encoder
	block bytes.Buffer

	mu      sync.Mutex
	cond    sync.Cond
	streams map[uint32]*stream2
	left    int64 // that we may send on the connection
	initial int64 // and on a new stream
	frame   int   // bytes of a frame
	ended   bool
	wg      sync.WaitGroup
}

// stream2 is a request on its way, or being answered.
type stream2 struct {
	id    uint32
	head  []byte
	body  []byte
	open  *cassette.Exchange // was answered before its body was whole
	next  int                // of its recorded pieces: the next to come
	left  int64
	ended bool // by the program
}

// http2 answers a connection until it ends.
func (p *Player) http2(c net.Conn, scheme string, dst netip.AddrPort, session string) {
	defer p.index.Leave(session)
	k := &conn2{p: p, c: c, scheme: scheme, dst: dst, session: session, framer: http2.NewFramer(c, c), streams: map[uint32]*stream2{}, left: 65535, initial: 65535, frame: 16384}
	k.cond.L = &k.mu
	k.table = hpack.NewEncoder(&k.block)
	k.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	k.framer.MaxHeaderListSize = 1 << 20
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	err := k.write(func(f *http2.Framer) error {
		if err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1000}); err != nil {
			return err
		}
		return f.WriteWindowUpdate(0, window)
	})
	for err == nil {
		var f http2.Frame
		if f, err = k.framer.ReadFrame(); err == nil {
			err = k.take(f)
		}
		if one, ok := err.(http2.StreamError); ok {
			err = k.write(func(f *http2.Framer) error { return f.WriteRSTStream(one.StreamID, one.Code) })
		}
	}
	k.mu.Lock()
	k.ended = true
	for _, s := range k.streams {
		s.ended = true
	}
	k.cond.Broadcast()
	k.mu.Unlock()
	k.wg.Wait()
}

func (k *conn2) write(f func(*http2.Framer) error) error {
	k.wmu.Lock()
	defer k.wmu.Unlock()
	return f(k.framer)
}

func (k *conn2) take(f http2.Frame) error {
	id := f.Header().StreamID
	k.mu.Lock()
	s := k.streams[id]
	k.mu.Unlock()
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		if s == nil {
			head, err := wirehttp.RequestHead(f.Fields)
			if err != nil {
				return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
			}
			s = &stream2{id: id, head: head}
			k.mu.Lock()
			s.left = k.initial
			k.streams[id] = s
			k.mu.Unlock()
			if !f.StreamEnded() {
				k.early(s)
			}
		}
		if f.StreamEnded() {
			k.asked(s)
		}
	case *http2.DataFrame:
		if n := f.Header().Length; n > 0 {
			if err := k.write(func(w *http2.Framer) error {
				if err := w.WriteWindowUpdate(0, n); err != nil || f.StreamEnded() {
					return err
				}
				return w.WriteWindowUpdate(id, n)
			}); err != nil {
				return err
			}
		}
		if s == nil {
			return nil
		}
		s.body = append(s.body, f.Data()...)
		k.p.progress(s)
		if f.StreamEnded() {
			k.asked(s)
		}
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		k.settings(f)
		return k.write(func(w *http2.Framer) error { return w.WriteSettingsAck() })
	case *http2.PingFrame:
		if !f.IsAck() {
			return k.write(func(w *http2.Framer) error { return w.WritePing(true, f.Data) })
		}
	case *http2.WindowUpdateFrame:
		k.mu.Lock()
		if s != nil {
			s.left += int64(f.Increment)
		} else if id == 0 {
			k.left += int64(f.Increment)
		}
		k.cond.Broadcast()
		k.mu.Unlock()
	case *http2.RSTStreamFrame:
		k.mu.Lock()
		if s != nil {
			s.ended = true
		}
		k.cond.Broadcast()
		k.mu.Unlock()
	}
	return nil
}

func (k *conn2) settings(f *http2.SettingsFrame) {
	k.mu.Lock()
	defer k.mu.Unlock()
	_ = f.ForeachSetting(func(s http2.Setting) error {
		switch s.ID {
		case http2.SettingInitialWindowSize:
			for _, o := range k.streams {
				o.left += int64(s.Val) - k.initial
			}
			k.initial = int64(s.Val)
		case http2.SettingMaxFrameSize:
			k.frame = int(min(s.Val, 1<<20))
		case http2.SettingHeaderTableSize:
			k.wmu.Lock()
			k.table.SetMaxDynamicTableSizeLimit(s.Val)
			k.wmu.Unlock()
		}
		return nil
	})
	k.cond.Broadcast()
}

// early answers a request whose recorded answer began before its end: its head
// has to do, and the body is compared as it comes.
func (k *conn2) early(s *stream2) {
	m := k.p.scrubbed(&cassette.Message{Head: s.head, Body: cassette.Bytes(nil)})
	k.p.mu.Lock()
	key := openKey(k.scheme, m)
	if list := k.p.open[key]; len(list) > 0 {
		s.open, k.p.open[key] = list[0], list[1:]
		k.p.streamed++
	}
	k.p.mu.Unlock()
	if s.open == nil {
		return
	}
	seq := k.p.of(match.ID(s.open))
	k.p.gate.Happened(k.p.opened[s.open.Conn], first(seq))
	s.next = 1
	k.wg.Go(func() { k.answer(s, s.open, seq) })
}

// progress tells of the pieces of a body that have come.
func (p *Player) progress(s *stream2) {
	if s.open == nil {
		return
	}
	seq := p.of(match.ID(s.open))
	for s.next < len(seq.asked) && seq.asked[s.next].Kind == cassette.ReqData && seq.asked[s.next].Off+seq.asked[s.next].Len <= int64(len(s.body)) {
		p.gate.Happened(seq.asked[s.next].Seq)
		s.next++
	}
}

func openKey(scheme string, m *cassette.Message) string {
	return m.Method() + " " + scheme + "://" + m.Get("Host") + m.Target()
}

// asked has the whole of a request.
func (k *conn2) asked(s *stream2) {
	p := k.p
	clean := p.scrubbed(&cassette.Message{Head: s.head, Body: cassette.Bytes(s.body)})
	authority := clean.Get("Host")
	if authority == "" {
		authority = k.dst.String()
	}
	req, err := match.Of(k.scheme, authority, clean)
	if err != nil {
		return
	}
	if s.open != nil {
		p.asked(k.session, req, s.open, false)
		seq := p.of(match.ID(s.open))
		p.gate.Happened(seq.request()...)
		if recorded, err := match.Of(k.scheme, authority, s.open.Request); err == nil && s.open.Request.Truncated == "" {
			if fields := match.Differences(recorded, req); len(fields) > 0 {
				p.drifted(match.ID(s.open), fields...)
			}
		}
		return
	}
	x, miss := p.take(k.session, req)
	if x == nil {
		k.wg.Go(func() { k.refuse(s, strings.HasPrefix(clean.Get("content-type"), "application/grpc"), miss) })
		return
	}
	seq := p.of(match.ID(x))
	p.gate.Happened(append([]uint64{p.opened[x.Conn]}, seq.request()...)...)
	k.wg.Go(func() { k.answer(s, x, seq) })
}

// refuse answers a request that was not recorded, in the terms of its protocol.
func (k *conn2) refuse(s *stream2, grpc bool, miss *match.Miss) {
	text, err := json.Marshal(map[string]any{"tapedeck": "no recorded answer", "miss": miss})
	if err != nil {
		return
	}
	if grpc { // FAILED_PRECONDITION, which no client tries again
		k.head(s, "200", []byte("content-type: application/grpc\r\ngrpc-status: 9\r\ngrpc-message: "+percent(miss.String())+"\r\n"), true)
		return
	}
	k.head(s, "599", []byte("content-type: application/json\r\ncontent-length: "+strconv.Itoa(len(text))+"\r\n"), false)
	k.data(s, text, true)
}

// percent writes text as gRPC has it in a header.
func percent(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// head sends header fields, given as lines.
func (k *conn2) head(s *stream2, status string, lines []byte, end bool) bool {
	k.wmu.Lock()
	defer k.wmu.Unlock()
	k.block.Reset()
	field := func(name, value string) {
		_ = k.table.WriteField(hpack.HeaderField{Name: name, Value: value}) // into memory
	}
	if status != "" {
		field(":status", status)
	}
	for line := range bytes.SplitSeq(lines, []byte("\r\n")) {
		if name, value, ok := strings.Cut(string(line), ":"); ok && carried(strings.ToLower(name)) {
			field(strings.ToLower(name), strings.TrimSpace(value))
		}
	}
	all := k.block.Bytes()
	first := all[:min(len(all), 16384)]
	rest := all[len(first):]
	err := k.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: first, EndStream: end, EndHeaders: len(rest) == 0})
	for len(rest) > 0 && err == nil {
		part := rest[:min(len(rest), 16384)]
		rest = rest[len(part):]
		err = k.framer.WriteContinuation(s.id, len(rest) == 0, part)
	}
	return err == nil
}

// carried tells whether HTTP/2 has such a field; the others are of HTTP/1's connections.
func carried(name string) bool {
	switch name {
	case "connection", "transfer-encoding", "keep-alive", "upgrade", "proxy-connection":
		return false
	}
	return true
}

// data sends bytes of a body as the program's windows allow.
func (k *conn2) data(s *stream2, b []byte, end bool) bool {
	for {
		k.mu.Lock()
		for len(b) > 0 && (s.left <= 0 || k.left <= 0) && !k.ended && !s.ended {
			k.cond.Wait()
		}
		n := int(min(int64(len(b)), s.left, k.left, int64(k.frame)))
		if n < 0 {
			n = 0
		}
		dead := k.ended || s.ended
		s.left -= int64(n)
		k.left -= int64(n)
		k.mu.Unlock()
		if dead {
			return false
		}
		part := b[:n]
		b = b[n:]
		if len(part) > 0 || end && len(b) == 0 {
			if err := k.write(func(f *http2.Framer) error { return f.WriteData(s.id, end && len(b) == 0, part) }); err != nil {
				return false
			}
		}
		if len(b) == 0 {
			return true
		}
	}
}

func (k *conn2) reset(s *stream2, code http2.ErrCode) {
	_ = k.write(func(f *http2.Framer) error { return f.WriteRSTStream(s.id, code) })
}
