package vm

import (
	"fmt"
	"strconv"
)

// Machine is the shape of the guest. A recording replays only on the shape it
// was made on, so it is part of the recording.
type Machine struct {
	Memory int    `json:"memory_mib"`
	Shift  int    `json:"icount_shift"` // an instruction takes 1<<Shift nanoseconds of the guest's time
	CPU    string `json:"cpu"`          // QEMU's name of the model, and features that it lacks
}

// DefaultMachine runs Java and Node without being told more memory. Without
// the two features, kernel and libraries clear and copy memory in words or
// vectors: what is quick for a processor, byte by byte, is slow for QEMU.
func DefaultMachine() Machine { return Machine{Memory: 1024, Shift: 3, CPU: "max,erms=off,fsrm=off"} }

// bootLine is the kernel's command line. Addresses are not randomised, so that
// symbols are where the files say; mitigations cost time and protect nothing
// here, and neither do security modules that have no rules. Yama and Landlock
// are kept, since programs can see them.
const bootLine = "console=ttyS0 quiet panic=-1 nokaslr norandmaps tsc=reliable mitigations=off random.trust_cpu=on " +
	"tsc_early_khz=1000000 no_timer_check cryptomgr.notests init_on_alloc=0 audit=0 apparmor=0 integrity_audit=0 ima=off lsm=yama,landlock psi=0 cgroup_disable=memory"

const consolePort = 0x402 // CONSOLE_PORT in guest/proto.h

// args is the part of QEMU's command line that never differs between the boot,
// the recording and the replay.
func (m Machine) args(icount string) []string {
	return []string{
		"-machine", "microvm,x-option-roms=off,pit=on,pic=on,rtc=on,acpi=on",
		"-accel", "tcg", "-cpu", m.CPU,
		"-icount", "shift=" + strconv.Itoa(m.Shift) + icount,
		"-m", strconv.Itoa(m.Memory),
		"-display", "none", "-no-reboot", "-no-user-config", "-nodefaults", "-net", "none",
		"-global", "apic.vapic=off", // reverse execution deadlocks with it
		"-device", fmt.Sprintf("isa-debugcon,iobase=%#x,chardev=con", consolePort),
	}
}

// files are where the guest's init and its kernel write.
func files(console, serial string) []string {
	return []string{"-chardev", "file,id=con,path=" + escape(console), "-serial", "file:" + serial}
}

// disk attaches the program's files. Both nodes must be read-only, or QEMU
// would replay against a disk that the recording changed.
func disk(image, aio string) []string {
	return []string{
		"-drive", "file=" + escape(image) + ",format=raw,if=none,id=world,readonly=on,aio=" + aio,
		"-drive", "driver=blkreplay,if=none,image=world,id=worldrr,readonly=on",
		"-device", "virtio-blk-device,drive=worldrr",
	}
}

// snapshot attaches the snapshot's file. QEMU writes to it even to load it, so
// the file that it sees is made of base, which stays as it is, and a scratch
// file of the machine's own: an image of an image.
func snapshot(base, scratch, aio string) []string {
	return []string{"-drive", "if=none,id=snap,driver=qcow2,file.driver=qcow2" +
		",file.file.driver=file,file.file.aio=" + aio + ",file.file.filename=" + escape(scratch) +
		",file.backing.driver=raw,file.backing.read-only=on" +
		",file.backing.file.driver=file,file.backing.file.aio=" + aio + ",file.backing.file.filename=" + escape(base)}
}

// escape doubles commas, which separate options in QEMU's arguments.
func escape(s string) string {
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		if s[i] == ',' {
			out = append(out, ',')
		}
		out = append(out, s[i])
	}
	return string(out)
}
