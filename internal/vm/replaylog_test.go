package vm

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"
)

// testdata/true.replay.log is the log of a recording of true(1) with QEMU 7.2.
const (
	trueLog      = "testdata/true.replay.log"
	trueShutdown = 1321043426 // where QEMU itself said that the guest ended
	trueTotal    = 1321059201
)

func countBytes(b []byte) (Count, error) { return countLog(bufio.NewReader(bytes.NewReader(b))) }

func TestCountLog(t *testing.T) {
	t.Parallel()
	got, err := CountLog(trueLog)
	if err != nil || got != (Count{trueShutdown, trueTotal}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := CountLog("testdata/nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestCountLogTruncated(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(trueLog)
	if err != nil {
		t.Fatal(err)
	}
	whole, cut := 0, 0
	for n := range b {
		c, err := countBytes(b[:n])
		switch {
		case err == nil: // between two events
			whole++
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			cut++
		default:
			t.Fatalf("%d bytes: %v", n, err)
		}
		if c.Total > trueTotal || n < logHeader && err == nil {
			t.Fatalf("%d bytes: %+v, %v", n, c, err)
		}
	}
	if whole == 0 || cut == 0 {
		t.Errorf("%d cuts between events, %d inside", whole, cut)
	}
}

func TestCountLogForeign(t *testing.T) {
	t.Parallel()
	head := func(version uint32, events ...byte) []byte {
		return append(append(binary.BigEndian.AppendUint32(nil, version), make([]byte, 8)...), events...)
	}
	if _, err := countBytes(head(0xe0200d)); !errors.Is(err, ErrLogVersion) {
		t.Errorf("a newer version: %v", err)
	}
	const charWrite = evShutdown + 12
	for name, events := range map[string][]byte{
		"sound":           {charWrite + 3},
		"network":         {evAsync + 6},
		"input":           {evAsync + 2},
		"huge array":      {charWrite + 1, 0xff, 0xff, 0xff, 0xff},
		"array of 16 MiB": {charWrite + 1, 1, 0, 0, 0},
		"half a number":   {evInstruction, 0, 0},
	} {
		if c, err := countBytes(head(0xe0200c, events...)); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
	// the largest numbers that there are do not run over into small ones
	var many []byte
	for range 4 {
		many = append(many, evInstruction, 0xff, 0xff, 0xff, 0xff)
	}
	if c, err := countBytes(head(0xe0200c, many...)); err != nil || c.Total != 4*0xffffffff {
		t.Errorf("%+v, %v", c, err)
	}
}

// FuzzCountLog: no log makes it panic, and no count is more than the log has
// room for.
func FuzzCountLog(f *testing.F) {
	b, err := os.ReadFile(trueLog)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:1000])
	f.Add(b[len(b)-100:])
	f.Add(append(append([]byte{}, b[:logHeader]...), b[len(b)-500:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := countBytes(b)
		if most := uint64(len(b)/5) * 0xffffffff; err == nil && (c.Total > most || c.Shutdown > c.Total) {
			t.Errorf("%+v of %d bytes", c, len(b))
		}
	})
}
