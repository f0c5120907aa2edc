package sandbox

import (
	"encoding/json"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// message is what goes over the control socket, one in each packet.
type message struct {
	Kind     string `json:"kind"`
	ID       uint64 `json:"id,omitempty"`
	Addr     string `json:"addr,omitempty"`
	Port     uint16 `json:"port,omitempty"`
	Patience int    `json:"patience,omitempty"` // tries, 10 ms apart
	Errno    uint32 `json:"errno,omitempty"`
	Status   uint32 `json:"status,omitempty"`
	Need     string `json:"need,omitempty"`
	Found    string `json:"found,omitempty"`
	Fix      string `json:"fix,omitempty"`
}

func (m message) err() error { return &UnavailableError{Need: m.Need, Found: m.Found, Fix: m.Fix} }

func send(ctl int, m message, fds ...int) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	return unix.Sendmsg(ctl, text, oob, nil, unix.MSG_NOSIGNAL)
}

// receive returns a message, the descriptors that came with it, and who sent
// it, as this process names it.
func receive(ctl int) (m message, fds []int, pid int, err error) {
	buf, oob := make([]byte, 16<<10), make([]byte, 256)
	n, on, _, _, err := unix.Recvmsg(ctl, buf, oob, unix.MSG_CMSG_CLOEXEC)
	for err == unix.EINTR {
		n, on, _, _, err = unix.Recvmsg(ctl, buf, oob, unix.MSG_CMSG_CLOEXEC)
	}
	if err != nil {
		return m, nil, 0, err
	}
	if n == 0 {
		return m, nil, 0, io.EOF
	}
	parts, err := unix.ParseSocketControlMessage(oob[:on])
	if err != nil {
		return m, nil, 0, err
	}
	for i := range parts {
		if got, err := unix.ParseUnixRights(&parts[i]); err == nil {
			fds = append(fds, got...)
		}
		if cred, err := unix.ParseUnixCredentials(&parts[i]); err == nil {
			pid = int(cred.Pid)
		}
	}
	return m, fds, pid, json.Unmarshal(buf[:n], &m)
}

// stageOrders are what the stages are to do. They come in a file in memory.
type stageOrders struct {
	Args     []string          `json:"args"`
	Dir      string            `json:"dir"`
	Env      []string          `json:"env"`
	Binds    []Bind            `json:"binds"`
	Hermetic bool              `json:"hermetic"`
	Weak     bool              `json:"weak"`
	Show     []string          `json:"show"`
	Files    map[string][]byte `json:"files"`
	Filter   []unix.SockFilter `json:"filter"`
	Persona  uint              `json:"persona"`
	Scratch  string            `json:"scratch"`
	Own      bool              `json:"own"` // a user namespace of its own
	UID, GID int
}

func orders(c Config, scratch string) (*os.File, error) {
	fd, err := unix.MemfdCreate("orders", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "orders")
	err = json.NewEncoder(f).Encode(stageOrders{Args: c.Args, Dir: c.Dir, Env: c.Env, Binds: c.Binds, Hermetic: c.Hermetic, Weak: c.Weak, Show: c.Show, Files: c.Files,
		Filter: c.Filter, Persona: c.Persona, Scratch: scratch, Own: c.Hermetic || os.Getuid() != 0, UID: os.Getuid(), GID: os.Getgid()})
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readOrders reads by a descriptor of its own: the next stage gets this one, and
// a file of it that nobody holds is closed by the runtime.
func readOrders(fd uintptr) (o stageOrders, err error) {
	own, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return o, err
	}
	f := os.NewFile(uintptr(own), "orders")
	defer f.Close()
	if _, err = f.Seek(0, io.SeekStart); err != nil {
		return o, err
	}
	return o, json.NewDecoder(f).Decode(&o)
}
