package sandbox

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// A datagram to a port at which nothing listens is answered by the kernel with
// an ICMP message that quotes it. This package listens to these: so it costs
// nothing for datagrams that arrive, and the program sees what it would see
// without us, a refusal.

// refusals makes two sockets inside that receive these messages of both
// families, and nothing else; the second is -1 if the kernel is without IPv6.
func refusals() (four, six int, err error) {
	const typ = unix.SOCK_RAW | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	if four, err = unix.Socket(unix.AF_INET, typ, unix.IPPROTO_ICMP); err != nil {
		return -1, -1, err
	}
	const filter4 = 1 // ICMP_FILTER: a bit for each type that is not wanted
	if err = unix.SetsockoptInt(four, unix.SOL_RAW, filter4, ^(1 << unreachable4)); err != nil {
		unix.Close(four)
		return -1, -1, err
	}
	if six, err = unix.Socket(unix.AF_INET6, typ, unix.IPPROTO_ICMPV6); errors.Is(err, unix.EAFNOSUPPORT) {
		return four, -1, nil
	}
	if err == nil {
		var f unix.ICMPv6Filter
		for i := range f.Data {
			f.Data[i] = ^uint32(0)
		}
		f.Data[0] &^= 1 << unreachable6
		err = unix.SetsockoptICMPv6Filter(six, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &f)
	}
	if err != nil {
		unix.Close(four)
		return -1, -1, err
	}
	return four, six, nil
}

// Types of the message "destination unreachable".
const (
	unreachable4 = 3
	unreachable6 = 1
)

// readRefusals passes on what was refused, until the socket is closed.
func (b *Box) readRefusals(f *os.File, six bool) {
	buf := make([]byte, 2048)
	for {
		n, err := f.Read(buf)
		if err != nil {
			return
		}
		refused := refused4
		if six {
			refused = refused6
		}
		if to, ok := refused(buf[:n]); ok {
			select {
			case b.misses <- to:
			default: // nobody takes them
			}
		}
	}
}

// refused4 is where the datagram was to go that an ICMP message, with its IP
// header, says was refused.
func refused4(p []byte) (to netip.AddrPort, ok bool) {
	const portUnreachable = 3
	icmp, ok := past4(p, unix.IPPROTO_ICMP)
	if !ok || len(icmp) < 8 || icmp[0] != unreachable4 || icmp[1] != portUnreachable {
		return to, false
	}
	quoted := icmp[8:]
	udp, ok := past4(quoted, unix.IPPROTO_UDP)
	if !ok || len(udp) < 4 {
		return to, false
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(quoted[16:20])), binary.BigEndian.Uint16(udp[2:])), true
}

// past4 is what follows an IPv4 header.
func past4(p []byte, protocol byte) ([]byte, bool) {
	if len(p) < 20 || p[0]>>4 != 4 || p[9] != protocol {
		return nil, false
	}
	header := int(p[0]&0xf) * 4
	if header < 20 || len(p) < header {
		return nil, false
	}
	return p[header:], true
}

// refused6 is the same of an ICMPv6 message; these come without their header.
func refused6(p []byte) (to netip.AddrPort, ok bool) {
	const portUnreachable, header = 4, 40
	if len(p) < 8+header+4 || p[0] != unreachable6 || p[1] != portUnreachable {
		return to, false
	}
	quoted := p[8:]
	if quoted[0]>>4 != 6 || quoted[6] != unix.IPPROTO_UDP { // one with further headers is no plain datagram
		return to, false
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(quoted[24:40])), binary.BigEndian.Uint16(quoted[header+2:])), true
}

// Refused tells where the program sent datagrams that nothing took: to any port
// but 53 at which it does not listen itself. It is closed at the end.
func (b *Box) Refused() <-chan netip.AddrPort { return b.misses }
