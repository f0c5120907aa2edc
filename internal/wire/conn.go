package wire

import (
	"crypto/tls"
	"net"
)

// Prefixed is a connection of which the beginning was read already.
type Prefixed struct {
	net.Conn
	Head []byte
}

func (p *Prefixed) Read(b []byte) (int, error) {
	if len(p.Head) > 0 {
		n := copy(b, p.Head)
		p.Head = p.Head[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// CloseWrite tells the other side that nothing more comes, if the connection can.
func (p *Prefixed) CloseWrite() error { return CloseWrite(p.Conn) }

// CloseWrite ends one direction of a connection that has two.
func CloseWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}

// Abort ends a connection, whatever is around it, so that its peer sees an
// error and not an end.
func Abort(c net.Conn) {
	for {
		switch t := c.(type) {
		case *tls.Conn:
			c = t.NetConn()
			continue
		case *Prefixed:
			c = t.Conn
			continue
		case *net.TCPConn:
			_ = t.SetLinger(0)
		}
		c.Close()
		return
	}
}
