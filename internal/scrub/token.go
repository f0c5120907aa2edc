package scrub

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"hash"
	"sync"
)

// A token is tok_<class>_<26 characters>: the first 16 bytes of
// HMAC-SHA256(salt, class|normalised value) in lower-case base32.
const (
	tokenPrefix = "tok_"
	tokenSum    = 26
)

var tokenEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// macPool spares the set-up of HMAC, which costs more than a short value does.
type macPool struct {
	pool  sync.Pool
	known *Known // asked first; may be nil
}

type mac struct {
	h   hash.Hash
	sum [sha256.Size]byte
	buf []byte
}

func newMACPool(key []byte) *macPool {
	p := &macPool{}
	p.pool.New = func() any { return &mac{h: hmac.New(sha256.New, key), buf: make([]byte, 0, 128)} }
	return p
}

// sum returns HMAC(label|value), or what is known for it.
func (p *macPool) sum(label string, value []byte) [sha256.Size]byte {
	if p.known != nil {
		return p.known.sum(label, value, p.make)
	}
	return p.make(label, value)
}

func (p *macPool) make(label string, value []byte) [sha256.Size]byte {
	m := p.pool.Get().(*mac)
	m.h.Reset()
	m.buf = append(append(append(m.buf[:0], label...), '|'), value...)
	m.h.Write(m.buf)
	m.h.Sum(m.sum[:0])
	sum := m.sum
	clear(m.buf)
	if cap(m.buf) > 1<<16 {
		m.buf = nil
	}
	p.pool.Put(m)
	return sum
}

func appendToken(dst []byte, class Class, sum []byte) []byte {
	dst = append(append(append(dst, tokenPrefix...), class...), '_')
	return tokenEncoding.AppendEncode(dst, sum[:16])
}

// tokenLen is the length of the token that b begins with, or 0.
func tokenLen(b []byte) int {
	if len(b) < len(tokenPrefix)+2+1+tokenSum || string(b[:len(tokenPrefix)]) != tokenPrefix {
		return 0
	}
	// The sum has no underscore, the class may have some.
	last := 0
	end := len(tokenPrefix)
	for end < len(b) && end < len(tokenPrefix)+maxClass+1+tokenSum+1 && (isLower(b[end]) || isDigit(b[end]) || b[end] == '_') {
		if b[end] == '_' {
			last = end
		}
		end++
	}
	if end-last-1 != tokenSum || !validClass(string(b[len(tokenPrefix):max(last, len(tokenPrefix))])) {
		return 0
	}
	for _, c := range b[last+1 : end] {
		if !isLower(c) && (c < '2' || c > '7') {
			return 0
		}
	}
	if end < len(b) && isAlnum(b[end]) {
		return 0
	}
	return end
}

// isScrubbed says whether a value is all token or mask.
func isScrubbed(b []byte) bool {
	return string(b) == maskText || len(b) > 0 && b[0] == 't' && tokenLen(b) == len(b)
}

const maskText = "[masked]"
