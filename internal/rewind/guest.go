package rewind

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Guest is what must be known of the kernel inside a recording to see its
// processes and threads from outside: a Linux kernel for x86-64 with one CPU
// and without address randomisation.
type Guest struct {
	Symbols map[string]uint64 `json:"symbols"` // addresses, from kallsyms: GuestSymbols
	Offsets map[string]int    `json:"offsets"` // of members, from BTF: GuestOffsets
}

// GuestSymbols are the kernel symbols that [Guest] must give.
func GuestSymbols() []string {
	return []string{"__per_cpu_offset", "current_task", "do_coredump", "do_group_exit", "start_thread"}
}

// GuestOffsets are the members, as STRUCT.MEMBER, that [Guest] must give.
func GuestOffsets() []string {
	return []string{
		"dentry.d_name", "dentry.d_parent", "file.f_path", "mm_struct.exe_file", "mm_struct.pgd",
		"mm_struct.saved_auxv", "path.dentry", "qstr.name", "signal_struct.thread_head", "task_struct.comm",
		"task_struct.exit_state", "task_struct.mm", "task_struct.pid", "task_struct.signal", "task_struct.stack",
		"task_struct.tgid", "task_struct.thread", "task_struct.thread_node", "thread_struct.fsbase",
		"thread_struct.gsbase",
	}
}

func (g Guest) check() error {
	for _, name := range GuestSymbols() {
		if _, ok := g.Symbols[name]; !ok {
			return fmt.Errorf("the recording doesn't say where the kernel's %s is", name)
		}
	}
	for _, name := range GuestOffsets() {
		if _, ok := g.Offsets[name]; !ok {
			return fmt.Errorf("the recording doesn't say where the kernel keeps %s", name)
		}
	}
	return nil
}

const (
	directMap   = 0xffff888000000000 // all of the guest's memory, without address randomisation
	kernelStack = 16 << 10           // THREAD_SIZE
	ptRegsSize  = 21 * 8
	maxThreads  = 4096
	taskMM      = "task_struct.mm"
)

// task is a thread of the guest, as its kernel keeps it.
type task struct {
	addr     uint64 // of the task_struct
	pid      int    // as gdb and the user count: one per thread
	tgid     int    // the process
	comm     string
	mm       uint64 // 0 for a kernel thread and for a dead one
	pgd      uint64 // virtual address of the page table
	onCPU    bool
	inKernel bool
}

// cr3 is the value of the register while the task's address space is in use.
func (t task) cr3() uint64 { return t.pgd - directMap }

// kernel reads the guest kernel's data at the machine's present position.
type kernel struct {
	*stub
	guest Guest
}

func (k kernel) off(name string) uint64 { return uint64(k.guest.Offsets[name]) }

func (k kernel) ptr(ctx context.Context, base uint64, member string) (uint64, error) {
	return k.u64(ctx, base+k.off(member))
}

// current returns the task that is on the CPU.
func (k kernel) current(ctx context.Context) (task, error) {
	base, err := k.u64(ctx, k.guest.Symbols["__per_cpu_offset"])
	if err != nil {
		return task{}, err
	}
	addr, err := k.u64(ctx, base+k.guest.Symbols["current_task"])
	if err != nil {
		return task{}, err
	}
	t, err := k.readTask(ctx, addr)
	if err != nil {
		return task{}, err
	}
	t.onCPU = true
	cs, err := k.reg(ctx, "cs")
	t.inKernel = cs&3 == 0
	return t, err
}

func (k kernel) readTask(ctx context.Context, addr uint64) (task, error) {
	t := task{addr: addr, inKernel: true}
	pid, err := k.u32(ctx, addr+k.off("task_struct.pid"))
	if err != nil {
		return t, err
	}
	tgid, err := k.u32(ctx, addr+k.off("task_struct.tgid"))
	if err != nil {
		return t, err
	}
	t.pid, t.tgid = int(pid), int(tgid)
	if t.comm, err = k.text(ctx, addr+k.off("task_struct.comm"), 16); err != nil {
		return t, err
	}
	if t.mm, err = k.ptr(ctx, addr, taskMM); err != nil || t.mm == 0 {
		return t, err
	}
	t.pgd, err = k.ptr(ctx, t.mm, "mm_struct.pgd")
	return t, err
}

// execs tells whether another thread of this one's process is about to run
// another program, which ends this one. Of a recording that does not tell where
// to look, it is not known.
func (k kernel) execs(ctx context.Context, t task) (bool, error) {
	for _, member := range []string{"signal_struct.group_exec_task", "signal_struct.group_exit_task"} {
		if _, ok := k.guest.Offsets[member]; !ok {
			continue
		}
		signal, err := k.ptr(ctx, t.addr, "task_struct.signal")
		if err != nil {
			return false, err
		}
		who, err := k.ptr(ctx, signal, member)
		return who != 0, err
	}
	return false, nil
}

