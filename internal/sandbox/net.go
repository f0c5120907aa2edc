package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	catchPort = 9           // of the socket that all connections are redirected to
	ownMark   = 0x7461_7065 // of connections that we make inside: these are not redirected
)

// network brings up loopback, makes every address local, redirects every TCP
// connection to one socket, and passes that and one for DNS out.
func network(o stageOrders) (*ports, error) {
	if o.Hermetic {
		if err := unix.Sethostname([]byte("tapedeck")); err != nil {
			return nil, step("a host name of its own", containerFix, err)
		}
	}
	if err := routes(); err != nil {
		return nil, step("to set up a network namespace", namespaceFix(), err)
	}
	// A program may listen at an address of the recorded machine. For IPv4 the
	// routes are enough; a container may forbid this.
	_ = os.WriteFile("/proc/sys/net/ipv6/ip_nonlocal_bind", []byte("1"), 0)
	p, err := redirect()
	if err != nil {
		return nil, step("nftables in a network namespace", "load the modules nf_tables, nft_chain_nat and nft_redir", err)
	}
	for _, s := range []struct {
		kind string
		typ  int
		port int
	}{{"tcp", unix.SOCK_STREAM, catchPort}, {"udp", unix.SOCK_DGRAM, 53}} {
		fd, err := listenAll(s.typ, s.port)
		if err != nil {
			return nil, step("to listen on port "+strconv.Itoa(s.port)+" in the sandbox", containerFix, err)
		}
		if err := send(ctlFD, message{Kind: s.kind}, fd); err != nil {
			return nil, err
		}
		unix.Close(fd)
	}
	four, six, err := refusals()
	if err != nil {
		return nil, step("to listen for refused datagrams", containerFix, err)
	}
	for kind, fd := range map[string]int{"refused4": four, "refused6": six} {
		if fd < 0 {
			continue
		}
		if err := send(ctlFD, message{Kind: kind}, fd); err != nil {
			return nil, err
		}
		unix.Close(fd)
	}
	return p, nil
}

// listenAll makes a socket for both IPv4 and IPv6, on every address.
func listenAll(typ, port int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET6, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	opts := [][2]int{{unix.SOL_SOCKET, unix.SO_REUSEADDR}}
	if typ == unix.SOCK_DGRAM {
		opts = append(opts, [2]int{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO}, [2]int{unix.IPPROTO_IP, unix.IP_PKTINFO}, [2]int{unix.IPPROTO_IPV6, unix.IPV6_FREEBIND}) // to answer from addresses that lo has by route alone
	}
	for _, o := range opts {
		if err := unix.SetsockoptInt(fd, o[0], o[1], 1); err != nil {
			return -1, err
		}
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet6{Port: port}); err != nil {
		return -1, err
	}
	if typ == unix.SOCK_STREAM {
		return fd, unix.Listen(fd, 4096)
	}
	return fd, nil
}

// ports are those on which the program listens: loopback connections to them
// stay inside.
type ports struct {
	conn  *nftables.Conn
	set   *nftables.Set
	known map[uint16]bool
}

// redirect sends every TCP connection to the catch-all socket, but those to
// loopback ports that are in the set, and our own.
func redirect() (*ports, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "tapedeck"})
	inside := &nftables.Set{Table: t, Name: "inside", KeyType: nftables.TypeInetService}
	if err := c.AddSet(inside, nil); err != nil {
		return nil, err
	}
	chain := c.AddChain(&nftables.Chain{Name: "out", Table: t, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest})
	rule := func(parts ...[]expr.Any) {
		var all []expr.Any
		for _, p := range parts {
			all = append(all, p...)
		}
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: all})
	}
	equal := func(b []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: b} }
	tcp := []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{unix.IPPROTO_TCP})}
	known := []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, &expr.Lookup{SourceRegister: 1, SetName: inside.Name, SetID: inside.ID}}
	accept := []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
	family := func(f byte) []expr.Any {
		return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equal([]byte{f})}
	}
	loop6 := netip.IPv6Loopback().As16()
	rule([]expr.Any{&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, equal(binaryutil.NativeEndian.PutUint32(ownMark))}, accept)
	rule(family(unix.NFPROTO_IPV4), []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 1}, equal([]byte{127})}, tcp, known, accept)
	rule(family(unix.NFPROTO_IPV6), []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 24, Len: 16}, equal(loop6[:])}, tcp, known, accept)
	rule(tcp, []expr.Any{&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(catchPort)}, &expr.Redir{RegisterProtoMin: 1}})
	return &ports{conn: c, set: inside, known: map[uint16]bool{}}, c.Flush()
}

