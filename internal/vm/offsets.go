package vm

import (
	"debug/elf"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// members are what a debugger reads of the guest's kernel to see its processes
// and threads from outside.
var members = []string{
	"dentry.d_name", "dentry.d_parent", "file.f_path", "mm_struct.exe_file", "mm_struct.pgd",
	"mm_struct.saved_auxv", "path.dentry", "qstr.name", "signal_struct.thread_head", "task_struct.comm",
	"task_struct.exit_state", "task_struct.mm", "task_struct.pid", "task_struct.signal", "task_struct.stack",
	"task_struct.tgid", "task_struct.thread", "task_struct.thread_node", "thread_struct.fsbase",
	"thread_struct.gsbase",
}

// optional are members that a debugger does without; the last two are one, as
// kernels before and after 5.17 name it.
var optional = []string{"mount.mnt", "mount.mnt_mountpoint", "mount.mnt_parent", "path.mnt", "vfsmount.mnt_root",
	"signal_struct.group_exec_task", "signal_struct.group_exit_task"}

// memberOffsets reads the offsets of members, in bytes, from the type
// information that the kernel carries.
func memberOffsets(vmlinux string) (map[string]int, error) {
	f, err := elf.Open(vmlinux)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := f.Section(".BTF")
	if s == nil {
		return nil, fmt.Errorf("%s has no type information (.BTF)", vmlinux)
	}
	spec, err := btf.LoadSpecFromReader(s)
	if err != nil {
		return nil, err
	}
	offsets := map[string]int{}
	for _, name := range slices.Concat(members, optional) {
		parent, member, _ := strings.Cut(name, ".")
		var t *btf.Struct
		if err := spec.TypeByName(parent, &t); err != nil {
			return nil, fmt.Errorf("kernel type %s: %w", parent, err)
		}
		at, ok := findMember(t.Members, member)
		if !ok && slices.Contains(optional, name) {
			continue
		}
		if !ok {
			return nil, fmt.Errorf("the kernel's %s has no member %s", parent, member)
		}
		offsets[name] = at
	}
	return offsets, nil
}

// findMember looks for a member, in unnamed structs and unions too.
func findMember(list []btf.Member, name string) (int, bool) {
	for _, m := range list {
		at := int(m.Offset.Bytes())
		if m.Name == name {
			return at, true
		}
		if m.Name != "" {
			continue
		}
		var inner []btf.Member
		switch t := btf.UnderlyingType(m.Type).(type) {
		case *btf.Struct:
			inner = t.Members
		case *btf.Union:
			inner = t.Members
		}
		if in, ok := findMember(inner, name); ok {
			return at + in, true
		}
	}
	return 0, false
}
