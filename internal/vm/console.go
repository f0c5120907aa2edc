package vm

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// FrameKind says what a frame of the guest's console holds; guest/proto.h has
// the same list.
type FrameKind byte

const (
	FrameReady   FrameKind = 'R'
	FrameSymbols FrameKind = 'K'
	FrameStart   FrameKind = 'S'
	FrameStdout  FrameKind = '1'
	FrameStderr  FrameKind = '2'
	FrameExit    FrameKind = 'X'
	FrameOpens   FrameKind = 'O'
	FrameError   FrameKind = 'E'
	FrameMemory  FrameKind = 'M'
	FramePoint   FrameKind = 'P'
)

// Frame is one thing that the guest's init told, and when.
type Frame struct {
	Kind FrameKind
	TSC  uint64 // the guest's time stamp counter: nanoseconds of its own time
	Data []byte
}

const (
	frameHead = 13
	maxFrame  = 1 << 20
)

// ReadFrame reads the next frame. It returns io.EOF between frames and
// io.ErrUnexpectedEOF inside one, as after a machine that was killed.
func ReadFrame(r *bufio.Reader) (Frame, error) {
	var h [frameHead]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{Kind: FrameKind(h[0]), TSC: binary.LittleEndian.Uint64(h[5:])}
	n := binary.LittleEndian.Uint32(h[1:])
	if n > maxFrame {
		return f, fmt.Errorf("console frame of %d bytes: the limit is %d", n, maxFrame)
	}
	f.Data = make([]byte, n)
	if _, err := io.ReadFull(r, f.Data); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return f, err
	}
	return f, nil
}

func (k FrameKind) String() string {
	if n, ok := frameNames[k]; ok {
		return n
	}
	return fmt.Sprintf("frame %q", byte(k))
}
