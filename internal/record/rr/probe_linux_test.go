package rr

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
)

const (
	version56 = "$ rr --version\nrr version 5.6.0\n[exit 0]\n\n$ rr record --help\n[print! help-5.6.txt]\n[exit 1]\n"
	version59 = "$ rr --version\nrr version 5.9.0 \n[exit 0]\n\n$ rr record --help\n[print! help-5.9-software.txt]\n[exit 1]\n"

	noCounters = "! [FATAL ./src/PerfCounters.cc:306:start_counter()] Unable to open performance counter with 'perf_event_open'; are hardware perf events available? See https://github.com/rr-debugger/rr/wiki/Will-rr-work-on-my-system\n[trace incomplete]\n[exit 1]\n"
	paranoid   = "! rr needs /proc/sys/kernel/perf_event_paranoid <= 1, but it is 2.\n! Change it to 1, or use 'rr record -n' (slow).\n[trace incomplete]\n[exit 1]\n"
	unknownCPU = "! [FATAL ./src/PerfCounters_x86.h:114:compute_cpu_microarch()] AMD CPU type 0xf20 (ext family 0xb) unknown\n[exit 1]\n"
	records    = "[trace complete]\n[exit 0]\n"
	replays    = "[exit 0]\n"
	ptrace     = "! [FATAL src/Task.cc:3801:spawn() errno: EPERM] PTRACE_SEIZE failed for tid 77\n[signal 6]\n"
)

func TestProbe(t *testing.T) {
	tests := []struct {
		name    string
		session []string
		want    Info // Path is not compared, nor the words of Warnings
		err     error
		fix     string
	}{
		{name: "works", session: []string{"hardware.rr"}, want: Info{Version: "5.6.0"}},
		{name: "software counters only", session: []string{"software.rr"}, want: Info{Version: "5.9.0", SoftwareBuild: true, Software: true, Warnings: []string{"seldom"}}},
		{name: "software counters not needed", session: []string{version59, "$ rr record -o DIR ...\n" + records, "$ rr replay -a DIR\n" + replays}, want: Info{Version: "5.9.0", SoftwareBuild: true}},
		{name: "unknown CPU, software counters", session: []string{version59, "$ rr record -o DIR ...\n" + unknownCPU, "software.rr"}, want: Info{Version: "5.9.0", SoftwareBuild: true, Software: true, Warnings: []string{"seldom"}}},
		{name: "no counters", session: []string{version56, "$ rr record -o DIR ...\n" + noCounters}, err: ErrNoCounters, fix: "--recorder vm"},
		{name: "no counters, and software ones can't ptrace", session: []string{version59, "$ rr record -o DIR ...\n" + noCounters, "$ rr record -W ...\n" + ptrace}, err: ErrPtrace, fix: "--cap-add=SYS_PTRACE"},
		{name: "paranoid, works without the buffer", session: []string{version56, "$ rr record -o DIR ...\n" + paranoid, "$ rr record -n -o DIR ...\n" + records, "$ rr replay -a DIR\n" + replays},
			want: Info{Version: "5.6.0", NoBuffer: true, Warnings: []string{"sudo sysctl -w kernel.perf_event_paranoid=1"}}},
		{name: "paranoid, and still no counters", session: []string{version56, "$ rr record -o DIR ...\n" + paranoid, "$ rr record -n -o DIR ...\n" + noCounters}, err: ErrNoCounters, fix: "--recorder vm"},
		{name: "paranoid throughout", session: []string{version56, "$ rr record ...\n" + paranoid}, err: ErrParanoid, fix: "sysctl"},
		{name: "unknown CPU", session: []string{version56, "$ rr record -o DIR ...\n" + unknownCPU}, err: ErrCPU, fix: "newer rr"},
		{name: "nested", session: []string{version56, "$ rr record ...\n! rr: cannot run rr recording under rr. Exiting.\n[exit 1]\n"}, err: ErrNested, fix: "without rr"},
		{name: "ptrace denied", session: []string{version56, "$ rr record -o DIR ...\n" + ptrace}, err: ErrPtrace, fix: "SYS_PTRACE"},
		{name: "hangs", session: []string{version56, "$ rr record -o DIR ...\n[hang]\n[exit 143]\n"}, err: ErrPtrace, fix: "SYS_PTRACE"},
		{name: "says that it worked, and did not", session: []string{version56, "$ rr record -o DIR ...\n[exit 0]\n"}, err: ErrIncomplete},
		{name: "Zen warning", session: []string{version56, "$ rr record -o DIR ...\n! On Zen CPUs, rr will not work reliably unless you disable the hardware SpecLockMap optimization.\n! For instructions on how to do this, see https://github.com/rr-debugger/rr/wiki/Zen\n" + records, "$ rr replay -a DIR\n" + replays},
			want: Info{Version: "5.6.0", Warnings: []string{"zen_workaround.py"}}},
		{name: "replays diverge", session: []string{version56, "$ rr record -o DIR ...\n" + records, "$ rr replay -a DIR\n! [FATAL ./src/ReplaySession.cc:945:check_ticks_consistency() errno: SUCCESS]\n!  (task 15597 (rec:29537) at time 19)\n!  -> Assertion `ticks_now == trace_ticks' failed to hold. ticks mismatch for 'SYSCALL: access'; expected 817, got 818\n[signal 6]\n"},
			err: ErrConfig, fix: "--recorder vm"},
		{name: "another program of that name", session: []string{"$ rr ...\nrailroad 1.0\n[exit 0]\n"}, err: errAnother},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inPath(t, fake(t, tt.session...))
			info, err := locate(t.Context())
			if err == nil {
				limit := probeLimit
				if tt.name == "hangs" {
					limit = time.Second
				}
				info, err = prober{host{}, limit}.probe(t.Context(), info)
			}
			if tt.err != nil {
				var m *exttool.Missing
				if !errors.As(err, &m) || tt.err != errAnother && !errors.Is(err, tt.err) {
					t.Fatalf("error %v, want a Missing with %v", err, tt.err)
				}
				if m.Need == "" || m.Found == "" || !strings.Contains(m.Fix, tt.fix) {
					t.Errorf("got %+v, want %q in Fix", m, tt.fix)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if info.Version != tt.want.Version || info.SoftwareBuild != tt.want.SoftwareBuild || info.Software != tt.want.Software || info.NoBuffer != tt.want.NoBuffer || info.Path == "" {
				t.Errorf("got %+v, want %+v", info, tt.want)
			}
			if len(info.Warnings) != len(tt.want.Warnings) {
				t.Fatalf("warnings %q, want %q", info.Warnings, tt.want.Warnings)
			}
			for i, w := range tt.want.Warnings {
				if !strings.Contains(info.Warnings[i], w) {
					t.Errorf("warning %q, want %q in it", info.Warnings[i], w)
				}
			}
		})
	}
}

var errAnother = errors.New("another program")

func TestProbeNotInstalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Probe(t.Context())
	var m *exttool.Missing
	if !errors.As(err, &m) || m.Need != "rr" || !strings.Contains(m.Fix, "apt-get install rr") {
		t.Errorf("got %v", err)
	}
}

func TestProbeCancelled(t *testing.T) {
	info := fake(t, version56, "$ rr record -o DIR ...\n[hang]\n[exit 143]\n")
	inPath(t, info)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	go func() {
		waitHanging(t, info)
		cancel(stop)
	}()
	if _, err := Probe(ctx); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}
