package sandbox

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestRefused sends datagrams to where nothing is: the program is refused, and
// each is told.
func TestRefused(t *testing.T) {
	want := []string{"198.51.100.7:443", "[2001:db8::7]:123", "127.0.0.1:8125", "[::1]:8126"}
	var got []string
	done := make(chan struct{})
	out, _ := run(t, Config{Hermetic: true, Args: []string{"python3", "-c", `
import socket
for to in ("198.51.100.7", 443), ("2001:db8::7", 123), ("127.0.0.1", 8125), ("::1", 8126):
    s=socket.socket(socket.AF_INET6 if ":" in to[0] else socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3)
    s.connect(to); s.send(b"ask")
    try: s.recv(10)
    except ConnectionRefusedError: print("refused")
a=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); a.bind(("127.0.0.1", 5000))
s.close(); s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b"self", ("127.0.0.1", 5000)); print(a.recv(10))`}}, "", func(b *Box) {
		for at := range b.Refused() {
			got = append(got, at.String())
		}
		close(done)
	})
	<-done
	slices.Sort(got) // each family has a socket of its own
	slices.Sort(want)
	if strings.Join(got, " ") != strings.Join(want, " ") || strings.Count(out, "refused") != 4 || !strings.Contains(out, "self") {
		t.Errorf("told %v; the program says %s", got, out)
	}
}

func FuzzRefused(f *testing.F) {
	for _, seed := range []string{
		"45c0003b00004000400100007f0000017f0000010303000000000000" + "4500001f000040004011000000000000c6336407" + "d431" + "01bb" + "000b0000",
		"0104000000000000" + "60000000000b1140" + strings.Repeat("00", 15) + "01" + "20010db8000000000000000000000007" + "d431007b000b0000",
		"4f", "",
	} {
		b, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if to, ok := refused4(p); ok && !to.Addr().Is4() {
			t.Errorf("%v", to)
		}
		if to, ok := refused6(p); ok && !to.Addr().Is6() {
			t.Errorf("%v", to)
		}
	})
}

func TestRefusedSeeds(t *testing.T) {
	b, _ := hex.DecodeString("45c0003b00004000400100007f0000017f0000010303000000000000" + "4500001f000040004011000000000000c6336407" + "d431" + "01bb" + "000b0000")
	if to, ok := refused4(b); !ok || to != netip.MustParseAddrPort("198.51.100.7:443") {
		t.Errorf("%v %v", to, ok)
	}
	if _, ok := refused4(b[:len(b)-6]); ok {
		t.Error("a cut message was taken")
	}
}
