// Package wire is what went over a recorded connection: raw chunks, as the
// proxy copied them. Packages below it decode them, behind the program's back.
package wire

import (
	"net/netip"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
)

// Dir says which way bytes went.
type Dir uint8

// The two ways.
const (
	Out Dir = iota // from the recorded program
	In             // to it
)

func (d Dir) String() string {
	if d == In {
		return "in"
	}
	return "out"
}

// Op is what happened to a connection.
type Op uint8

// What can happen to a connection.
const (
	Open  Op = iota // Chunk.Conn is filled
	Data            // Chunk.Data came from the side that Dir names
	Fin             // that side will send no more
	Reset           // that side gave up
)

// Conn describes a connection when it is opened.
type Conn struct {
	ID       uint64 // counted from 1 in the order of the openings
	Peer     netip.AddrPort
	Port     uint16 // as in cassette.Conn
	Incoming bool
	Datagram bool // UDP: each Data chunk is one datagram
	TLS      bool
	Name     string // server name of the TLS handshake
	ALPN     string
	Thread   int
	Refused  string // as in cassette.Conn; nothing follows
}

// Chunk is one thing that happened on one connection. Ticks order the chunks of
// all connections; a sink gets those of one connection in their order.
type Chunk struct {
	Tick uint64
	Time cassette.Time
	ID   uint64 // of the connection
	Op   Op
	Dir  Dir
	Data []byte // the sink's from now on
	Conn *Conn  // with Open
}

// Sink takes what the proxy copied. Put is on the program's path: it must be
// quick, and may block only to bound memory.
type Sink interface {
	Put(Chunk)
}
