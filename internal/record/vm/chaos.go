package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/sites"
)

// mixture is the parameter that lets the stepper draw its strategies; see
// plan_draw in internal/vm/guest/plan.c for the names of single ones.
const mixture = "mix"

// noTracer leaves the strategies that need no tracer.
const noTracer = "slice"

// system are the directories whose programs and libraries are not the user's:
// their threads are only held at system calls and steps.
var system = []string{"/usr/", "/lib/", "/lib64/", "/bin/", "/sbin/", "/opt/", "/nix/", "/snap/"}

func isSystem(path string) bool {
	if strings.HasPrefix(path, "/usr/local/bin/") {
		return false
	}
	for _, dir := range system {
		if strings.HasPrefix(path, dir) {
			return true
		}
	}
	return false
}

const maxScanned = 60 // files; the stepper takes no more

// chaos looks in the program and in its own libraries for places to hold a
// thread, and decides what may be done to it.
func (r *Recorder) chaos(program string, seen []string) {
	r.strategy = r.opt.Strategy
	if r.strategy == "" {
		r.strategy = mixture
	}
	done := map[string]bool{}
	for _, path := range append([]string{program}, seen...) {
		path, err := filepath.EvalSymlinks(path)
		if err != nil || done[path] || len(done) == maxScanned || strings.ContainsAny(path, "\n") {
			continue
		}
		if fi, err := os.Stat(path); err != nil || !fi.Mode().IsRegular() || path != program && isSystem(path) {
			continue
		}
		t, err := scan(path)
		if errors.Is(err, sites.ErrNotELF) {
			continue
		}
		if err != nil {
			r.warnings = append(r.warnings, fmt.Sprintf("%s: no places to disturb were found: %v", path, err))
			continue
		}
		done[path] = true
		if t.Tracer != "" && !leaksOff(r.job.Env) {
			r.warnings = append(r.warnings, fmt.Sprintf("%s traces processes (%s), so --chaos only changes time slices; for LeakSanitizer, --env ASAN_OPTIONS=detect_leaks=0 helps", path, t.Tracer))
			r.strategy = noTracer
		}
		if !isSystem(path) {
			r.program.Sites = t.Append(r.program.Sites, path)
		}
	}
}

func scan(path string) (*sites.Table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return sites.Scan(f)
}

// leaksOff tells whether the environment keeps a sanitizer from looking for leaks.
func leaksOff(env []string) bool {
	return slices.ContainsFunc(env, func(v string) bool {
		name, value, _ := strings.Cut(v, "=")
		return (name == "ASAN_OPTIONS" || name == "LSAN_OPTIONS") && strings.Contains(value, "detect_leaks=0")
	})
}
