// Package vm is the recorder that runs the program in a guest under QEMU's
// deterministic record/replay: see internal/vm for the machine. [Prepare]
// finds what the program needs, [Recorder.Record] makes one recording of it.
package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
	"github.com/tapedeck-dev/tapedeck/internal/record"
	machine "github.com/tapedeck-dev/tapedeck/internal/vm"
	"github.com/tapedeck-dev/tapedeck/internal/watch"
)

// Options are the recorder's own settings.
type Options struct {
	Cache    string                        // directory for the kernel and the snapshots
	Memory   int                           // MiB of the guest; 0 chooses by what a native run used
	Include  []string                      // files and directories that the program needs besides those seen
	Seen     *watch.Seen                   // what the program uses beside Include, if it is known: it is not run natively first
	Only     func(path string) bool        // files that may be taken, by paths without links; nil: all
	Inner    func(stderr []byte) (pid int) // the process to look at if it is not the program itself, by what that said; nil, 0: itself
	Strategy string                        // of chaos; "" draws from all of them
	Rootfs   string                        // an unpacked image to take all files from, instead of watching
	Say      func(string)                  // told what takes long
	Stdout   io.Writer                     // gets what the program writes as it comes, with Stderr; both may be nil
	Stderr   io.Writer
	Cut      <-chan struct{} // keeps what is recorded once it is closed, see record.Outcome; may be nil
}

// Recorder holds what all attempts of one program share.
type Recorder struct {
	job      record.Job
	opt      Options
	dir      string
	base     *machine.Base
	world    *machine.World
	program  machine.Program
	uses     []string // files that the native run used; nil without one
	strategy string   // of chaos
	attempts atomic.Int64
	warnings []string

	hash    sync.Once
	hashed  string
	hashErr error
}

const (
	watchLimit = 2 * time.Minute // of the native run; a server never ends by itself
	watchLeast = time.Second     // to load its libraries, whatever its own limit
	maxListed  = 16 << 20        // bytes taken from directories that the program only listed
	maxOne     = 1 << 20         // bytes of one such file
)

// memory sizes of the guest, in MiB. Each has a snapshot of its own, so there are few.
var memories = []int{256, 1024, 4096}

