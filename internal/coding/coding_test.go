package coding

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// TestUnpack has the tools make what is unpacked.
func TestUnpack(t *testing.T) {
	plain := strings.Repeat("a body ", 1000)
	for name, command := range map[string][]string{
		"gzip":    {"gzip", "-c"},
		"zstd":    {"zstd", "-qc"},
		"deflate": {"python3", "-c", "import sys,zlib; sys.stdout.buffer.write(zlib.compress(sys.stdin.buffer.read()))"},
	} {
		c := exec.Command(command[0], command[1:]...)
		c.Stdin = strings.NewReader(plain)
		packed, err := c.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Unpack(name, packed, len(plain)); err != nil || string(got) != plain {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		for what, f := range map[string]func() ([]byte, error){
			"one byte too many": func() ([]byte, error) { return Unpack(name, packed, len(plain)-1) },
			"cut":               func() ([]byte, error) { return Unpack(name, packed[:len(packed)/2], len(plain)) },
			"other bytes":       func() ([]byte, error) { return Unpack(name, []byte("plain"), len(plain)) },
		} {
			if _, err := f(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
	if _, err := Unpack("br", nil, 1); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}
