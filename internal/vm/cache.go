package vm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapedeck-dev/tapedeck/internal/exttool"
)

const lockEvery = 50 * time.Millisecond

// lock keeps other tapedecks from filling the cache at the same time. say is
// told once if there is one to wait for.
func lock(ctx context.Context, cache string, say func(string)) (unlock func(), err error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, unusable(cache, err)
	}
	f, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, unusable(cache, err)
	}
	for first := true; ; first = false {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		if first {
			say("waiting for another tapedeck that fills the cache " + cache)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(lockEvery):
		}
	}
}

// unusable is the error of a cache directory that can't be written to.
func unusable(cache string, err error) error {
	return &exttool.Missing{Need: "a cache directory that can be written to, for the guest kernel and its snapshots", Found: err.Error(),
		Fix: "set TAPEDECK_CACHE to a directory of yours, or mend " + cache, Err: err}
}

// Digest is the SHA-256 of a file, in hex.
func Digest(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
