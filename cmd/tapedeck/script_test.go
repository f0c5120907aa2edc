package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tapedeck-dev/tapedeck/internal/sandbox"
	"github.com/tapedeck-dev/tapedeck/internal/watch"
)

func TestMain(m *testing.M) {
	watch.Main()
	sandbox.Main()
	testscript.Main(m, map[string]func(){"tapedeck": main})
}

// TestScripts runs the program as a user types it. The programs that it
// records are those of testdata/programs, built once; a compiler that is
// missing is a failure here, not a skip.
func TestScripts(t *testing.T) {
	programs := t.TempDir()
	out, err := exec.Command("sh", "../../testdata/programs/build.sh", programs).CombinedOutput()
	if err != nil {
		t.Fatalf("build testdata/programs: %v\n%s(make test installs what is missing)", err, out)
	}
	cache, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	docs, err := filepath.Abs("../../docs")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PROGRAMS", programs)
			env.Setenv("DOCS", docs)
			env.Setenv("TAPEDECK_CACHE", cache)
			self, err := exec.LookPath("tapedeck")
			env.Setenv("TAPEDECK", self)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("TAPEDECK_KEYS", filepath.Join(env.WorkDir, "keys.json"))
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"flip":  flip,
			"code":  code,
			"plant": plant, "noleak": noleak, "sqlcount": sqlcount,
		},
		RequireExplicitExec: true,
	})
}

// flip FILE changes one bit in the middle of a file.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	name := ts.MkAbs(args[0])
	b, err := os.ReadFile(name)
	ts.Check(err)
	b[len(b)/2] ^= 1
	ts.Check(os.WriteFile(name, b, 0o644))
}

// code N COMMAND... runs a command and checks its exit code.
func code(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if exit, ok := err.(*exec.ExitError); ok {
		got = strconv.Itoa(exit.ExitCode())
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != args[0] {
		ts.Fatalf("%v: exit code %s, want %s", args[1:], got, args[0])
	}
}