// Prepare watches a native run of the program, packs what it used into a disk,
// and makes sure of the boot snapshot.
func Prepare(ctx context.Context, job record.Job, opt Options) (*Recorder, error) {
	dir, err := os.MkdirTemp("", "tapedeck-vm-")
	if err != nil {
		return nil, err
	}
	r := &Recorder{job: job, opt: opt, dir: dir}
	if err := r.prepare(ctx); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Close removes the temporary files that attempts share.
func (r *Recorder) Close() error { return os.RemoveAll(r.dir) }

func (r *Recorder) prepare(ctx context.Context) error {
	p := machine.Program{Args: r.job.Args, Env: r.job.Env, Dir: r.job.Dir, Stdin: r.job.Stdin}
	var paths []string
	memory := r.opt.Memory
	switch {
	case r.opt.Seen != nil:
		p.Path = r.job.Args[0]
		paths = slices.Concat(r.opt.Seen.Files, listed(r.opt.Seen.Listed))
		if memory == 0 {
			memory = guestMemory(r.opt.Seen.MaxRSS)
		}
	case r.opt.Rootfs != "":
		p.Path = r.job.Args[0]
		if !filepath.IsAbs(p.Path) {
			return fmt.Errorf("with a root file system the command must be an absolute path in it, found %q", p.Path)
		}
	default:
		path, err := lookPath(r.job.Args[0], r.job.Dir)
		if err != nil {
			return err
		}
		p.Path = path
		seen, err := r.watch(ctx, p)
		if err != nil {
			return err
		}
		r.uses = slices.Clone(seen.Files)
		paths = append(seen.Files, listed(seen.Listed)...)
		if memory == 0 {
			memory = guestMemory(seen.MaxRSS)
		}
	}
	if memory == 0 {
		memory = memories[1]
	}
	for _, inc := range r.opt.Include {
		more, err := include(r.job.Dir, inc)
		if err != nil {
			return err
		}
		paths = append(paths, more...)
	}
	r.program = p
	if r.job.Chaos {
		r.chaos(p.Path, paths)
	}
	var err error
	if r.world, err = machine.BuildWorld(ctx, r.dir, r.program, paths, r.opt.Rootfs, r.opt.Only); err != nil {
		return fmt.Errorf("pack the program's files: %w", err)
	}
	m := machine.DefaultMachine()
	m.Memory = memory
	r.base, err = machine.EnsureBase(ctx, r.opt.Cache, m, r.opt.Say)
	return err
}

// lookPath finds a command as exec would, seen from dir.
func lookPath(name, dir string) (string, error) {
	if strings.Contains(name, "/") && !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

func (r *Recorder) watch(ctx context.Context, p machine.Program) (*watch.Seen, error) {
	limit := watchLimit
	if r.job.Timeout > 0 {
		limit = min(limit, max(r.job.Timeout, watchLeast))
	}
	seen, err := watch.Run(ctx, watch.Program{Path: p.Path, Args: p.Args, Env: p.Env, Dir: p.Dir, Stdin: p.Stdin,
		Stdout: io.Discard, Stderr: io.Discard, Limit: limit})
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOSYS) {
		return nil, &exttool.Missing{Need: "a native run of the program, to see which files it uses", Found: err.Error(),
			Fix: "allow ptrace (containers: --cap-add=SYS_PTRACE), or give the program's files with --rootfs", Err: err}
	}
	if err != nil {
		return nil, err
	}
	if seen.Late && r.job.Timeout == 0 {
		r.warnings = append(r.warnings, fmt.Sprintf("the native run was stopped after %v; files that it would have opened later are missing unless --include names them", limit))
	}
	return seen, nil
}

// listed returns the files in directories that the program read: it may open
// another one of them when it runs in the guest.
func listed(dirs []string) []string {
	var paths []string
	var bytes int64
	for _, d := range dirs {
		entries, err := os.ReadDir(d)
		if err != nil || strings.HasPrefix(d, "/proc") || strings.HasPrefix(d, "/sys") || strings.HasPrefix(d, "/dev") {
			continue
		}
		for _, e := range entries {
			if fi, err := e.Info(); err == nil && fi.Size() <= maxOne && bytes+fi.Size() <= maxListed {
				bytes += fi.Size()
				paths = append(paths, filepath.Join(d, e.Name()))
			}
		}
	}
	return paths
}

// include expands a file or directory that the user named.
func include(dir, name string) ([]string, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	var paths []string
	err := filepath.WalkDir(name, func(path string, _ os.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("--include: %w", err)
	}
	return paths, nil
}

// guestMemory chooses a size that leaves room for the kernel, the page cache
// and a run that needs more than the one that was seen.
func guestMemory(rss int64) int {
	need := int(rss>>20)*3/2 + 96
	for _, m := range memories {
		if m >= need {
			return m
		}
	}
	return need
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// params are the job's parameters for the guest's init.
func (r *Recorder) params(seed uint64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed=%d\nnow=%d\nuid=%d\ngid=%d\n", seed, time.Now().Unix(), os.Getuid(), os.Getgid())
	// A name that is no host name could be taken for further parameters.
	if host, err := os.Hostname(); err == nil && hostName.MatchString(host) {
		fmt.Fprintf(&b, "host=%s\n", host)
	}
	if r.job.Timeout > 0 {
		fmt.Fprintf(&b, "timeout_ms=%d\n", r.job.Timeout.Milliseconds())
	}
	if r.job.Chaos {
		fmt.Fprintf(&b, "chaos=%s\n", r.strategy)
	}
	return b.String()
}

// Record makes one recording. It may be called from several goroutines.
func (r *Recorder) Record(ctx context.Context, seed uint64) (*record.Recording, error) {
	dir := filepath.Join(r.dir, strconv.FormatInt(r.attempts.Add(1), 10))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	rec := &record.Recording{Dir: dir, Started: time.Now(), Warnings: slices.Clone(r.warnings)}
	spec := machine.Spec{Mode: machine.Record, Base: r.base, Image: r.world.Image, Params: r.params(seed),
		Log: filepath.Join(dir, machine.LogFile), Dir: dir, Stdout: r.opt.Stdout, Stderr: r.opt.Stderr, Cut: r.opt.Cut}
	res, err := machine.Run(ctx, spec)
	if err == nil && res.Cut && !begun(res.Frames) {
		err = context.Canceled // there is nothing to keep
	}
	if err == nil {
		err = r.finish(rec, spec, res, seed)
	}
	if err != nil {
		rec.Close()
		return nil, err
	}
	return rec, nil
}