// threads returns the living threads of the process that t belongs to.
func (k kernel) readThreads(ctx context.Context, t task) ([]task, error) {
	now, err := k.current(ctx)
	if err != nil {
		return nil, err
	}
	signal, err := k.ptr(ctx, t.addr, "task_struct.signal")
	if err != nil {
		return nil, err
	}
	head := signal + k.off("signal_struct.thread_head")
	var out []task
	node := head
	for range maxThreads {
		if node, err = k.u64(ctx, node); err != nil {
			return nil, err
		}
		if node == head {
			return out, nil
		}
		addr := node - k.off("task_struct.thread_node")
		if addr == now.addr {
			out = append(out, now)
			continue
		}
		one, err := k.readTask(ctx, addr)
		if err != nil {
			return nil, err
		}
		state, err := k.u32(ctx, addr+k.off("task_struct.exit_state"))
		if err != nil {
			return nil, err
		}
		if state == 0 && one.mm != 0 {
			out = append(out, one)
		}
	}
	return nil, fmt.Errorf("process %d has more than %d threads, or its list is damaged", t.tgid, maxThreads)
}

// userRegs are the registers of a thread in user mode. For a thread that is in
// the kernel they are what it will return with.
type userRegs struct {
	gpr                     [16]uint64 // rax rbx rcx rdx rsi rdi rbp rsp r8-r15
	rip, flags              uint64
	cs, ss                  uint64
	origRax, fsBase, gsBase uint64
	fpu                     []byte // st0-7, control words, xmm0-15, mxcsr as the stub gives them; nil if not known
}

// gprNames is the order of the target description.
var gprNames = [16]string{"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"}

// gprInFrame is where the kernel's entry code keeps each of gprNames: an index
// of 64-bit words in struct pt_regs.
var gprInFrame = [16]int{10, 5, 11, 12, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0}

// errNoUserRegs is a thread whose user registers aren't saved: a kernel thread,
// or one in the first instructions of an entry to the kernel.
var errNoUserRegs = errors.New("the thread's user registers aren't saved at this position")

func (k kernel) userRegs(ctx context.Context, t task) (userRegs, error) {
	var u userRegs
	if t.onCPU {
		if err := k.readRegs(ctx); err != nil {
			return u, err
		}
		from, to := k.layout["st0"], k.layout["mxcsr"]
		if to.off+to.size > from.off {
			u.fpu = k.regs[from.off : to.off+to.size]
		}
	}
	if t.onCPU && !t.inKernel {
		for i, name := range gprNames {
			u.gpr[i], _ = k.reg(ctx, name)
		}
		u.rip, _ = k.reg(ctx, "rip")
		u.flags, _ = k.reg(ctx, "eflags")
		u.cs, _ = k.reg(ctx, "cs")
		u.ss, _ = k.reg(ctx, "ss")
		u.fsBase, _ = k.reg(ctx, "fs_base")
		u.gsBase, _ = k.reg(ctx, "gs_base")
		u.origRax = ^uint64(0)
		return u, nil
	}
	stack, err := k.ptr(ctx, t.addr, "task_struct.stack")
	if err != nil {
		return u, err
	}
	frame, err := k.memory(ctx, stack+kernelStack-ptRegsSize, ptRegsSize)
	if err != nil {
		return u, err
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(frame[8*i:]) }
	for i := range u.gpr {
		u.gpr[i] = word(gprInFrame[i])
	}
	u.origRax, u.rip, u.cs, u.flags, u.ss = word(15), word(16), word(17), word(18), word(20)
	if u.cs&3 != 3 {
		return u, errNoUserRegs
	}
	thread := t.addr + k.off("task_struct.thread")
	if t.onCPU {
		u.fsBase, _ = k.reg(ctx, "fs_base")
		u.gsBase, _ = k.reg(ctx, "k_gs_base")
		return u, nil
	}
	if u.fsBase, err = k.ptr(ctx, thread, "thread_struct.fsbase"); err != nil {
		return u, err
	}
	u.gsBase, err = k.ptr(ctx, thread, "thread_struct.gsbase")
	return u, err
}

// inSyscall tells whether the saved registers are those of a system call.
func (u userRegs) inSyscall() bool { return int64(u.origRax) >= 0 }

