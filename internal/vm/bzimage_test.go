package vm

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

// anELF stands for a kernel: only its first bytes matter.
var anELF = append([]byte("\x7fELF"), bytes.Repeat([]byte("kernel "), 5000)...)

// bzImage wraps a payload as the kernel's build does; sectors is how many the
// setup code has, 0 for the old way to say 4.
func bzImage(payload []byte, sectors byte) []byte {
	n := int(sectors)
	if n == 0 {
		n = 4
	}
	const gap = 0x123 // of code before the payload
	b := make([]byte, (n+1)*512+gap, (n+1)*512+gap+len(payload)+4)
	b[0x1f1] = sectors
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint32(b[0x248:], gap)
	binary.LittleEndian.PutUint32(b[0x24c:], uint32(len(payload)+4))
	b = append(b, payload...)
	return binary.LittleEndian.AppendUint32(b, uint32(len(anELF)))
}

func pressed(t testing.TB, b []byte) map[string][]byte {
	t.Helper()
	out := map[string][]byte{"none": b}
	press := func(name string, w io.WriteCloser, buf *bytes.Buffer, err error) {
		if err == nil {
			_, err = w.Write(b)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(name, err)
		}
		out[name] = buf.Bytes()
	}
	var g, z, x, l bytes.Buffer
	press("gzip", gzip.NewWriter(&g), &g, nil)
	zw, err := zstd.NewWriter(&z)
	press("zstd", zw, &z, err)
	xw, err := xz.NewWriter(&x)
	press("xz", xw, &x, err)
	lw := lz4.NewWriter(&l)
	press("lz4", lw, &l, lw.Apply(lz4.LegacyOption(true)))
	return out
}

func TestExtractKernel(t *testing.T) {
	t.Parallel()
	for name, payload := range pressed(t, anELF) {
		for _, sectors := range []byte{0, 1, 27, 64} {
			got, err := extractKernel(bzImage(payload, sectors))
			if err != nil || !bytes.Equal(got, anELF) {
				t.Errorf("%s, %d sectors: %d bytes, %v", name, sectors, len(got), err)
			}
		}
	}
}

func TestExtractKernelHostile(t *testing.T) {
	t.Parallel()
	put := func(at int, v uint32) []byte {
		b := bzImage(anELF, 4)
		binary.LittleEndian.PutUint32(b[at:], v)
		return b
	}
	z := pressed(t, anELF)
	for name, c := range map[string]struct {
		image []byte
		want  string
	}{
		"nothing":             {nil, "no HdrS"},
		"short":               {bzImage(anELF, 4)[:0x240], "no HdrS"},
		"no mark":             {put(0x202, 0), "no HdrS"},
		"offset beyond":       {put(0x248, 1<<31), "bzImage says"},
		"offset to the top":   {put(0x248, 0xffffffff), "bzImage says"},
		"size beyond":         {put(0x24c, 0xffffffff), "bzImage says"},
		"size 0":              {put(0x24c, 0), "bzImage says"},
		"size 7":              {put(0x24c, 7), "bzImage says"},
		"size of the mark":    {put(0x24c, 8), "not an ELF"},
		"truncated":           {bzImage(anELF, 4)[:5000], "bzImage says"},
		"more sectors":        {func() []byte { b := bzImage(anELF, 4); b[0x1f1] = 255; return b }(), "bzImage says"},
		"unknown compression": {bzImage([]byte("LZMA something"), 4), "unknown compression"},
		"not a program":       {bzImage(pressed(t, []byte("MZ and so on"))["gzip"], 4), "not an ELF"},
		"half a gzip":         {bzImage(z["gzip"][:len(z["gzip"])/2], 4), "decompress kernel"},
		"half an xz":          {bzImage(z["xz"][:len(z["xz"])/2], 4), "decompress kernel"},
		"half a zstd":         {bzImage(z["zstd"][:len(z["zstd"])/2], 4), "decompress kernel"},
	} {
		_, err := extractKernel(c.image)
		if c.want == "not an ELF" && name == "size of the mark" {
			if err != nil { // 4 bytes of ELF mark are an ELF as far as this goes
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
}

// FuzzExtractKernel varies the fields of the head and the payload each by
// itself: of images as a whole nearly all would only miss their mark. What is
// slow is no fault of the image's reader: to unpack a lot from a few bytes, so
// kernels are small here.
func FuzzExtractKernel(f *testing.F) {
	const limit = 1 << 16
	for _, payload := range pressed(f, anELF[:400]) {
		f.Add(payload, byte(1), uint32(0), uint32(0))
	}
	f.Add(pressed(f, append(anELF[:400:400], make([]byte, 2*limit)...))["gzip"], byte(0), uint32(0), uint32(0))
	f.Add(anELF[:400], byte(255), uint32(1<<31), uint32(7))
	f.Fuzz(func(t *testing.T, payload []byte, sectors byte, offset, size uint32) {
		if len(payload) > 1<<12 {
			return
		}
		b := bzImage(payload, 1)
		b[0x1f1] += sectors - 1
		for at, add := range map[int]uint32{0x248: offset, 0x24c: size} { // 0 leaves them right
			binary.LittleEndian.PutUint32(b[at:], binary.LittleEndian.Uint32(b[at:])+add)
		}
		got, err := extractUpTo(b, limit)
		switch {
		case err != nil:
		case !bytes.HasPrefix(got, []byte("\x7fELF")):
			t.Error("not an ELF")
		case len(got) > limit:
			t.Errorf("%d bytes", len(got))
		}
	})
}
