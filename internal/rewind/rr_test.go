package rewind

import (
	"strings"
	"testing"
	"time"
)

// TestRR plays gdb over an rr server: the signal that the program handles, the
// one that kills it, rr's SIGKILL at the end, and the way back.
func TestRR(t *testing.T) {
	g := fake(t, "testdata/gdb/rr.txt", time.Minute)
	target := RR(RRConfig{Addr: "127.0.0.1:1172", Exe: "/trace/mmap_copy_5_hello"})
	attach, err := target.Attach(t.Context())
	if err != nil || strings.Join(attach, "; ") != "set sysroot /; file /trace/mmap_copy_5_hello; target extended-remote 127.0.0.1:1172" {
		t.Errorf("got %q, %v", attach, err)
	}
	f, err := target.ToFailure(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if f.Signal != "SIGSEGV" || f.Code != 139 || !f.Core || f.PID != 591 || f.Thread != 792 || f.Name != "hello" || f.Position != "rr:412" {
		t.Errorf("got %+v", f)
	}
	s := &Session{target: target, gdb: g, failure: f}
	w, err := s.LastWrite(t.Context(), "counter", AnyFrame)
	if err != nil {
		t.Fatal(err)
	}
	if w.Old != "1" || w.New != "2" || w.Function != "bump" || w.Line != 5 || w.Thread.ID != 792 || w.Position != "rr:398" ||
		w.Address != "0x404028" || w.Instruction != "mov %eax,0x2e9b(%rip)" || w.Foreign {
		t.Errorf("got %+v", w)
	}
	if err := target.Goto(t.Context(), g, "rr:12"); err != nil {
		t.Error(err)
	}
	for _, p := range []Position{"", "vm:icount=5", "rr:", "rr:x", "rr:-1", "rr:1; shell id"} {
		if err := target.Goto(t.Context(), g, p); err == nil || !strings.Contains(err.Error(), "want rr:EVENT") {
			t.Errorf("%q: %v", p, err)
		}
	}
}
