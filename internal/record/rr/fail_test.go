package rr

import (
	"errors"
	"io/fs"
	"os/exec"
	"strings"
	"testing"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
)

// TestDiagnose has every failure in rr's own words. Those marked seen are of a
// real session, the others of rr's sources or of reports on them.
func TestDiagnose(t *testing.T) {
	const perf = "Unable to open performance counter with 'perf_event_open'; are hardware perf events available? See https://github.com/rr-debugger/rr/wiki/Will-rr-work-on-my-system"
	const backtrace = "=== Start rr backtrace:\nrr(_ZN2rr13dump_rr_stackEv+0x41)[0x67dba1]\n=== End rr backtrace\n"
	tests := []struct {
		name   string
		stderr string
		host   host
		want   error
		found  string // part of Found
		fix    string // part of Fix
	}{
		{name: "no counters, 5.6, seen", stderr: "[FATAL ./src/PerfCounters.cc:306:start_counter()] " + perf + "\n",
			want: ErrNoCounters, found: "rr 5.6.0: Unable to open performance counter", fix: "--recorder vm"},
		{name: "no counters, 5.9, seen", stderr: "[FATAL src/PerfCounters.cc:425:start_counter()] " + perf + "\n",
			want: ErrNoCounters, found: "are hardware perf events available?", fix: "--recorder vm"},
		{name: "counters denied", stderr: "[FATAL src/PerfCounters.cc:290:start_counter()] Permission denied to use 'perf_event_open'; are hardware perf events available? See https://github.com/rr-debugger/rr/wiki/Will-rr-work-on-my-system\n",
			want: ErrNoCounters, found: "Permission denied to use 'perf_event_open'", fix: "perf_event_paranoid=1"},
		{name: "counters denied in a container", host: host{container: true}, stderr: "[FATAL /src/src/PerfCounters.cc:298:start_counter() errno: EPERM] Failed to initialize counter\n" + backtrace,
			want: ErrNoCounters, found: "Failed to initialize counter", fix: "--cap-add=PERFMON"},
		{name: "counters count nothing", stderr: "[FATAL src/PerfCounters.cc:380:check_working_counters()] \nGot 0 branch events, expected at least 500.\n\nThe hardware performance counter seems to not be working. Check\nthat hardware performance counters are working by running\n  perf stat -e r5101c4 true\n",
			want: ErrNoCounters, found: "Got 0 branch events, expected at least 500.", fix: "--recorder vm"},
		{name: "Xen", stderr: "[FATAL src/PerfCounters_x86.h:312:check_for_xen_pmi_bug()] Overcount triggered by PMU interrupts detected due to Xen PMU virtualization bug.\nAborting. Retry with -F to override, but it will probably\nfail.\n",
			want: ErrNoCounters, found: "Xen PMU", fix: "--recorder vm"},
		{name: "paranoid 1, seen", stderr: "rr needs /proc/sys/kernel/perf_event_paranoid <= 1, but it is 2.\nChange it to 1, or use 'rr record -n' (slow).\nConsider putting 'kernel.perf_event_paranoid = 1' in /etc/sysctl.d/10-rr.conf.\nSee 'man 8 sysctl', 'man 5 sysctl.d' (systemd systems)\nand 'man 5 sysctl.conf' (non-systemd systems) for more details.\n",
			want: ErrParanoid, found: "perf_event_paranoid <= 1, but it is 2.", fix: "sudo sysctl -w kernel.perf_event_paranoid=1"},
		{name: "paranoid 3", stderr: "[FATAL src/PerfCounters.cc:276:start_counter()] rr needs /proc/sys/kernel/perf_event_paranoid <= 3, but it is 4.\nChange it to <= 3.\nConsider putting 'kernel.perf_event_paranoid = 3' in /etc/sysctl.d/10-rr.conf.\n",
			want: ErrParanoid, found: "<= 3, but it is 4.", fix: "sudo sysctl -w kernel.perf_event_paranoid=3"},
		{name: "paranoid unknown", stderr: "rr needs /proc/sys/kernel/perf_event_paranoid <= 1, but it is unknown.\n",
			want: ErrParanoid, found: "it is unknown.", fix: "=1"},
		{name: "AMD unknown, seen", stderr: "[FATAL ./src/PerfCounters_x86.h:114:compute_cpu_microarch()] AMD CPU type 0xf20 (ext family 0xb) unknown\n",
			want: ErrCPU, found: "rr 5.6.0: AMD CPU type 0xf20 (ext family 0xb) unknown", fix: "newer rr"},
		{name: "Intel unknown", stderr: "[FATAL src/PerfCounters_x86.h:156:compute_cpu_microarch()] Intel CPU type 0xc06f0 unknown\n",
			want: ErrCPU, found: "Intel CPU type 0xc06f0 unknown", fix: "newer rr"},
		{name: "vendor unknown", stderr: "[FATAL src/PerfCounters_x86.h:21:compute_cpu_microarch()] Unknown CPU vendor 'HygonGenuine'\n",
			want: ErrCPU, found: "'HygonGenuine'", fix: "newer rr"},
		{name: "microarchitecture unsupported, seen", stderr: "[FATAL ./src/PerfCounters.cc:448:get_pmu_microarchs()] No supported microarchitectures found.\n",
			want: ErrCPU, found: "No supported microarchitectures", fix: "--recorder vm"},
		{name: "microarchitecture forced, seen", stderr: "[FATAL ./src/PerfCounters.cc:421:get_cpu_microarchs()] Forced uarch Intel Bogus isn't known.\n",
			want: ErrCPU, found: "Intel Bogus", fix: "newer rr"},
		{name: "Zen", stderr: "[FATAL src/PerfCounters_x86.h:345:check_for_zen_speclockmap()] On Zen CPUs, rr will not work reliably unless you disable the hardware SpecLockMap optimization.\nFor instructions on how to do this, see https://github.com/rr-debugger/rr/wiki/Zen\n\n",
			want: ErrConfig, found: "SpecLockMap", fix: "zen_workaround.py"},
		{name: "SMI", stderr: "[FATAL src/PerfCounters_x86.h:377:check_for_freeze_on_smi()] Freezing performance counters on SMIs should be enabled for maximum rr\nreliability on Comet Lake and later CPUs. To manually enable this setting, run\n\techo 1 | sudo tee /sys/devices/cpu/freeze_on_smi\n",
			want: ErrConfig, found: "Freezing performance counters", fix: "freeze_on_smi"},
		{name: "CPUID faulting", stderr: "[FATAL src/RecordSession.cc:2549:RecordSession() errno: EOPNOTSUPP] CPUID faulting required to disable CPUID features\n" + backtrace,
			want: ErrConfig, found: "CPUID faulting required", fix: "leave that option out"},
		{name: "nested", stderr: "rr: cannot run rr recording under rr. Exiting.\nUse `rr record --nested=ignore` to start the child process directly.\n",
			want: ErrNested, found: "cannot run rr recording under rr", fix: "without rr"},
		{name: "ptrace denied", host: host{container: true}, stderr: "[FATAL src/Task.cc:3801:spawn() errno: EPERM] PTRACE_SEIZE failed for tid 77; child probably died before reaching SIGSTOP\nChild's message: \n" + backtrace,
			want: ErrPtrace, found: "PTRACE_SEIZE failed for tid 77", fix: "--cap-add=SYS_PTRACE --security-opt seccomp=unconfined"},
		{name: "ptrace denied by Yama", host: host{yama: 3}, stderr: "[FATAL src/Task.cc:3801:spawn() errno: EPERM] PTRACE_SEIZE failed for tid 77\n",
			want: ErrPtrace, found: "PTRACE_SEIZE", fix: "yama.ptrace_scope=1"},
		{name: "tracee died", stderr: "[FATAL src/Task.cc:3830:spawn()] Tracee died before reaching SIGSTOP\nChild's message: error opening /dev/null (ENOENT)\n",
			want: ErrPtrace, found: "Tracee died", fix: "docker run"},
		{name: "no seccomp", stderr: "[FATAL src/Task.cc:3830:spawn()] Tracee died before reaching SIGSTOP\nChild's message: prctl(NO_NEW_PRIVS) failed, SECCOMP_FILTER is not available: your kernel is too old. Use `record -n` to disable the filter. (EINVAL)\n",
			want: ErrPtrace, found: "SECCOMP_FILTER is not available", fix: "seccomp=unconfined"},
		{name: "program not found, seen", stderr: "\nexecve failed: './nope' (or interpreter) not found (ENOENT)\n",
			want: exec.ErrNotFound, found: "'./nope' (or interpreter) not found", fix: "PATH"},
		{name: "program not executable", stderr: "\nexecve of './notes.txt' failed (EACCES)\n",
			want: fs.ErrPermission, found: "'./notes.txt' failed (EACCES)", fix: "chmod +x"},
		{name: "directory exists, seen", stderr: "[FATAL ./src/TraceStream.cc:1289:make_trace_dir()] Trace directory `x4' already exists.\n",
			want: fs.ErrExist, found: "`x4' already exists"},
		{name: "disk full", stderr: "[FATAL src/CompressedWriter.cc:200:compression_thread() errno: ENOSPC] Can't write\n" + backtrace,
			want: ErrSpace, found: "Can't write", fix: "TMPDIR"},
		{name: "incomplete, seen", stderr: "\nrr: Trace file `/t/kill/incomplete' found.\nrr recording terminated abnormally and the trace is incomplete.\n\n",
			want: ErrIncomplete, found: "incomplete", fix: "SIGTERM"},
		{name: "no trace, seen", stderr: "\nrr: Trace file `traces/none/version' not found. There is no trace there.\n\n",
			want: ErrNoTrace, found: "no trace there"},
		{name: "trace not readable", stderr: "\nrr: Trace file `/t/version' not readable.\n\n",
			want: fs.ErrPermission, found: "not readable"},
		{name: "trace of another version, seen", stderr: "\nrr: error: Recorded trace `/t/version' has an incompatible version 84; expected\n           85.  Did you record `/t/version' with an older version of rr?  If so,\n           you'll need to replay `/t/version' with that older version.  Otherwise,\n           your trace is likely corrupted.\n\n",
			want: ErrTraceVersion, found: "version 84; expected 85", fix: "rr_version"},
		{name: "trace of a newer rr", stderr: "[FATAL src/ReplaySession.cc:200:ReplaySession()] This rr build is too old to replay the trace (we support forward compatibility version 2 but the trace needs 3)\n",
			want: ErrTraceVersion, found: "too old to replay", fix: "rr_version"},
		{name: "trace damaged, seen", stderr: "terminate called after throwing an instance of 'kj::ExceptionImpl'\n  what():  kj/io.c++:53: failed: expected n >= minBytes [0 >= 8]; Premature EOF\nstack: 7fc895d9de14\n",
			want: ErrDamaged, found: "Premature EOF", fix: "bundle"},
		{name: "trace without its end", stderr: "[FATAL src/ReplaySession.cc:100:f()] Unable to find TraceTaskEvent; trace is corrupt (did you kill -9 rr?)\n",
			want: ErrDamaged, found: "kill -9"},
		{name: "trace not packed", stderr: "[FATAL ../src/TraceStream.cc:1030:read_mapped_region() errno: ENOENT] Failed to stat /usr/lib/x86_64-linux-gnu/ld-2.31.so: replay is impossible\n" + backtrace,
			want: ErrDamaged, found: "ld-2.31.so: replay is impossible", fix: "rr pack"},
		{name: "another CPU", stderr: "[FATAL src/ReplaySession.cc:190:ReplaySession()] Trace was recorded on a machine with different CPUID values\n",
			want: ErrOtherCPU, found: "different CPUID values", fix: "same CPU family"},
		{name: "no CPUID faulting", stderr: "[FATAL ../../src/ReplaySession.cc:187:ReplaySession()] Trace was recorded with CPUID faulting enabled, but this\nsystem does not support CPUID faulting.\n",
			want: ErrOtherCPU, found: "CPUID faulting enabled", fix: "same CPU family"},
		{name: "half an installation", stderr: "[FATAL src/AddressSpace.cc:90:f() errno: ENOENT] Failed to open rrpage library /usr/lib/rr/librrpage.so\n",
			want: ErrInstall, found: "librrpage.so", fix: "install rr"},
		{name: "unknown fatal", stderr: "warning\n[FATAL src/Scheduler.cc:12:f() errno: EIO] Something new\n" + backtrace,
			want: ErrCrashed, found: "rr 5.6.0: Something new"},
		{name: "unknown words", stderr: "a\nlast words\n", want: ErrCrashed, found: "rr 5.6.0: last words"},
		{name: "silence", want: ErrCrashed, found: "exit code 3 and no message"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := diagnose(tt.host, "5.6.0", 3, []byte(tt.stderr))
			var m *exttool.Missing
			if !errors.As(err, &m) {
				t.Fatalf("got %T %v, want a Missing", err, err)
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("wraps %v, want %v", m.Err, tt.want)
			}
			if m.Need == "" || !strings.Contains(m.Found, tt.found) {
				t.Errorf("need %q, found %q, want %q in it", m.Need, m.Found, tt.found)
			}
			if !strings.Contains(m.Fix, tt.fix) {
				t.Errorf("fix %q, want %q in it", m.Fix, tt.fix)
			}
			if strings.ContainsAny(m.Found+m.Fix+m.Need, "\n\t") || strings.Contains(m.Found, "[FATAL") || strings.Contains(m.Found, "_ZN2rr") {
				t.Errorf("found %q: not one plain line", m.Found)
			}
		})
	}
	// Every row of the table has a test.
	for _, f := range failures {
		hit := false
		for _, tt := range tests {
			hit = hit || f.says.MatchString(tt.stderr) && errors.Is(tt.want, f.err)
		}
		if !hit {
			t.Errorf("no test for %v (%s)", f.err, f.says)
		}
	}
}

