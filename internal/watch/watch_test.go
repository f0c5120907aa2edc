package watch

import (
	"bytes"
	"os"
	"slices"
	"testing"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

func run1(t *testing.T, args ...string) (*Seen, string) {
	t.Helper()
	var out bytes.Buffer
	s, err := Run(t.Context(), Program{Path: args[0], Args: args, Dir: "/tmp", Env: []string{"PATH=/usr/bin:/bin"}, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	return s, out.String()
}

func TestTrial(t *testing.T) {
	s, out := run1(t, "/bin/sh", "-c", "cd /etc; cat hostname; (ls /etc/apt | sort); python3 -c 'import json; print(1)'; exit 3")
	t.Logf("%+v %s", s, out)
	for _, f := range []string{"/etc/hostname", "/etc/apt", "/bin/sh", "/lib64/ld-linux-x86-64.so.2"} {
		if !slices.Contains(s.Files, f) {
			t.Errorf("no %s", f)
		}
	}
	if s.Code != 3 {
		t.Error(s.Code)
	}
}
