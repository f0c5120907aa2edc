// Package cassette holds what was recorded of a program's inputs: its
// connections, what went over them, and the one order in which it happened.
//
// [Load] reads the inputs folder of a bundle, a [Writer] makes one. HTTP is in
// WARC 1.1, the order and the clock are lines of JSON. Bodies stay on disk
// until they are opened.
package cassette

import (
	"io"
	"net/netip"
)

// Cassette is a whole recording of inputs.
type Cassette struct {
	Conns     []*Conn     // Conns[i].ID is i+1
	Exchanges []*Exchange // Exchanges[i].ID is i+1
	Streams   []*Stream   // Streams[i].ID is i+1
	Queries   []*Query    // Queries[i].ID is i+1
	Events    []Event     // Events[i].Seq is i+1
	Began     Time        // when the recording began: before the first event
	Seed      []byte      // of the program's randomness, 32 bytes; nil if it was not controlled
}

// Time is a moment by both clocks of the machine that recorded.
type Time struct {
	Wall int64 // nanoseconds since 1970, UTC
	Mono int64 // nanoseconds of CLOCK_MONOTONIC
}

// Conn is a connection of the recorded program, with TLS taken off.
type Conn struct {
	ID       int
	Peer     netip.AddrPort // whom the program dialled, or who dialled it
	Port     uint16         // of the program, on which it was dialled; 0 if it dialled itself
	Proto    string         // "http/1.1", "h2", "dns", or "tcp" for bytes that nobody decoded
	Name     string         // the peer's: from the TLS handshake, or as DNS answered it; may be ""
	TLS      bool
	ALPN     string // as negotiated
	Thread   int    // of the program that opened it; 0 if unknown
	Refused  string // why there was no connection: "refused", "timeout", "unreachable", or "tls" for a handshake that failed; "" if there was one
	Incoming bool   // the program was dialled
}

// Exchange is an HTTP request and its answer. Its event id is http:ID.
type Exchange struct {
	ID        int
	Conn      int
	Scheme    string // http or https
	Authority string // host, and port if it isn't the scheme's own; as the request named it
	Request   *Message
	Response  *Message // nil if none came
	End       string   // "": complete; "reset", "closed" (early, in order), "cut" (the recording ended first)
	TraceID   string   // of traceparent, lower-case hex; "" if there was none
	SpanID    string
	Upgrade   int // the Stream that follows a 101 or an accepted CONNECT; 0 if none
	// Stub says that it was no recording but a rule of a mock server: it answers
	// any number of times, and, if its request has no fields that count, whatever
	// fields the live one has.
	Stub bool
}

// Message is an HTTP message as it was on the wire, after the scrub. One of HTTP/2
// is written as HTTP/1 would, with "HTTP/2" for the version, the authority as the
// first field, and a body that ends where it ends.
type Message struct {
	Early     [][]byte // heads of 1xx answers that came before it
	Head      []byte   // from the first line to the empty one, both included
	Body      Body     // what follows the head, transfer coding and trailers included; never nil
	Trailer   []byte   // of HTTP/2: the lines of the fields that followed the body; nil if none did
	Pieces    []Piece  // as the body came; nil: all at once
	Rewritten bool     // the scrub changed it: lengths and chunks were made anew
	Truncated string   // WARC's word for why the body is not whole: "disconnect", "length", "time"; "" if it is
}

// Body is bytes that may be too many for memory.
type Body interface {
	Open() (io.ReadCloser, error)
	Size() int64
	Digest() string // "sha256:" and lower-case hex
}

// Piece is a part of a body or of a stream that came at one time.
type Piece struct {
	Off, Len int64
	Seq      uint64 // of the event that it came with
}

// Stream is bytes of a connection that nobody decoded, such as those that follow
// an upgrade. Its event id is tcp:ID.
type Stream struct {
	ID       int
	Conn     int
	Exchange int  // the upgrade that it follows, or 0
	Out, In  Body // from the program, to it
	// The pieces of both directions; Seq tells how they interleave.
	OutPieces, InPieces []Piece
	End                 string // as Exchange.End
}

// Query is a DNS question and its answer. Its event id is dns:ID.
type Query struct {
	ID       int
	Conn     int
	Server   netip.AddrPort // whom the program asked
	Name     string         // lower case, with the final dot
	Type     string         // A, AAAA, …
	Question []byte         // the message, as sent
	Answer   []byte         // nil if none came
}

// Event kinds. Those with Dir "out" are the program's doing, which a replay
// waits for; those with "in" come to it, and a replay releases them.
const (
	ConnOpen  = "conn.open"  // out if the program dialled
	ConnClose = "conn.close" // the side that Dir names closed first; Note "reset" if not in order
	Request   = "http.request"
	ReqEnd    = "http.request.end"
	Response  = "http.response"
	RespData  = "http.response.data" // a further piece of a body
	ReqData   = "http.request.data"
	RespEnd   = "http.response.end"
	Data      = "tcp.data" // a piece of a stream
	Question  = "dns.query"
	Answer    = "dns.answer"
)

// Event is one line of order.ndjson: that something happened, and when.
type Event struct {
	Seq    uint64 `json:"seq"` // from 1, without gaps: the bundle-wide sequence
	Kind   string `json:"event"`
	ID     string `json:"id"`  // http:17, tcp:2, dns:4, conn:3
	Dir    string `json:"dir"` // "out" from the program, "in" to it
	Conn   int    `json:"conn,omitempty"`
	Off    int64  `json:"off,omitempty"` // of a piece: where it starts
	Len    int64  `json:"len,omitempty"`
	Thread int    `json:"thread,omitempty"`
	Trace  string `json:"trace_id,omitempty"`
	Span   string `json:"span_id,omitempty"`
	Note   string `json:"note,omitempty"`
	Time   Time   `json:"-"` // in time.ndjson
}
