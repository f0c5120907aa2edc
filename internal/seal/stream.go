package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Scheme is what manifests call the way in which files are encrypted; see
// docs/bundle.md.
const Scheme = "tapedeck-aes256gcm-hkdf-1m-v1"

const (
	sampleSize = 64 << 10 // of plaintext, looked at to see whether it compresses
	zstdWindow = 2 << 20
)

// The plaintext of the encryption starts with one byte: how the file's content
// follows.
const (
	contentPlain = 0
	contentZstd  = 1
)

// newEncoder makes the compressor that a sealer keeps.
func newEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstdWindow), zstd.WithEncoderCRC(false))
}

// encrypt returns the encrypted form of plain, made as it is read. enc is for
// this call alone until the reader ends.
func encrypt(k streamKey, enc *zstd.Encoder, aad []byte, plain io.Reader) (io.Reader, error) {
	sample := make([]byte, sampleSize)
	n, err := io.ReadFull(plain, sample)
	sample = sample[:n]
	whole := err == io.EOF || err == io.ErrUnexpectedEOF
	if err != nil && !whole {
		return nil, err
	}
	e := &encrypting{src: plain, done: whole}
	most := segmentSize
	if whole {
		most = 1 + n
	}
	if e.out, err = k.encryptTo(&e.buf, aad, most); err != nil {
		return nil, err
	}
	packed := enc.EncodeAll(sample, nil)
	if len(packed) >= n-n/32 { // as good as random: compressed already, or too short
		return e, e.start(contentPlain, sample)
	}
	if whole {
		return e, e.start(contentZstd, packed)
	}
	sealed := e.out
	if err := e.start(contentZstd, nil); err != nil {
		return nil, err
	}
	enc.Reset(sealed)
	e.out = both{enc, sealed}
	_, err = e.out.Write(sample)
	return e, err
}

// both closes a compressor and what it writes to.
type both struct {
	*zstd.Encoder
	below io.Closer
}

func (b both) Close() error { return errors.Join(b.Encoder.Close(), b.below.Close()) }

// encrypting is a writer turned around.
type encrypting struct {
	src  io.Reader
	out  io.WriteCloser // leads to buf
	buf  bytes.Buffer
	in   []byte
	done bool // src is at its end
	shut bool
	err  error
}

func (e *encrypting) start(how byte, data []byte) error {
	if _, err := e.out.Write([]byte{how}); err != nil {
		return err
	}
	_, err := e.out.Write(data)
	return err
}

func (e *encrypting) Read(b []byte) (int, error) {
	for e.buf.Len() == 0 && e.err == nil {
		e.err = e.more()
	}
	if e.buf.Len() > 0 {
		return e.buf.Read(b)
	}
	return 0, e.err
}

func (e *encrypting) more() error {
	if e.shut {
		return io.EOF
	}
	if e.done {
		e.shut = true
		return e.out.Close()
	}
	if e.in == nil {
		e.in = make([]byte, sampleSize)
	}
	n, err := e.src.Read(e.in)
	if err != nil {
		e.done = true
		if err != io.EOF {
			return err
		}
	}
	_, err = e.out.Write(e.in[:n])
	return err
}

// errForged is encrypted data that its key doesn't fit.
var errForged = errors.New("data that was changed, cut off, or encrypted for another file, bundle or tenant")

// errGarbled is data that is authentic and can't be unpacked all the same.
var errGarbled = errors.New("authentic data that can't be unpacked")

// decrypt is the reverse of encrypt. Of what it returns every byte is
// authentic; that none is missing is known at the end. size is that of stored.
func decrypt(k streamKey, aad []byte, stored io.Reader, size int64) (io.Reader, error) {
	src := &source{r: stored}
	aead, err := k.decryptFrom(src, aad, size)
	if err != nil {
		return nil, src.blame()
	}
	d := &decrypting{src: src, aead: &once{r: aead}}
	var how [1]byte
	if _, err := io.ReadFull(d.aead, how[:]); err != nil {
		return nil, src.blame()
	}
	switch how[0] {
	case contentPlain:
		d.plain = d.aead
	case contentZstd:
		z, err := zstd.NewReader(d.aead, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(2*zstdWindow))
		if err != nil {
			return nil, err
		}
		d.plain, d.unpack = z, z
	default:
		return nil, fmt.Errorf("%w: content of kind %d", errForged, how[0])
	}
	return d, nil
}

// source remembers its own error, so that it can be told from one of the
// encryption.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (s *source) blame() error {
	if s.err != nil {
		return s.err
	}
	return errForged
}

// once stays with its first error: tink's reader would say io.EOF after it.
type once struct {
	r   io.Reader
	err error
}

func (o *once) Read(b []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.r.Read(b)
	o.err = err
	return n, err
}

type decrypting struct {
	src    *source
	aead   *once
	plain  io.Reader
	unpack *zstd.Decoder // nil if the content isn't compressed
	err    error
}

func (d *decrypting) Read(b []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.plain.Read(b)
	if err == nil {
		return n, nil
	}
	if d.unpack != nil {
		d.unpack.Close()
	}
	switch {
	case err != io.EOF && d.aead.err == io.EOF:
		d.err = fmt.Errorf("%w: %w", errGarbled, err)
	case err != io.EOF || d.aead.err != io.EOF:
		d.err = d.src.blame()
	default:
		d.err = io.EOF
	}
	return n, d.err
}