// watchListeners tells of each port on which the program begins to listen. To
// look takes the kernel a while, more so on a slow machine: it is not to take
// more than a tenth of the time.
func watchListeners(p *ports) {
	var took time.Duration
	for ; ; time.Sleep(max(10*time.Millisecond, 10*took)) {
		began := time.Now()
		now := map[uint16]bool{}
		for _, file := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
			sockets, err := readSockets(file)
			if err != nil {
				continue
			}
			for _, s := range sockets {
				if !s.listens || s.local.Port() == catchPort {
					continue
				}
				port := s.local.Port()
				if now[port] = true; p.known[port] {
					continue
				}
				p.known[port] = true
				if p.conn.SetAddElements(p.set, []nftables.SetElement{{Key: binaryutil.BigEndian.PutUint16(port)}}) == nil {
					_ = p.conn.Flush()
				}
				_ = send(ctlFD, message{Kind: "listening", Addr: s.local.String()})
			}
		}
		for port := range p.known {
			if !now[port] {
				delete(p.known, port)
				if p.conn.SetDeleteElements(p.set, []nftables.SetElement{{Key: binaryutil.BigEndian.PutUint16(port)}}) == nil {
					_ = p.conn.Flush()
				}
			}
		}
		took = time.Since(began)
	}
}

// socket is a line of /proc/net/tcp.
type socket struct {
	local, peer netip.AddrPort
	listens     bool
	unread      uint64 // bytes in the receive queue
}

func readSockets(file string) ([]socket, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all []socket
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) < 5 || !strings.HasSuffix(f[0], ":") || f[0] == "sl" {
			continue
		}
		local, err1 := procAddr(f[1])
		peer, err2 := procAddr(f[2])
		_, rx, _ := strings.Cut(f[4], ":")
		unread, err3 := strconv.ParseUint(rx, 16, 64)
		if err1 == nil && err2 == nil && err3 == nil {
			all = append(all, socket{local: local, peer: peer, listens: f[3] == "0A", unread: unread})
		}
	}
	return all, nil
}

// procAddr reads an address as /proc/net/tcp has it: words of the host's byte order.
func procAddr(text string) (netip.AddrPort, error) {
	ip, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(ip)
	p, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("no address: %q", text)
	}
	for i := 0; i < len(b); i += 4 {
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("no address: %q", text)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), nil
}

// connection is one that the program opened.
type connection struct {
	net.Conn
	dst netip.AddrPort
}

// Accept returns the next connection that the program opened, and where it
// wanted to go. What it says to itself over loopback is not among them.
func (b *Box) Accept() (net.Conn, netip.AddrPort, error) {
	select {
	case c := <-b.conns:
		return c.Conn, c.dst, nil
	case <-b.done:
		return nil, netip.AddrPort{}, net.ErrClosed
	}
}

// route takes the connections that the kernel redirects to us.
func (b *Box) route() {
	for {
		c, err := b.tcp.AcceptTCP()
		if err != nil {
			return // the end
		}
		dst, err := originalDst(c)
		switch {
		case err != nil:
			c.Close()
		case dst.Addr().IsLoopback():
			go b.loopback(connection{c, dst})
		default:
			b.out(connection{c, dst})
		}
	}
}

func (b *Box) out(c connection) {
	select {
	case b.conns <- c:
	case <-b.done:
		c.Close()
	}
}

