package rr

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tapedeck-dev/tapedeck/internal/record"
)

// TestResolve: the path is the program's own; rr gets the command as it was
// given, unless it would look somewhere else.
func TestResolve(t *testing.T) {
	dir := t.TempDir()
	tool := filepath.Join(dir, "bin", "tool")
	if err := os.Mkdir(filepath.Dir(tool), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tool, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Dir(tool))
	for _, c := range []struct {
		name string
		env  []string
		args string
	}{
		{tool, nil, tool},
		{"./bin/tool", nil, "./bin/tool"},
		{"tool", []string{"PATH=/none:bin"}, "tool"},
		{"tool", nil, tool},
	} {
		program, args, err := resolve(record.Job{Dir: dir, Env: c.env, Args: []string{c.name, "x"}})
		if err != nil || program != tool || !slices.Equal(args, []string{c.args, "x"}) {
			t.Errorf("%s with %q: %s, %q, %v", c.name, c.env, program, args, err)
		}
	}
	if _, _, err := resolve(record.Job{Dir: dir, Env: []string{"PATH="}, Args: []string{"tool"}}); err == nil {
		t.Error("found outside of the job's PATH")
	}
}
