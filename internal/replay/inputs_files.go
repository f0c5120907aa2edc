package replay

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// PrivateError is a recording whose program ran in a folder that is not shown
// to a program only because a bundle says so.
type PrivateError struct{ Dir string }

func (e *PrivateError) Error() string {
	return "the recorded program ran in " + e.Dir + ", which may hold what is private: it is not shown to a program because a bundle says so"
}

// Hint says how to show it.
func (e *PrivateError) Hint() string { return "--show " + e.Dir + ", if you trust who made the bundle" }

// private tells of what a bundle must not choose to have shown: the root folder,
// what is in /etc, a home as a whole, and what is hidden in one, such as keys.
func private(path string) bool {
	path = resolved(path)
	if path == "/" || path == "/root" || path == "/home" || filepath.Dir(path) == "/home" || path == "/etc" || strings.HasPrefix(path, "/etc/") {
		return true
	}
	u, err := user.LookupId(strconv.Itoa(os.Getuid())) // by the system's list, not by a variable
	if err == nil && path == u.HomeDir {
		return true
	}
	for name := range strings.SplitSeq(path, "/") {
		switch name {
		case ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".config", ".password-store", ".netrc":
			return true
		}
	}
	return false
}

// environment is the recorded one, with some variables set anew.
func (t *Inputs) environment(set []string) []string {
	names := map[string]bool{}
	for _, e := range set {
		name, _, _ := strings.Cut(e, "=")
		names[name] = true
	}
	env := slices.Clone(set)
	for name, value := range t.Manifest.Env {
		if !names[name] {
			env = append(env, name+"="+value)
		}
	}
	slices.Sort(env)
	return env
}

// programFiles are the folders of the program and of the files that its
// arguments name. An installation in somebody's home is shown as a whole.
func programFiles(command []string, cwd string, env []string) (show []string) {
	absolute := func(path string) string {
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(cwd, path)
	}
	if name := executable(command[0], env); name != "" {
		name = absolute(name)
		for _, path := range []string{name, resolved(name)} {
			dir := filepath.Dir(path)
			if filepath.Base(dir) == "bin" && dir != "/bin" && !strings.HasPrefix(dir, "/usr/") {
				dir = filepath.Dir(dir)
			}
			show = append(show, dir)
		}
	}
	for _, arg := range command[1:] {
		for _, path := range filepath.SplitList(arg) { // a script, or folders of classes
			path = absolute(path)
			fi, err := os.Stat(path)
			if err != nil {
				continue
			}
			if !fi.IsDir() {
				path = filepath.Dir(path)
			}
			show = append(show, path)
		}
	}
	slices.Sort(show)
	return slices.Compact(show)
}

// executable is where a command is, by the program's own PATH; "" if nowhere.
func executable(name string, env []string) string {
	if strings.Contains(name, "/") {
		return name
	}
	for _, e := range env {
		path, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(path) {
			if fi, err := os.Stat(filepath.Join(dir, name)); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
				return filepath.Join(dir, name)
			}
		}
	}
	return ""
}

func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return filepath.Clean(path)
}
