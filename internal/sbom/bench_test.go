package sbom

import (
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"
)

// BenchmarkDescribe is what each recording pays for its list.
func BenchmarkDescribe(b *testing.B) {
	self, _ := debug.ReadBuildInfo()
	for _, name := range []string{"true", "gdb", "python3", "go"} {
		path, err := exec.LookPath(name)
		if err == nil {
			path, err = filepath.EvalSymlinks(path)
		}
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			p := Program{Path: path, Cache: b.TempDir()}
			Describe(p, self, time.Unix(0, 0))
			for b.Loop() {
				if _, err := Describe(p, self, time.Unix(0, 0)).Encode(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
