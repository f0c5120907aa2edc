package cassette

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/warc"
)

// DamagedError is a cassette whose files are not as they must be.
type DamagedError struct {
	File  string // within the folder
	Where string // a line, an id
	Need  string
	Found string
	Err   error
}

func (e *DamagedError) Error() string {
	where := e.File
	if e.Where != "" {
		where += ", " + e.Where
	}
	return fmt.Sprintf("cassette: %s: need %s, found %s", where, e.Need, e.Found)
}

func (e *DamagedError) Unwrap() error { return e.Err }

const (
	maxLine   = 1 << 20
	maxEvents = 50_000_000
	maxHead   = 8 << 20 // bytes of a message's head
)

// Load reads a cassette's folder: heads and events into memory, bodies when
// they are asked for.
func Load(dir string) (*Cassette, error) {
	l := &loader{dir: dir, c: &Cassette{}, pieces: map[string][]Piece{}}
	for _, part := range []func() error{l.times, l.order, l.random, l.http, l.dns, l.streams} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	return l.c, nil
}

type loader struct {
	dir    string
	c      *Cassette
	stamps []Time
	pieces map[string][]Piece // by id and direction
}

func damaged(file, where, need, found string) error {
	return &DamagedError{File: file, Where: where, Need: need, Found: found}
}

