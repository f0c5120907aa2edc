package sandbox

import (
	"os"
	"testing"
)

func TestVisible(t *testing.T) {
	t.Parallel()
	shown, hidden := t.TempDir(), t.TempDir()
	link := hidden + "/link"
	if err := os.Symlink(shown, link); err != nil {
		t.Fatal(err)
	}
	see := Visible(Config{Dir: link, Show: []string{"/srv/one"}})
	for path, want := range map[string]bool{
		shown + "/program": true, hidden + "/key": false, shown + "more": false,
		"/srv/one/a": true, "/srv/other": false, "/usr/bin/env": true, "/opt/x/y": true,
		"/etc/passwd": true, "/etc/shadow": false, "/etc/ssl/private/key.pem": false, "/root/.ssh/id_rsa": false, "/home/ada/notes": false, "/tmp/x": false,
	} {
		if got := see(path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	if Visible(Config{Dir: "/"})("/root/.ssh/id_rsa") {
		t.Error("with the root folder as the program's, everything is shown")
	}
}
