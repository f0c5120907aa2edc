// Package exttool finds and runs the programs that tapedeck drives but does
// not contain: qemu, rr, gdb, the distribution's package tools. [Find] is the
// entry point; what can't be found or doesn't work is a [Missing], which says
// what is needed, what was found, and how to get it.
package exttool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Missing reports that a tool or a kernel feature is absent or doesn't work
// here. Commands end with exit code 14 on it.
type Missing struct {
	Need  string // what is required, e.g. "qemu-system-x86_64 with TCG record/replay"
	Found string // what is there instead, in the tool's own words where it has any
	Fix   string // one command or step that mends it; empty if there is none
	Err   error  // the cause, if there is one
}

func (m *Missing) Error() string {
	if m.Found == "" {
		return "need " + m.Need + ", found nothing"
	}
	return "need " + m.Need + ", found " + m.Found
}

// Hint is the second line that the command line prints below the error.
func (m *Missing) Hint() string { return m.Fix }

func (m *Missing) Unwrap() error { return m.Err }

// Find returns the absolute path of the program name. pkg is the Debian and
// Ubuntu package that holds it, for the hint.
func Find(name, pkg string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	fix := ""
	if pkg != "" {
		fix = "apt-get install " + pkg
		if os.Geteuid() != 0 {
			fix = "sudo " + fix
		}
	}
	return "", &Missing{Need: name, Found: "no such program in PATH", Fix: fix, Err: err}
}

// FindRoot is Find for a program that stands where users do not look: in
// root's directories.
func FindRoot(name, pkg string) (string, error) {
	path, err := Find(name, pkg)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, lerr := exec.LookPath(filepath.Join(dir, name)); lerr == nil {
			return path, nil
		}
	}
	return "", err
}

// RunError is a tool that ran and failed.
type RunError struct {
	Args   []string
	Code   int    // exit code, -1 when a signal or the timeout ended it
	Stderr string // its standard error, shortened to the last 4 KiB
	Err    error
}

func (e *RunError) Error() string {
	text := strings.TrimSpace(e.Stderr)
	if text == "" {
		text = e.Err.Error()
	}
	return fmt.Sprintf("%s: %s", e.Args[0], text)
}

func (e *RunError) Unwrap() error { return e.Err }

const keepStderr = 4 << 10

// Output runs a tool to its end and returns its standard output. The tool is
// killed when ctx ends or, if limit is not zero, after that long.
func Output(ctx context.Context, limit time.Duration, name string, args ...string) ([]byte, error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %v", limit))
		defer cancel()
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = &stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8") // what it prints is read by a program
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err == nil {
		return out, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	code := -1
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	text := stderr.Bytes()
	if len(text) > keepStderr {
		text = text[len(text)-keepStderr:]
	}
	return out, &RunError{Args: append([]string{name}, args...), Code: code, Stderr: string(text), Err: err}
}