// loopback joins the program with itself, if it listens there: before that was
// seen, the connection came here. Else a server outside is meant.
func (b *Box) loopback(c connection) {
	own, err := b.dial(context.Background(), message{Kind: "dial", Addr: netip.AddrPortFrom(c.dst.Addr(), 0).String(), Port: c.dst.Port(), Patience: 1})
	if err != nil {
		b.out(c)
		return
	}
	defer c.Close()
	defer own.Close()
	var wg sync.WaitGroup
	one := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // the other end sees the end
		_ = to.(*net.TCPConn).CloseWrite()
	}
	wg.Go(func() { one(own, c.Conn) })
	one(c.Conn, own)
	wg.Wait()
}

func originalDst(c *net.TCPConn) (dst netip.AddrPort, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return dst, err
	}
	local, _ := c.LocalAddr().(*net.TCPAddr)
	six := local != nil && local.IP.To4() == nil
	ctl := raw.Control(func(fd uintptr) {
		if six {
			var a *unix.IPv6MTUInfo
			if a, err = unix.GetsockoptIPv6MTUInfo(int(fd), unix.SOL_IPV6, 80); err == nil { // IP6T_SO_ORIGINAL_DST
				dst = netip.AddrPortFrom(netip.AddrFrom16(a.Addr.Addr), swap(a.Addr.Port))
			}
			return
		}
		var a *unix.IPv6Mreq // 20 bytes: a sockaddr_in fits
		if a, err = unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, 80); err == nil {
			m := a.Multiaddr
			dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(m[4:8])), uint16(m[2])<<8|uint16(m[3]))
		}
	})
	if err == nil {
		err = ctl
	}
	return dst, err
}

func swap(p uint16) uint16 { return p<<8 | p>>8 }

func listenerOf(fds []int) (*net.TCPListener, error) {
	if len(fds) != 1 {
		return nil, fmt.Errorf("sandbox: need a socket, found %d", len(fds))
	}
	f := os.NewFile(uintptr(fds[0]), "tcp")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

func packetsOf(fds []int) (*net.UDPConn, error) {
	if len(fds) != 1 {
		return nil, fmt.Errorf("sandbox: need a socket, found %d", len(fds))
	}
	f := os.NewFile(uintptr(fds[0]), "udp")
	defer f.Close()
	c, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// Packet is a DNS message of the program.
type Packet struct {
	Data   []byte
	From   netip.AddrPort // the program
	Server netip.AddrPort // whom it asked
	reply  []byte         // control message that answers from there
	conn   *net.UDPConn
}

// ReadPacket returns the next message that the program sent to port 53 of any
// address.
func (b *Box) ReadPacket() (*Packet, error) {
	buf, oob := make([]byte, 64<<10), make([]byte, 128)
	n, on, _, from, err := b.udp.ReadMsgUDPAddrPort(buf, oob)
	if err != nil {
		return nil, err
	}
	p := &Packet{Data: buf[:n], From: netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), conn: b.udp}
	parts, err := unix.ParseSocketControlMessage(oob[:on])
	if err != nil {
		return nil, err
	}
	for _, m := range parts {
		switch {
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 16:
			p.Server = netip.AddrPortFrom(netip.AddrFrom16([16]byte(m.Data[:16])).Unmap(), 53)
			if a := p.Server.Addr(); a.Is4() {
				p.reply = unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: a.As4()})
			} else {
				p.reply = unix.PktInfo6(&unix.Inet6Pktinfo{Addr: a.As16()})
			}
		}
	}
	return p, nil
}

// Answer sends b to the program, from the server that it asked.
func (p *Packet) Answer(b []byte) error {
	from := p.From
	if from.Addr().Is4() { // on a socket of IPv6
		from = netip.AddrPortFrom(netip.AddrFrom16(from.Addr().As16()), from.Port())
	}
	_, _, err := p.conn.WriteMsgUDPAddrPort(b, p.reply, from)
	return err
}