// translate walks the page table at pgd. It returns the address in the direct
// map that holds the same byte.
func (k kernel) translate(ctx context.Context, pgd, addr uint64) (uint64, error) {
	const present, large = 1, 1 << 7
	table := pgd
	for shift := 39; ; shift -= 9 {
		entry, err := k.u64(ctx, table+(addr>>shift&0x1ff)*8)
		if err != nil {
			return 0, err
		}
		frame := entry & 0x000ffffffffff000
		switch {
		case entry&present == 0:
			return 0, fmt.Errorf("%#x: %w", addr, errUnmapped)
		case shift == 12:
			return directMap + frame + addr&(pageSize-1), nil
		case entry&large != 0 && shift <= 30:
			mask := uint64(1)<<shift - 1
			return directMap + frame&^mask + addr&mask, nil
		}
		table = directMap + frame
	}
}

// userMemory reads memory of the process whose page table is pgd, whatever
// process is on the CPU. It returns what is there before the first page that is
// not, and an error only if that is nothing.
func (k kernel) userMemory(ctx context.Context, pgd, addr uint64, size int) ([]byte, error) {
	var out []byte
	for size > 0 {
		n := min(size, pageSize-int(addr&(pageSize-1)))
		at, err := k.translate(ctx, pgd, addr)
		if err == nil {
			var part []byte
			part, err = k.memory(ctx, at, n)
			out = append(out, part...)
		}
		if err != nil {
			if len(out) > 0 && errors.Is(err, errUnmapped) {
				return out, nil
			}
			return nil, err
		}
		addr, size = addr+uint64(n), size-n
	}
	return out, nil
}

// exePath returns the path of the process's program, from the root of the file
// system that holds it.
func (k kernel) exePath(ctx context.Context, t task) (string, error) {
	if t.mm == 0 {
		return "", fmt.Errorf("process %d has no program", t.tgid)
	}
	file, err := k.ptr(ctx, t.mm, "mm_struct.exe_file")
	if err != nil {
		return "", err
	}
	dentry, err := k.u64(ctx, file+k.off("file.f_path")+k.off("path.dentry"))
	if err != nil {
		return "", err
	}
	mnt, err := k.u64(ctx, file+k.off("file.f_path")+k.off("path.mnt"))
	if err != nil {
		return "", err
	}
	var parts []string
	for range 64 {
		on, under, err := k.mountedOn(ctx, mnt, dentry)
		if err != nil {
			return "", err
		}
		if under != 0 {
			dentry, mnt = on, under
			continue
		}
		parent, err := k.ptr(ctx, dentry, "dentry.d_parent")
		if err != nil {
			return "", err
		}
		if parent == dentry {
			slices.Reverse(parts)
			return "/" + path.Join(parts...), nil
		}
		at, err := k.u64(ctx, dentry+k.off("dentry.d_name")+k.off("qstr.name"))
		if err != nil {
			return "", err
		}
		name, err := k.text(ctx, at, 256)
		if err != nil {
			return "", err
		}
		if name == "" || strings.Contains(name, "/") {
			return "", fmt.Errorf("process %d: its program's path is damaged", t.tgid)
		}
		parts, dentry = append(parts, name), parent
	}
	return "", fmt.Errorf("process %d: its program's path is too deep", t.tgid)
}

// mountedOn goes from the root of a mount to where it is mounted: the folder and
// the mount that has it. It is 0, 0 for another folder, for what is mounted
// nowhere, and in a recording that does not tell where to look.
func (k kernel) mountedOn(ctx context.Context, mnt, dentry uint64) (on, under uint64, err error) {
	at, ok := k.guest.Offsets["mount.mnt"]
	if !ok {
		return 0, 0, nil
	}
	root, err := k.ptr(ctx, mnt, "vfsmount.mnt_root")
	if err != nil || root != dentry {
		return 0, 0, err
	}
	mount := mnt - uint64(at)
	parent, err := k.ptr(ctx, mount, "mount.mnt_parent")
	if err != nil || parent == mount {
		return 0, 0, err
	}
	on, err = k.ptr(ctx, mount, "mount.mnt_mountpoint")
	return on, parent + uint64(at), err
}

// auxv returns the auxiliary vector that the process was started with.
func (k kernel) auxv(ctx context.Context, t task) ([]byte, error) {
	var out []byte
	for range 64 {
		pair, err := k.memory(ctx, t.mm+k.off("mm_struct.saved_auxv")+uint64(len(out)), 16)
		if err != nil {
			return nil, err
		}
		out = append(out, pair...)
		if binary.LittleEndian.Uint64(pair) == 0 {
			break
		}
	}
	return out, nil
}
