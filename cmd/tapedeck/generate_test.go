package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command has a page that tells its flags, and groff has no complaint.
func TestGenerateMan(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	dir := filepath.Join(t.TempDir(), "man1")
	root := newRootCommand()
	root.SetArgs([]string{"generate", "man", dir})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			visit(sub)
		}
		if !c.IsAvailableCommand() && c != root {
			return
		}
		name := filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1")
		text, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
			return
		}
		if c.Name() == "record" && !strings.Contains(string(text), "--until-fail") {
			t.Errorf("%s has no --until-fail:\n%s", name, text)
		}
		if !strings.Contains(string(text), "Nov 2023") && sourceDate() == nil {
			t.Errorf("%s: not dated by SOURCE_DATE_EPOCH", name)
		}
		if out, err := exec.Command("groff", "-Kutf8", "-man", "-Tutf8", "-ww", "-z", name).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("groff %s: %v\n%.1000s(make test installs what is missing)", name, err, out)
		}
	}
	visit(root)
}
