package vm

import (
	"fmt"
	"io"
)

// A cpioWriter writes the "newc" archive that the kernel unpacks as its first
// root (Documentation/driver-api/early-userspace/buffer-format.rst).
type cpioWriter struct {
	w   io.Writer
	ino int
	err error
}

// add writes one entry; rdev is major<<8|minor for a device, else 0.
func (c *cpioWriter) add(name string, mode, rdev int, data []byte) {
	c.ino++
	head := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.ino, mode, 0, 0, 1, 0, len(data), 0, 0, rdev>>8, rdev&0xff, len(name)+1, 0, name)
	c.write([]byte(head))
	c.write(data)
}

func (c *cpioWriter) write(b []byte) {
	if c.err != nil {
		return
	}
	pad := make([]byte, (4-len(b)%4)%4)
	if _, c.err = c.w.Write(b); c.err == nil {
		_, c.err = c.w.Write(pad)
	}
}

func (c *cpioWriter) close() error {
	c.add("TRAILER!!!", 0, 0, nil)
	return c.err
}
