package sandbox

import (
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// answerDials connects to the program as the parent asks, from within.
func answerDials() {
	var wg sync.WaitGroup
	for {
		m, _, _, err := receive(ctlFD)
		if err != nil {
			break
		}
		wg.Go(func() {
			fd, errno := dialInside(m)
			reply := message{Kind: "dialled", ID: m.ID, Errno: uint32(errno)}
			if errno != 0 {
				_ = send(ctlFD, reply)
				return
			}
			_ = send(ctlFD, reply, fd)
			unix.Close(fd)
		})
	}
	wg.Wait()
	os.Exit(125) // the parent is gone
}

func dialInside(m message) (int, syscall.Errno) {
	from, err := netip.ParseAddrPort(m.Addr)
	if err != nil {
		return -1, syscall.EINVAL
	}
	last := syscall.ECONNREFUSED
	for range max(1, m.Patience) {
		for _, to := range listeningAt(m.Port) {
			fd, e := connectInside(from, to)
			if e == 0 {
				return fd, 0
			}
			last = e
		}
		if m.Patience > 1 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	return -1, last
}

// listeningAt are the addresses at which the program listens on a port. Loopback
// stands for all of them.
func listeningAt(port uint16) (at []netip.AddrPort) {
	for _, file := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		sockets, _ := readSockets(file) // a kernel may be without IPv6
		for _, s := range sockets {
			if !s.listens || s.local.Port() != port {
				continue
			}
			switch ip := s.local.Addr(); {
			case ip == netip.IPv4Unspecified():
				at = append(at, netip.AddrPortFrom(loopback4(), port))
			case ip == netip.IPv6Unspecified(): // of both families, but if it was told not to be
				at = append(at, netip.AddrPortFrom(loopback4(), port), netip.AddrPortFrom(netip.IPv6Loopback(), port))
			default:
				at = append(at, s.local)
			}
		}
	}
	return at
}

func loopback4() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// connectInside binds to the peer's own address, which is local here as every
// address is, and connects to the program. A peer of the other family comes from
// loopback.
func connectInside(from, to netip.AddrPort) (int, syscall.Errno) {
	ip, family := from.Addr().Unmap(), unix.AF_INET
	if to.Addr().Is6() {
		family = unix.AF_INET6
	}
	if ip.Is4() != to.Addr().Is4() {
		ip = loopback4()
		if to.Addr().Is6() {
			ip = netip.IPv6Loopback()
		}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, ownMark)
		if to.Addr().Is6() { // a route alone does not make an address ours to bind to
			_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
		}
		if from.Port() != 0 || !ip.IsLoopback() {
			err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(ip, from.Port())))
		}
		if err == nil {
			err = unix.Connect(fd, sockaddr(to))
		}
		if err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		e, _ := err.(syscall.Errno)
		return -1, e
	}
	return fd, 0
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