func TestDivergence(t *testing.T) {
	const said = "[FATAL /home/roc/rr/rr/src/ReplaySession.cc:945:check_ticks_consistency() errno: SUCCESS]\n (task 15597 (rec:29537) at time 19)\n -> Assertion `ticks_now == trace_ticks' failed to hold. ticks mismatch for 'SYSCALL: access'; expected 817, got 818\n=== Start rr backtrace:\nrr(_ZN2rr13dump_rr_stackEv+0x28)[0x554cb8]\n"
	err := diagnoseReplay(host{}, "5.6.0", 134, []byte(said))
	var d *DivergedError
	if !errors.As(err, &d) || !errors.Is(err, ErrDiverged) {
		t.Fatalf("got %v", err)
	}
	if d.Event != 19 || d.Task != 29537 || !strings.HasSuffix(d.Text, "expected 817, got 818") {
		t.Errorf("got %+v", d)
	}
	if !crashed([]byte(said)) {
		t.Error("not taken for rr's own failure")
	}
	// While recording, the same words are a failure of rr's.
	if err := diagnose(host{}, "5.6.0", 134, []byte(said)); !errors.Is(err, ErrCrashed) {
		t.Errorf("recording: %v", err)
	}
}

func TestCrashed(t *testing.T) {
	for said, want := range map[string]bool{
		"[FATAL ./src/PerfCounters.cc:306:start_counter()] Unable":                 true,
		"x\n[FATAL src/PerfCounters_x86.h:114:compute() errno: EPERM] Failed":      true,
		"rr itself crashed (SIGSEGV). This shouldn't happen!\n":                    true,
		"[FATAL] the program's own log line":                                       false,
		"[FATAL main.go:12] out of cheese":                                         false,
		"x [FATAL ./src/PerfCounters.cc:306:start_counter()] not a line's start":   false,
		"Assertion failed: x (hello.c: main: 6)\nAborted\n":                        false,
		"F1122 08:23:00.000000 12 main.cc:12] Check failed: x > 0\n":               false,
		"terminate called after throwing an instance of 'std::runtime_error'\n":    false,
		"[FATAL  2025-01-01] src/x.cc:12:f()] a logger that looks a bit like rr's": false,
	} {
		if got := crashed([]byte(said)); got != want {
			t.Errorf("%q: %v, want %v", said, got, want)
		}
	}
}
