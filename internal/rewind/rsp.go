package rewind

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
)

// maxPacket bounds a packet of gdb's remote protocol, in either direction. What
// both ends announce is far below it.
const maxPacket = 1 << 20

// interruptPacket is what readPacket returns for the single byte 0x03, with
// which gdb asks a running target to stop.
const interruptPacket = "\x03"

// wire reads and writes the packets of gdb's remote serial protocol, with
// acknowledgements until the other end asks to do without.
type wire struct {
	r     *bufio.Reader
	noAck bool // set by what is read

	mu sync.Mutex // acknowledgements and answers come from two goroutines
	w  *bufio.Writer
}

func newWire(rw io.ReadWriter) *wire {
	return &wire{r: bufio.NewReader(rw), w: bufio.NewWriter(rw)}
}

// read returns the next packet's payload, unescaped and with runs expanded.
func (c *wire) read() (string, error) {
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return "", err
		}
		switch b {
		case '$':
		case 3:
			return interruptPacket, nil
		default: // acknowledgements, and noise between packets
			continue
		}
		payload, sum, err := c.body()
		if err != nil {
			return "", err
		}
		var check [2]byte
		if _, err := io.ReadFull(c.r, check[:]); err != nil {
			return "", err
		}
		want, err := strconv.ParseUint(string(check[:]), 16, 8)
		if c.noAck {
			return payload, nil
		}
		c.noAck = payload == noAckPacket
		if err != nil || byte(want) != sum {
			c.noAck = false
			if err := c.ack('-'); err != nil {
				return "", err
			}
			continue
		}
		return payload, c.ack('+')
	}
}

func (c *wire) body() (string, byte, error) {
	var out []byte
	var sum byte
	next := func() (byte, error) {
		b, err := c.r.ReadByte()
		sum += b
		return b, err
	}
	for {
		b, err := next()
		if err != nil {
			return "", 0, err
		}
		switch b {
		case '#':
			return string(out), sum - '#', nil
		case '}':
			if b, err = next(); err != nil {
				return "", 0, err
			}
			out = append(out, b^0x20)
		case '*':
			if b, err = next(); err != nil {
				return "", 0, err
			}
			if len(out) == 0 || b < 29 {
				return "", 0, errors.New("remote protocol: a run without a byte to repeat")
			}
			for range int(b) - 29 {
				out = append(out, out[len(out)-1])
			}
		default:
			out = append(out, b)
		}
		if len(out) > maxPacket {
			return "", 0, fmt.Errorf("remote protocol: a packet of more than %d bytes", maxPacket)
		}
	}
}

// noAckPacket asks to do without acknowledgements from then on.
const noAckPacket = "QStartNoAckMode"

// ack sends a byte outside of a packet.
func (c *wire) ack(b byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.w.WriteByte(b)
	return c.w.Flush()
}

// write sends a payload; it doesn't wait for the acknowledgement, which read
// passes over.
func (c *wire) write(payload string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var sum byte
	put := func(b byte) {
		sum += b
		c.w.WriteByte(b)
	}
	c.w.WriteByte('$')
	for i := range len(payload) {
		switch b := payload[i]; b {
		case '$', '#', '}', '*':
			put('}')
			put(b ^ 0x20)
		default:
			put(b)
		}
	}
	fmt.Fprintf(c.w, "#%02x", sum)
	return c.w.Flush()
}

func hexText(s string) string { return hex.EncodeToString([]byte(s)) }
