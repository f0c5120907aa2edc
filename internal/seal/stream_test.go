package seal

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"
)

func encrypted(t testing.TB, k streamKey, aad, plain []byte) []byte {
	t.Helper()
	enc, err := newEncoder()
	must(t, err)
	r, err := encrypt(k, enc, aad, bytes.NewReader(plain))
	must(t, err)
	b, err := io.ReadAll(r)
	must(t, err)
	return b
}

func decrypted(k streamKey, aad, stored []byte) ([]byte, error) {
	r, err := decrypt(k, aad, bytes.NewReader(stored), int64(len(stored)))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// TestStreamSizes: what goes in comes out, at the sizes where segments and
// samples end, however the reader cuts it.
func TestStreamSizes(t *testing.T) {
	k := streamKey{newSecret()}
	const first = segmentSize - streamHeader - tagSize - 1 // of content, in the first segment
	for _, n := range []int{0, 1, 100, sampleSize - 1, sampleSize, sampleSize + 1, first - 1, first, first + 1, first + segmentSize - tagSize, 3<<20 + 7} {
		for kind, plain := range map[string][]byte{"noise": noise(n), "zeros": make([]byte, n)} {
			stored := encrypted(t, k, []byte("aad"), plain)
			got, err := decrypted(k, []byte("aad"), stored)
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes of %s: %v", n, kind, err)
			}
			if kind == "zeros" && n > 200 && len(stored) > n/2+200 {
				t.Errorf("%d zeros take %d bytes", n, len(stored))
			}
		}
	}
	plain := append(noise(100), make([]byte, 300_000)...)
	enc, err := newEncoder()
	must(t, err)
	r, err := encrypt(k, enc, nil, iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(plain))))
	must(t, err)
	stored, err := io.ReadAll(iotest.OneByteReader(r))
	must(t, err)
	d, err := decrypt(k, nil, iotest.HalfReader(bytes.NewReader(stored)), int64(len(stored)))
	must(t, err)
	must(t, iotest.TestReader(d, plain))
}

// TestTinkReadsOurs: tink's own constructor, which has the keys derived by
// code that isn't ours, reads what we write, and the reverse.
func TestTinkReadsOurs(t *testing.T) {
	k := streamKey{newSecret()}
	tink, err := subtle.NewAESGCMHKDF(k.key.bytes(), "SHA256", 32, segmentSize, 0)
	must(t, err)
	aad := []byte("what it is bound to")
	plain := noise(2<<20 + 99)

	src, err := tink.NewDecryptingReader(bytes.NewReader(encrypted(t, k, aad, plain)), aad)
	must(t, err)
	got, err := io.ReadAll(src)
	must(t, err)
	if got[0] != contentPlain || !bytes.Equal(got[1:], plain) {
		t.Error("tink reads something else")
	}

	var theirs bytes.Buffer
	w, err := tink.NewEncryptingWriter(&theirs, aad)
	must(t, err)
	_, err = w.Write(append([]byte{contentPlain}, plain...))
	must(t, err)
	must(t, w.Close())
	got, err = decrypted(k, aad, theirs.Bytes())
	if err != nil || !bytes.Equal(got, plain) {
		t.Errorf("we read something else: %v", err)
	}
}

// TestDamage: no change of what is stored passes, wherever it is.
func TestDamage(t *testing.T) {
	k := streamKey{newSecret()}
	plain := append(bytes.Repeat([]byte("compressible "), 20_000), noise(2<<20)...)
	stored := encrypted(t, k, []byte("aad"), plain)
	bad := func(what string, b []byte, k streamKey, aad string) {
		t.Helper()
		if _, err := decrypted(k, []byte(aad), b); !errors.Is(err, errForged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, at := range []int{0, 1, 32, 33, streamHeader, streamHeader + 1, segmentSize - 1, segmentSize, 2*segmentSize - 1, len(stored) - 1} {
		b := bytes.Clone(stored)
		b[at] ^= 1
		bad("a flipped bit", b, k, "aad")
	}
	for _, n := range []int{0, 1, streamHeader - 1, streamHeader, streamHeader + 5, segmentSize - 1, segmentSize, segmentSize + 1, 2 * segmentSize, len(stored) - 1} {
		bad("cut off", stored[:n], k, "aad")
	}
	bad("longer", append(bytes.Clone(stored), 0), k, "aad")
	swapped := bytes.Clone(stored)
	copy(swapped[segmentSize:], stored[2*segmentSize:])
	bad("a segment moved", swapped, k, "aad")
	bad("another key", stored, streamKey{newSecret()}, "aad")
	bad("bound to something else", stored, k, "other")

	// An error of the disk is one, and no damage.
	disk := errors.New("disk")
	r, err := decrypt(k, []byte("aad"), io.MultiReader(bytes.NewReader(stored[:segmentSize+9]), iotest.ErrReader(disk)), 1<<30)
	must(t, err)
	if _, err := io.ReadAll(r); !errors.Is(err, disk) {
		t.Errorf("%v", err)
	}
}

// TestMemory: a file of any size takes the same memory.
func TestMemory(t *testing.T) {
	k := streamKey{newSecret()}
	enc, err := newEncoder()
	must(t, err)
	var before, after runtime.MemStats
	peak := uint64(0)
	runtime.GC()
	runtime.ReadMemStats(&before)
	reads := 0
	watch := readerFunc(func(b []byte) (int, error) {
		clear(b)
		if reads++; reads%64 == 0 { // each look stops the world
			if runtime.ReadMemStats(&after); after.HeapInuse > peak {
				peak = after.HeapInuse
			}
		}
		return len(b), nil
	})
	sealed, err := encrypt(k, enc, nil, io.LimitReader(watch, 256<<20))
	must(t, err)
	plain, err := decrypt(k, nil, sealed, 1<<30)
	must(t, err)
	n, err := io.Copy(io.Discard, plain)
	must(t, err)
	if grown := int64(peak) - int64(before.HeapInuse); n != 256<<20 || grown > 64<<20 {
		t.Errorf("%d bytes took %d MB", n, grown>>20)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
