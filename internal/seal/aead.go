package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"io"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle/noncebased"
)

// streamKey encrypts streams in tink's format AES256_GCM_HKDF_1MB: segments
// are tink's own code; the key of each stream is made here, since tink's
// constructor for that brings its registry and protocol buffers along, 2.4 MB of
// binary. The tests read each other's streams.
type streamKey struct{ key secret }

const (
	segmentSize  = 1 << 20 // of ciphertext
	tagSize      = 16
	nonceSize    = 12
	prefixSize   = 7
	streamHeader = 1 + keySize + prefixSize // its own length, salt, nonce prefix
)

// aeadOf derives the key of one stream, which aad is a part of.
func (k streamKey) aeadOf(salt, aad []byte) (segments, error) {
	key, err := hkdf.Key(sha256.New, k.key.bytes(), salt, string(aad), keySize)
	if err != nil {
		return segments{}, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return segments{}, err
	}
	gcm, err := cipher.NewGCM(block)
	return segments{gcm}, err
}

// encryptTo takes room for a segment, or for most bytes if that is less: a
// recording can have thousands of small files.
func (k streamKey) encryptTo(w io.Writer, aad []byte, most int) (io.WriteCloser, error) {
	head := make([]byte, streamHeader)
	rand.Read(head)
	head[0] = streamHeader
	aead, err := k.aeadOf(head[1:1+keySize], aad)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(head); err != nil {
		return nil, err
	}
	return noncebased.NewWriter(noncebased.WriterParams{
		W: w, SegmentEncrypter: aead, NonceSize: nonceSize, NoncePrefix: head[1+keySize:],
		PlaintextSegmentSize: min(segmentSize-tagSize, streamHeader+most), FirstCiphertextSegmentOffset: streamHeader,
	})
}

// decryptFrom takes room for a segment, or for the size of the stream if that
// is less. A size that isn't so can't do more harm than a damaged stream.
func (k streamKey) decryptFrom(r io.Reader, aad []byte, size int64) (io.Reader, error) {
	head := make([]byte, streamHeader)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	if head[0] != streamHeader {
		return nil, errForged
	}
	aead, err := k.aeadOf(head[1:1+keySize], aad)
	if err != nil {
		return nil, err
	}
	return noncebased.NewReader(noncebased.ReaderParams{
		R: r, SegmentDecrypter: aead, NonceSize: nonceSize, NoncePrefix: head[1+keySize:],
		CiphertextSegmentSize: int(min(segmentSize, max(size, streamHeader))), FirstCiphertextSegmentOffset: streamHeader,
	})
}

// segments encrypts each segment with a nonce that tells its number, and
// whether it is the last. With a buffer to append to, tink asks the methods
// that end in WithDst.
type segments struct{ gcm cipher.AEAD }

func (s segments) EncryptSegment(segment, nonce []byte) ([]byte, error) {
	return s.EncryptSegmentWithDst(nil, segment, nonce)
}

func (s segments) EncryptSegmentWithDst(dst, segment, nonce []byte) ([]byte, error) {
	return s.gcm.Seal(dst, nonce, segment, nil), nil
}

func (s segments) DecryptSegment(segment, nonce []byte) ([]byte, error) {
	return s.DecryptSegmentWithDst(nil, segment, nonce)
}

func (s segments) DecryptSegmentWithDst(dst, segment, nonce []byte) ([]byte, error) {
	return s.gcm.Open(dst, nonce, segment, nil)
}
