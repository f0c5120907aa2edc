package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
	"github.com/tapedeck-dev/tapedeck/internal/record"
	"github.com/tapedeck-dev/tapedeck/internal/record/rr"
	vmrec "github.com/tapedeck-dev/tapedeck/internal/record/vm"
	"github.com/tapedeck-dev/tapedeck/internal/sandbox"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
	"github.com/tapedeck-dev/tapedeck/internal/vm"
	"github.com/tapedeck-dev/tapedeck/internal/vtime"
	"github.com/tapedeck-dev/tapedeck/internal/watch"
)

// A diagnosis is what doctor found out about one recorder or tool.
type diagnosis struct {
	Name  string `json:"name"`
	For   string `json:"for"`
	Works bool   `json:"works"`
	Found string `json:"found"`
	Need  string `json:"need,omitempty"`
	Fix   string `json:"fix,omitempty"`
}

type check struct {
	name, use string
	try       func(ctx context.Context, term *ui.Term) (found string, err error)
}

// checks are tried in this order.
var checks = []check{
	{"rr", "record and replay with the CPU's counters", tryRR},
	{"vm", "record and replay in a guest", tryVM},
	{"inputs", "record and replay what a program gets over the network", tryInputs},
	{"cache", "the guest's kernel and its boot snapshots", tryCache},
	{"watch", "find a program's files by running it", tryWatch},
	{"gdb", "rewind", tryGDB},
	{"keys", "encrypt and open bundles with keys of this machine", tryKeys},
	{"pkcs11", "keys in a PKCS#11 token (only for pkcs11: references)", tryPKCS11},
	{"cloudkms", "keys in a cloud service (only for their references)", tryCloud},
}

func newDoctorCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Try every recorder and tool on this machine, and say how to mend what does not work",
		Long: `Doctor tries: the vm recorder by recording and replaying a small program, rr by
recording one, gdb by starting it. For each that does not work it says what is
needed, what was found, and how to get it.`,
		Example: `  tapedeck doctor
  tapedeck doctor --json

Exit codes:
  0   at least one recorder works
  14  none does`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runDoctor(c.Context(), asJSON, ui.New(c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return c
}

func runDoctor(ctx context.Context, asJSON bool, term *ui.Term) error {
	var all []diagnosis
	recorder := false
	for _, ch := range checks {
		found, err := ch.try(ctx, term)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		d := diagnosis{Name: ch.name, For: ch.use, Works: err == nil, Found: found}
		var missing *exttool.Missing
		switch {
		case errors.As(err, &missing):
			d.Need, d.Found, d.Fix = missing.Need, missing.Found, missing.Fix
		case err != nil:
			d.Found = err.Error()
		}
		recorder = recorder || d.Works && strings.HasPrefix(d.For, "record")
		all = append(all, d)
	}
	if asJSON {
		enc := json.NewEncoder(term.Out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(all); err != nil {
			return err
		}
	} else {
		printDiagnoses(term, all)
	}
	if !recorder {
		return &codeError{code: exitMissing}
	}
	return nil
}

func printDiagnoses(term *ui.Term, all []diagnosis) {
	w := tabwriter.NewWriter(term.Out, 0, 0, 2, ' ', 0)
	for _, d := range all {
		verdict := "works"
		if !d.Works {
			verdict = "DOES NOT WORK"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", d.Name, verdict, d.For)
		fmt.Fprintf(w, "\tfound:\t%s\n", d.Found)
		if d.Need != "" {
			fmt.Fprintf(w, "\tneed:\t%s\n", d.Need)
		}
		if d.Fix != "" {
			fmt.Fprintf(w, "\tfix:\t%s\n", d.Fix)
		}
	}
	w.Flush()
}

// tryVM records and replays a program in the guest.
func tryVM(ctx context.Context, term *ui.Term) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "tapedeck-doctor-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	prog := filepath.Join(dir, "trial")
	if err := os.WriteFile(prog, vm.TrialProgram(), 0o755); err != nil {
		return "", err
	}
	job := record.Job{Args: []string{prog}, Dir: dir}
	r, err := vmrec.Prepare(ctx, job, vmrec.Options{Cache: cache, Include: []string{prog}, Seen: &watch.Seen{}, Say: term.Say})
	if err != nil {
		return "", err
	}
	defer r.Close()
	rec, err := r.Record(ctx, 1)
	if err != nil {
		return "", err
	}
	if string(rec.Stdout) != "recorded\n" {
		return "", fmt.Errorf("the recorded program printed %q", rec.Stdout)
	}
	diff, err := r.Check(ctx, rec)
	if err != nil {
		return "", err
	}
	if diff != "" {
		return "", &exttool.Missing{Need: "a QEMU whose replays equal their recordings", Found: diff, Fix: "another build of QEMU; 7.2 is known to be exact"}
	}
	return fmt.Sprintf("QEMU %v, Linux %v: a recording and its replay are identical", rec.Manifest["qemu_version"], rec.Manifest["kernel"]), nil
}

// tryInputs runs a program in the sandbox, hermetic and with its clock.
func tryInputs(ctx context.Context, _ *ui.Term) (string, error) {
	for _, f := range sandbox.Probe(ctx) {
		if !f.Works {
			return "", &exttool.Missing{Need: f.Need + " to " + f.Name, Found: f.Found, Fix: f.Fix}
		}
	}
	world, err := vtime.New(vtime.Options{Clock: true, Random: true})
	if err != nil {
		return "", err
	}
	defer world.Close()
	begin := time.Now()
	dir, err := os.MkdirTemp("", "tapedeck-doctor-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	c := sandbox.Config{Args: []string{"/bin/true"}, Dir: "/", Hermetic: true}
	stop, err := world.Enter(&c, dir)
	if err != nil {
		return "", err
	}
	defer stop()
	box, err := sandbox.Start(ctx, c)
	if err != nil {
		return "", err
	}
	if _, err := box.Wait(); err != nil {
		return "", err
	}
	if s := world.Stats(); len(s.Failed) > 0 {
		return "", fmt.Errorf("the clock could not be put into a program: %s", s.Failed[0])
	}
	return fmt.Sprintf("namespaces, nftables, seccomp, ptrace; a sandbox began and ended in %s", time.Since(begin).Round(time.Millisecond)), nil
}

// tryCache tells where the cache is and what it takes. After tryVM it exists.
func tryCache(context.Context, *ui.Term) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	n, snapshots, err := vm.CacheSize(cache)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: %s, %s", cache, ui.Bytes(n), count(snapshots, "boot snapshot")), nil
}

func tryRR(ctx context.Context, _ *ui.Term) (string, error) {
	info, err := rr.Probe(ctx)
	if err != nil {
		return "", err
	}
	return strings.Join(append([]string{"rr " + info.Version}, info.Warnings...), "; "), nil
}

func tryWatch(ctx context.Context, _ *ui.Term) (string, error) {
	seen, err := watch.Run(ctx, watch.Program{Path: "/bin/true", Args: []string{"true"}, Dir: "/", Limit: 10 * time.Second})
	if err != nil {
		return "", &exttool.Missing{Need: "ptrace", Found: err.Error(), Fix: "in a container: --cap-add=SYS_PTRACE; or record with --rootfs", Err: err}
	}
	return fmt.Sprintf("ptrace; %d files seen in a run of true", len(seen.Files)), nil
}

func tryGDB(ctx context.Context, _ *ui.Term) (string, error) {
	gdb, err := exttool.Find("gdb", "gdb")
	if err != nil {
		return "", err
	}
	out, err := exttool.Output(ctx, 20*time.Second, gdb, "-nx", "-batch", "-ex", "python print('python ' + gdb.VERSION)")
	if err != nil || !strings.Contains(string(out), "python ") {
		return "", &exttool.Missing{Need: "a gdb that starts and has Python", Found: fmt.Sprintf("%q (%v)", out, err), Fix: "apt-get install gdb", Err: err}
	}
	return "gdb " + strings.TrimSpace(strings.TrimPrefix(string(out), "python ")), nil
}
