package scrub

import (
	"io"
	"strings"
	"testing"
)

// BenchmarkHostile is text that makes verifiers work for nothing.
func BenchmarkHostile(b *testing.B) {
	s := newTest(b)
	for _, piece := range []string{"@", "a@b.", "eyJ-", "eyJ.", "sk-", "ghp_", "%41", "\\\\", "\\u0041", "://a:", "1 ", "1-", "+1 ", "(1)", "\"password\":", "password='",
		"password=\"a password='b", "-----BEGIN PRIVATE KEY-----\"", "a:", "::", "=", "YWFh", "YWFh=", "aaaaaaaa\x00", "Bearer ", "Basic aaaa ", "DE89", "[", "{\"a\":"} {
		b.Run(strings.ReplaceAll(piece, "/", "|"), func(b *testing.B) {
			data := []byte(strings.Repeat(piece, (256<<10)/len(piece)))
			cpu(b, len(data), func() {
				w := s.NewWriter(io.Discard)
				w.Write(data)
				w.Close()
			})
		})
	}
}