// lines reads a file of JSON lines; one that is not there has none.
func (l *loader) lines(name string, each func(n int, line []byte) error) error {
	f, err := os.Open(filepath.Join(l.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(make([]byte, 64<<10), maxLine)
	n := 0
	for s.Scan() {
		if err := each(n, s.Bytes()); err != nil {
			return err
		}
		if n++; n > maxEvents {
			return damaged(name, "", "fewer lines", "too many")
		}
	}
	if err := s.Err(); err != nil {
		return &DamagedError{File: name, Where: "line " + strconv.Itoa(n+1), Need: "a line of at most 1 MiB", Found: err.Error(), Err: err}
	}
	return nil
}

func (l *loader) times() error {
	return l.lines(timeFile, func(n int, line []byte) error {
		var t timeLine
		err := json.Unmarshal(line, &t)
		wall, err2 := time.Parse(time.RFC3339Nano, t.Wall)
		var mono int64
		var err3 error
		if t.MonoNS != nil {
			mono = *t.MonoNS
		} else {
			var since time.Time
			since, err3 = time.Parse(time.RFC3339Nano, t.Mono)
			mono = since.UnixNano()
		}
		if err != nil || err2 != nil || err3 != nil || t.Seq != uint64(n) {
			return damaged(timeFile, "line "+strconv.Itoa(n+1), fmt.Sprintf("seq %d, wall and mono", n), "something else")
		}
		l.stamps = append(l.stamps, Time{wall.UnixNano(), mono})
		if n == 0 {
			l.c.Began = l.stamps[0]
		}
		return nil
	})
}

func (l *loader) order() error {
	return l.lines(orderFile, func(n int, text []byte) error {
		var o orderLine
		where := "line " + strconv.Itoa(n+1)
		if err := json.Unmarshal(text, &o); err != nil || o.Seq != uint64(n+1) || o.Dir != "in" && o.Dir != "out" {
			return damaged(orderFile, where, fmt.Sprintf("an event with seq %d and a direction", n+1), "something else")
		}
		if n+1 >= len(l.stamps) {
			return damaged(orderFile, where, "a line in "+timeFile+" for it", "none")
		}
		o.Time = l.stamps[n+1]
		l.c.Events = append(l.c.Events, o.Event)
		key := o.ID + o.Dir
		switch o.Kind {
		case ConnOpen:
			return l.conn(o, where)
		case Request, ReqData, Response, RespData, Data:
			l.pieces[key] = append(l.pieces[key], Piece{Off: o.Off, Len: o.Len, Seq: o.Seq})
		}
		return nil
	})
}

func (l *loader) conn(o orderLine, where string) error {
	peer, ok := parseHexAddr(o.Peer)
	if !ok || o.Event.Conn != len(l.c.Conns)+1 {
		return damaged(orderFile, where, fmt.Sprintf("connection %d and its peer", len(l.c.Conns)+1), "something else")
	}
	l.c.Conns = append(l.c.Conns, &Conn{ID: o.Event.Conn, Peer: peer, Port: o.Port, Proto: o.Proto, Name: o.Name, TLS: o.TLS, ALPN: o.ALPN, Thread: o.Thread, Refused: o.Refused, Incoming: o.Dir == "in"})
	return nil
}

func parseHexAddr(text string) (netip.AddrPort, bool) {
	digits, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(digits)
	addr, ok := netip.AddrFromSlice(b)
	n, err2 := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(addr, uint16(n)), ok && err == nil && err2 == nil
}

func (l *loader) random() error {
	return l.lines(randomFile, func(_ int, line []byte) error {
		var r struct{ Seed string }
		err := json.Unmarshal(line, &r)
		seed, err2 := hex.DecodeString(r.Seed)
		if err != nil || err2 != nil || len(seed) != 32 {
			return damaged(randomFile, "", "a seed of 32 bytes in hex", "something else")
		}
		l.c.Seed = seed
		return nil
	})
}

// records reads a WARC file of this package's own.
func (l *loader) records(name string, keep int64, each func(r *warc.Record, id int, kind string) error) error {
	f, err := os.Open(filepath.Join(l.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for r := warc.NewReader(f); ; {
		rec, err := r.Next(keep)
		if err == io.EOF {
			return nil
		}
		if errors.Is(err, warc.ErrFormat) {
			return &DamagedError{File: name, Need: "WARC records", Found: err.Error(), Err: err}
		}
		if err != nil {
			return err
		}
		_, digits, _ := strings.Cut(rec.Header.Get(ownField+"Id"), ":")
		id, err := strconv.Atoi(digits)
		if err != nil {
			continue // of another tool
		}
		if err := each(rec, id, rec.Header.Get("WARC-Type")); err != nil {
			return err
		}
	}
}

func (l *loader) connOf(name string, r *warc.Record) (int, error) {
	n, err := strconv.Atoi(r.Header.Get(ownField + "Conn"))
	if err != nil || n < 0 || n > len(l.c.Conns) {
		return 0, damaged(name, r.Header.Get(ownField+"Id"), "a connection of "+orderFile, "another one")
	}
	return n, nil
}

func (l *loader) http() error {
	return l.records(httpFile, maxHead, func(r *warc.Record, id int, kind string) error {
		where := "http:" + strconv.Itoa(id)
		end := bytes.Index(r.Start, []byte("\r\n\r\n"))
		if end < 0 {
			return damaged(httpFile, where, "an HTTP message", "none")
		}
		head := bytes.Clone(r.Start[:end+4])
		start := r.Start
		r.Start = nil
		m := &Message{Head: head, Truncated: r.Header.Get("WARC-Truncated"), Rewritten: r.Header.Get(ownField+"Rewritten") == "true",
			Body: l.body(httpFile, r, int64(len(head)), start)}
		for _, f := range r.Header {
			if f.Name == ownField+"Early" {
				if b, err := base64.StdEncoding.DecodeString(f.Value); err == nil {
					m.Early = append(m.Early, b)
				}
			}
			if f.Name == ownField+"Trailer" {
				m.Trailer, _ = base64.StdEncoding.DecodeString(f.Value)
			}
		}
		if kind == "response" {
			if id < 1 || id > len(l.c.Exchanges) {
				return damaged(httpFile, where, "a request before its answer", "none")
			}
			x := l.c.Exchanges[id-1]
			x.Response = m
			m.Pieces = l.pieces[where+opposite(l.dirOf(x))]
			return nil
		}
		if id != len(l.c.Exchanges)+1 {
			return damaged(httpFile, where, fmt.Sprintf("http:%d", len(l.c.Exchanges)+1), "another one")
		}
		conn, err := l.connOf(httpFile, r)
		if err != nil {
			return err
		}
		own := func(name string) string { return r.Header.Get(ownField + name) }
		x := &Exchange{ID: id, Conn: conn, Scheme: own("Scheme"), Authority: own("Authority"), Request: m, End: own("End"), TraceID: own("Trace"), SpanID: own("Span")}
		x.Upgrade, _ = strconv.Atoi(own("Upgrade"))
		x.Stub = own("Stub") == "true"
		m.Pieces = l.pieces[where+l.dirOf(x)]
		l.c.Exchanges = append(l.c.Exchanges, x)
		return nil
	})
}

// dirOf is which way the request of an exchange went.
func (l *loader) dirOf(x *Exchange) string {
	if x.Conn > 0 && l.c.Conns[x.Conn-1].Incoming {
		return "in"
	}
	return "out"
}

func opposite(dir string) string {
	if dir == "in" {
		return "out"
	}
	return "in"
}

func (l *loader) dns() error {
	return l.records(dnsFile, 1<<20, func(r *warc.Record, id int, _ string) error {
		conn, err := l.connOf(dnsFile, r)
		if err != nil {
			return err
		}
		if r.Header.Get(ownField+"Part") == "answer" {
			if id < 1 || id > len(l.c.Queries) {
				return damaged(dnsFile, fmt.Sprint("dns:", id), "a question before its answer", "none")
			}
			l.c.Queries[id-1].Answer = r.Start
			return nil
		}
		if id != len(l.c.Queries)+1 {
			return damaged(dnsFile, fmt.Sprint("dns:", id), fmt.Sprint("dns:", len(l.c.Queries)+1), "another one")
		}
		name, kind, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("WARC-Target-URI"), "dns:"), "?type=")
		server, _ := netip.ParseAddrPort(r.Header.Get(ownField + "Server"))
		l.c.Queries = append(l.c.Queries, &Query{ID: id, Conn: conn, Server: server, Name: name + ".", Type: kind, Question: r.Start})
		return nil
	})
}

func (l *loader) streams() error {
	return l.records(streamFile, 0, func(r *warc.Record, id int, _ string) error {
		body := l.body(streamFile, r, 0, nil)
		key := fmt.Sprint("tcp:", id)
		if r.Header.Get(ownField+"Part") == "in" {
			if id < 1 || id > len(l.c.Streams) {
				return damaged(streamFile, key, "the bytes out before those in", "none")
			}
			s := l.c.Streams[id-1]
			s.In, s.InPieces = body, l.pieces[key+"in"]
			return nil
		}
		if id != len(l.c.Streams)+1 {
			return damaged(streamFile, key, fmt.Sprint("tcp:", len(l.c.Streams)+1), "another one")
		}
		conn, err := l.connOf(streamFile, r)
		if err != nil {
			return err
		}
		s := &Stream{ID: id, Conn: conn, Out: body, In: Bytes(nil), OutPieces: l.pieces[key+"out"], End: r.Header.Get(ownField + "End")}
		s.Exchange, _ = strconv.Atoi(r.Header.Get(ownField + "Exchange"))
		l.c.Streams = append(l.c.Streams, s)
		return nil
	})
}

// keepInMemory is the size up to which a body is not read again from its file.
const keepInMemory = 16 << 10

func (l *loader) body(file string, r *warc.Record, skip int64, start []byte) Body {
	if rest := int64(len(start)) - skip; start != nil && int64(len(start)) == r.Size && rest <= keepInMemory {
		return Bytes(bytes.Clone(start[skip:]))
	}
	return &stored{path: filepath.Join(l.dir, file), rec: r, skip: skip}
}

// stored is a body in a WARC file.
type stored struct {
	path string
	rec  *warc.Record
	skip int64
}

func (s *stored) Size() int64    { return s.rec.Size - s.skip }
func (s *stored) Digest() string { return s.rec.Header.Get("WARC-Payload-Digest") }

func (s *stored) Open() (io.ReadCloser, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(s.rec.Offset, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	r, err := warc.Open(f, s.rec, s.skip)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &struct {
		io.Reader
		io.Closer
	}{r, f}, nil
}
