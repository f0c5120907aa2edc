package vm

import (
	"context"
	"os"
	"testing"
	"time"
)

func TestTrial(t *testing.T) {
	ctx, c := context.WithTimeout(context.Background(), 60*time.Second)
	defer c()
	b, err := EnsureBase(ctx, "/tmp/tdcache", Machine{Memory: 256, Shift: 3, CPU: "max"}, func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	dir := "/tmp/tdtrial"
	os.RemoveAll(dir)
	os.MkdirAll(dir, 0o755)
	w, err := BuildWorld(ctx, dir, Program{Path: "/bin/echo", Args: []string{"echo", "hello"}, Dir: "/", Env: []string{"A=B"}}, []string{"/bin/echo", "/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"}, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(w.Files, w.Bytes)
	for _, m := range []Mode{Record, Replay, Replay} {
		t0 := time.Now()
		r, err := Run(ctx, Spec{Mode: m, Base: b, Image: w.Image, Params: "seed=12\nnow=1700000000\n", Log: dir + "/log", Dir: dir})
		t.Logf("%v %v %v %v", r.Instructions, r.CPU, err, time.Since(t0))
		for _, f := range r.Frames {
			t.Logf("%c %d %.100q", f.Kind, f.TSC, f.Data)
		}
		fi, _ := os.Stat(dir + "/log")
		t.Log(fi.Size())
	}
}
