package vm

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"time"
)

const followEvery = 50 * time.Millisecond

// follow passes on what the program writes, as the console's file grows, until
// stop is closed; what is there by then still comes.
func follow(console string, stdout, stderr io.Writer, stop <-chan struct{}) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	var at int64
	for last := false; !last; {
		select {
		case <-tick.C:
		case <-stop:
			last = true
		}
		f, err := os.Open(console)
		if err != nil {
			continue // QEMU has not made it yet
		}
		if _, err := f.Seek(at, io.SeekStart); err == nil {
			at += pass(f, stdout, stderr)
		}
		f.Close()
	}
}

// pass writes out the whole frames in r and returns how many bytes they were.
func pass(r io.Reader, stdout, stderr io.Writer) (n int64) {
	b, err := io.ReadAll(r)
	if err != nil {
		return 0
	}
	br := bufio.NewReader(bytes.NewReader(b))
	for {
		f, err := ReadFrame(br)
		if err != nil {
			return n
		}
		n += frameHead + int64(len(f.Data))
		switch f.Kind {
		case FrameStdout:
			stdout.Write(f.Data)
		case FrameStderr:
			stderr.Write(f.Data)
		}
	}
}
