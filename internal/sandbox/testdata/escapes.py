"""Tries to leave the sandbox; prints a line for each way."""
import ctypes, fcntl, os, socket, sys

libc = ctypes.CDLL(None, use_errno=True)
here = sys.argv[1]


def attempt(name, f):
    try:
        print("ESCAPED", name, f())
    except Exception as e:
        print("closed", name, e)


def call(nr, *args):
    r = libc.syscall(nr, *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if r < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return r


def unix(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(2)
    s.connect(path)


buf = ctypes.create_string_buffer(256)
attempt("unix socket by path", lambda: unix(here + "/host.sock"))
attempt("abstract unix socket", lambda: unix("\0tapedeck-test-escape"))
attempt("raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
attempt("packet socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM, 0))
attempt("alg socket", lambda: socket.socket(38, 5, 0))
attempt("netfilter netlink", lambda: socket.socket(16, 3, 12))
attempt("audit netlink", lambda: socket.socket(16, 3, 9))
attempt("ptrace of pid 1", lambda: call(101, 16, 1, 0, 0))
attempt("memory of pid 1", lambda: open("/proc/1/mem", "rb").read(1))
attempt("root of pid 1", lambda: os.listdir("/proc/1/root"))
attempt("environment of pid 1", lambda: open("/proc/1/environ").read(20))
attempt("descriptors of pid 1", lambda: os.readlink("/proc/1/fd/3"))
attempt("/proc/sys/kernel/hostname", lambda: open("/proc/sys/kernel/hostname", "w").write("x"))
attempt("/proc/sys/net", lambda: open("/proc/sys/net/ipv4/ip_forward", "w").write("1"))
attempt("/proc/sysrq-trigger", lambda: open("/proc/sysrq-trigger", "w").write("h"))
attempt("/proc/kcore", lambda: open("/proc/kcore", "rb").read(4)[0])
attempt("new user and network namespace", lambda: call(272, 0x10000000 | 0x40000000))
attempt("clone with a new user namespace", lambda: call(56, 0x10000000 | 17, 0, 0, 0, 0))
attempt("clone3", lambda: call(435, buf, 88))
attempt("mount", lambda: call(165, b"t", b"/tmp", b"tmpfs", 0, 0))
attempt("umount", lambda: call(166, b"/etc/services", 2))
attempt("setns", lambda: call(308, 0, 0))
attempt("open_by_handle_at", lambda: call(304, -100, buf, 0))
attempt("bpf", lambda: call(321, 0, buf, 64))
attempt("io_uring", lambda: call(425, 8, buf))
attempt("perf_event_open", lambda: call(298, buf, 0, -1, -1, 0))
attempt("userfaultfd", lambda: call(323, 1))
attempt("x32 system call", lambda: call(0x40000000 | 39))
attempt("TIOCSTI", lambda: fcntl.ioctl(0, 0x5412, b"x"))
attempt("/etc/shadow", lambda: open("/etc/shadow").read(4))
attempt("/root", lambda: os.listdir("/root")[0])
attempt("a file on the host", lambda: open("/usr/x", "w"))
attempt("the stages' executable", lambda: open("/.tapedeck/stage", "rb").read(1))
attempt("inherited descriptors", lambda: [f for f in os.listdir("/proc/self/fd") if int(f) > 2 and os.path.exists("/proc/self/fd/" + f) and "/proc/" not in os.readlink("/proc/self/fd/" + f)][0] + " " + str([os.readlink("/proc/self/fd/" + f) for f in os.listdir("/proc/self/fd")]))
if libc.syscall(272, 0x10000000) == 0:
    print("ESCAPED unshare")
if open("/proc/sys/kernel/random/boot_id").read().strip() != "00000000-0000-4000-8000-000000000000":
    print("ESCAPED the machine's boot id is seen")
