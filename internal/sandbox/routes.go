package sandbox

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// routes brings loopback up and makes every address of both families local.
func routes() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const loopback = 1 // the index of lo, in every new namespace
	up := make([]byte, unix.SizeofIfInfomsg)
	*(*unix.IfInfomsg)(unsafe.Pointer(&up[0])) = unix.IfInfomsg{Index: loopback, Flags: unix.IFF_UP, Change: unix.IFF_UP}
	if err := ask(fd, unix.RTM_NEWLINK, 0, up); err != nil {
		return err
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		r := make([]byte, unix.SizeofRtMsg)
		*(*unix.RtMsg)(unsafe.Pointer(&r[0])) = unix.RtMsg{Family: family, Table: unix.RT_TABLE_LOCAL, Protocol: unix.RTPROT_STATIC, Scope: unix.RT_SCOPE_HOST, Type: unix.RTN_LOCAL}
		oif := make([]byte, 8)
		binary.NativeEndian.PutUint16(oif, 8)
		binary.NativeEndian.PutUint16(oif[2:], unix.RTA_OIF)
		binary.NativeEndian.PutUint32(oif[4:], loopback)
		err := ask(fd, unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, append(r, oif...))
		if err != nil && family == unix.AF_INET { // a kernel may be without IPv6
			return err
		}
	}
	return nil
}

// ask sends one request to the kernel and waits for its yes or no.
func ask(fd int, kind, flags uint16, body []byte) error {
	b := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
	*(*unix.NlMsghdr)(unsafe.Pointer(&b[0])) = unix.NlMsghdr{Len: uint32(unix.SizeofNlMsghdr + len(body)), Type: kind, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK | flags, Seq: 1}
	if err := unix.Sendto(fd, append(b, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	reply := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, reply, 0)
	if err != nil {
		return err
	}
	if n < unix.SizeofNlMsghdr+4 {
		return unix.EPROTO
	}
	if e := int32(binary.NativeEndian.Uint32(reply[unix.SizeofNlMsghdr:])); e != 0 {
		return unix.Errno(-e)
	}
	return nil
}
