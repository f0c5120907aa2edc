package replay

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestPrivate(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/etc", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/root", "/root/", "/home/ada", "/etc", "/etc/ssl", "/srv/../root", "/home/ada/.ssh", "/srv/.aws/x", link} {
		if !private(path) {
			t.Errorf("%s may be shown", path)
		}
	}
	for _, path := range []string{dir, "/root/project", "/home/ada/project", "/srv/app", "/root/.pyenv/versions/3.11"} {
		if private(path) {
			t.Errorf("%s may not be shown", path)
		}
	}
}

func TestProgramFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"tool/bin/run", "scripts/a.py", "classes/A.class"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got := programFiles([]string{"run", "scripts/a.py", "-cp", filepath.Join(dir, "classes") + ":/not/there", "--flag"}, dir, []string{"PATH=/bin:" + dir + "/tool/bin"})
	want := []string{filepath.Join(dir, "classes"), filepath.Join(dir, "scripts"), filepath.Join(dir, "tool")}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := programFiles([]string{"nowhere"}, dir, nil); len(got) != 0 {
		t.Errorf("%v is shown for a program that is nowhere", got)
	}
}
