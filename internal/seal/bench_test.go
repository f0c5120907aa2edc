package seal

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
)

func logLike(n int) []byte {
	var b bytes.Buffer
	rnd := noise(n)
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `{"seq":%d,"type":"SocketRead","thread":"http-nio-8443-exec-%d","addr":"0x%x","dur_ns":%d}`+"\n", i, rnd[i]%32, rnd[i:i+6], int(rnd[i])*1717)
	}
	return b.Bytes()[:n]
}

// BenchmarkSeal and BenchmarkOpen: bytes of content, on one core.
func BenchmarkSeal(b *testing.B) {
	benchmark(b, func(b *testing.B, k streamKey, plain []byte) {
		enc, err := newEncoder()
		must(b, err)
		for b.Loop() {
			r, err := encrypt(k, enc, []byte("aad"), bytes.NewReader(plain))
			must(b, err)
			_, err = io.Copy(io.Discard, r)
			must(b, err)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	benchmark(b, func(b *testing.B, k streamKey, plain []byte) {
		stored := encrypted(b, k, []byte("aad"), plain)
		for b.Loop() {
			r, err := decrypt(k, []byte("aad"), bytes.NewReader(stored), int64(len(stored)))
			must(b, err)
			_, err = io.Copy(io.Discard, r)
			must(b, err)
		}
	})
}

func benchmark(b *testing.B, run func(*testing.B, streamKey, []byte)) {
	k := streamKey{newSecret()}
	for name, plain := range map[string][]byte{"log": logLike(64 << 20), "noise": noise(64 << 20), "small": logLike(4 << 10)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			run(b, k, plain)
		})
	}
}

// BenchmarkWrap is one data key wrapped and unwrapped by the local key file,
// without reading it.
func BenchmarkWrap(b *testing.B) {
	ctx := context.Background()
	w, err := OpenKey(ctx, DefaultKey, local(b))
	must(b, err)
	dataKey := make([]byte, keySize)
	for b.Loop() {
		wrapped, err := w.Wrap(ctx, dataKey, []byte("aad"))
		must(b, err)
		_, err = w.Unwrap(ctx, wrapped, []byte("aad"))
		must(b, err)
	}
}

// BenchmarkNewSealer is all that a recording pays before its first byte.
func BenchmarkNewSealer(b *testing.B) {
	opt := local(b)
	for b.Loop() {
		_, err := NewSealer(context.Background(), []string{DefaultKey}, opt)
		must(b, err)
	}
}
