package vm

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// The log that QEMU writes is a header of 12 bytes and events of one byte,
// some with a payload (replay/replay-internal.[hc] of QEMU). The numbers of
// the events move when QEMU adds one before them, and its version with them.

// logLayout is where the groups of events start in one version of the log.
type logLayout struct {
	shutdowns int // number of reasons for a shutdown
}

// logLayouts are the versions that were checked against real logs.
var logLayouts = map[uint32]logLayout{
	0xe0200c: {shutdowns: 12}, // QEMU 7.2
}

// ErrLogVersion says that the log's version is not in logLayouts.
var ErrLogVersion = errors.New("unknown version of QEMU's replay log")

const (
	logHeader      = 12
	evInstruction  = 0
	evAsync        = 3 // bottom halves, input, characters, block, network
	evShutdown     = 10
	quitShutdown   = 2 // the reason of a QEMU that is told to quit
	guestShutdown  = 6 // the reason of a guest that powers off
	maxLogPayload  = 1 << 24
	asyncCharRead  = evAsync + 4
	asyncInputSync = evAsync + 3
)

// Count is how many instructions a log holds.
type Count struct {
	Shutdown uint64 `json:"shutdown"` // up to where the guest has shut itself down, or was cut off
	// Total goes on until QEMU's main loop has heard of that. A replay stands
	// still somewhere between the two.
	Total uint64 `json:"total"`
}

// CountLog counts the instructions in a log.
func CountLog(name string) (Count, error) {
	f, err := os.Open(name)
	if err != nil {
		return Count{}, err
	}
	defer f.Close()
	return countLog(bufio.NewReader(f))
}

func countLog(r *bufio.Reader) (Count, error) {
	var c Count
	var head [logHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return c, fmt.Errorf("replay log: %w", err)
	}
	if binary.BigEndian.Uint32(head[:]) == 0 { // QEMU writes it last
		return c, errors.New("replay log: its head was never written")
	}
	layout, ok := logLayouts[binary.BigEndian.Uint32(head[:])]
	if !ok {
		return c, fmt.Errorf("%w: %#x", ErrLogVersion, binary.BigEndian.Uint32(head[:]))
	}
	charWrite := byte(evShutdown + layout.shutdowns)
	// after it: char read, char read error, audio out, audio in, random,
	// two clocks, eight checkpoints and more, the end
	for {
		ev, err := r.ReadByte()
		if err == io.EOF {
			return c, nil
		}
		if err != nil {
			return c, err
		}
		switch {
		case ev == evInstruction:
			n, err := word(r)
			if err != nil {
				return c, err
			}
			c.Total += uint64(n)
		case (ev == evShutdown+guestShutdown || ev == evShutdown+quitShutdown) && c.Shutdown == 0:
			c.Shutdown = c.Total
		case ev < evAsync || ev >= evShutdown && ev < charWrite:
		default:
			if err := skipPayload(r, ev, charWrite); err != nil {
				return c, err
			}
		}
	}
}

// skipPayload passes over what follows an event.
func skipPayload(r *bufio.Reader, ev, charWrite byte) error {
	switch ev {
	case evAsync, evAsync + 1, evAsync + 5, charWrite, charWrite + 6, charWrite + 7: // an id, or a clock's value
		return skip(r, 8)
	case asyncCharRead:
		if err := skip(r, 1); err != nil {
			return err
		}
		return skipArray(r)
	case charWrite + 1: // characters read
		return skipArray(r)
	case charWrite + 2: // an error number
		return skip(r, 4)
	case charWrite + 5: // random bytes: the result, then the bytes
		if err := skip(r, 4); err != nil {
			return err
		}
		return skipArray(r)
	case evAsync + 2, asyncInputSync, evAsync + 6, charWrite + 3, charWrite + 4:
		return fmt.Errorf("replay log: event %d belongs to a device that the guest does not have", ev)
	}
	return nil // checkpoints and the end have none
}

func word(r *bufio.Reader) (uint32, error) {
	var b [4]byte
	_, err := io.ReadFull(r, b[:])
	return binary.BigEndian.Uint32(b[:]), err
}

func skip(r *bufio.Reader, n int) error {
	_, err := r.Discard(n)
	return err
}

func skipArray(r *bufio.Reader) error {
	n, err := word(r)
	if err != nil {
		return err
	}
	if n > maxLogPayload {
		return fmt.Errorf("replay log: an event of %d bytes", n)
	}
	return skip(r, int(n))
}
