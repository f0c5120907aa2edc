package sbom

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestTree: links in an image lead where the program saw them lead, never out.
func TestTree(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "usr/bin"), 0o700))
	must(t, os.WriteFile(filepath.Join(root, "usr/bin/real"), []byte("inside"), 0o600))
	for name, target := range map[string]string{
		"bin": "usr/bin", "usr/bin/abs": "/usr/bin/real", "usr/bin/up": "../../../../../../usr/bin/real", "usr/bin/chain": "/bin/abs",
		"loop": "/loop", "usr/bin/passwd": "/etc/passwd", "deep": "deep/deep/deep",
	} {
		must(t, os.Symlink(target, filepath.Join(root, name)))
	}
	tr := inTree(root + "/")
	for path, want := range map[string]string{
		"/bin/real": "/usr/bin/real", "/bin/abs": "/usr/bin/real", "/usr/bin/up": "/usr/bin/real", "/bin/chain": "/usr/bin/real",
		"/../../bin/./real": "/usr/bin/real", "/none/x": "/none/x", "/bin/passwd": "/etc/passwd",
	} {
		if got := tr.real(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	for path, want := range map[string]string{"/bin/chain": "inside", "/bin/passwd": "", "/loop": "", "/deep": "", "/usr": ""} {
		if got := string(tr.small(path)); got != want {
			t.Errorf("%s: read %.20q, want %q", path, got, want)
		}
	}
	if inTree("/") != "" || inTree("") != "" {
		t.Error("the machine's own root is another tree")
	}
}

// TestPipe: a pipe where a file should be doesn't make a recording wait.
func TestPipe(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, name := range []string{"program", "a.jar", "lib.so"} {
		must(t, syscall.Mkfifo(filepath.Join(root, name), 0o600))
	}
	d := describe(t, Program{Path: "/program", Root: root, Files: []string{"/a.jar", "/lib.so"}}, nil)
	if len(d.Packages) != 4 {
		t.Errorf("%d packages", len(d.Packages))
	}
}
